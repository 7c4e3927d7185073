"""Single messages while their worker is slow, is told to end or was lost, and after their reader has left."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from incident_center.delivery import postbox
from incident_center.delivery.singles import queue_message, queue_staff
from incident_center.models import Attempt, Message, Provider, Subscriber
from incident_center.states import Channel, DeliveryState, MessageKind, ProviderState, SubscriberState
from tests.builders import a_subscriber
from tests.delivery.servers import Mailhost, mailhost
from tests.delivery.stories import Clock, Post

HOUR = timedelta(hours=1)


def queue(
    post: Post, number: int = 1, *, kind: MessageKind = MessageKind.CONFIRM, subscriber_id: int | None = None
) -> None:
    with post.database.transaction() as session:
        for place in range(number):
            queue_message(
                session,
                kind=kind,
                channel=Channel.EMAIL,
                address=f"new{place}@example.com",
                language="en",
                subscriber_id=subscriber_id,
                subject="Hello",
                text="Hello.",
                now=post.clock(),
                lifetime=HOUR,
            )


def messages(post: Post) -> list[Message]:
    with post.database.reading() as session:
        return list(session.scalars(select(Message).order_by(Message.id)))


def test_what_may_have_arrived_waits_for_its_own_provider(
    open_post: Callable[..., Post], smtp: Mailhost, clock: Clock
) -> None:
    """Its worker was lost and could not say whom it had asked: that was the one that comes first."""
    with mailhost() as second:
        post = open_post(email=f"{smtp.url} {second.url}")
        queue(post)
        with post.database.transaction() as session:
            postbox.claim(session, owner="lost", now=clock())
        clock.move(seconds=61)
        post.work()
        post.engine._register()
        with post.database.transaction() as session:
            first = update(Provider).where(Provider.name == "email 1 smtp")
            until = clock() + timedelta(minutes=3)
            session.execute(first.values(state=ProviderState.RESTING, rest_until=until))
            post.engine._health.look(session)
        clock.move(seconds=61)
        post.work()
        assert (smtp.mails, second.mails) == ([], [])
        clock.move(minutes=3)
        post.work()
        assert (len(smtp.mails), second.mails) == (1, [])
        assert [one.state for one in messages(post)] == [DeliveryState.ACCEPTED]


def test_messages_that_wait_for_slow_ones_before_them_are_nobody_elses(
    post: Post, smtp: Mailhost, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue(post, 4)
    other = post.another("worker 2")
    real = post.engine._dispatch.send_single

    def slow(single, may_go):  # type: ignore[no-untyped-def]
        said = real(single, may_go)
        clock.move(seconds=31)
        for lease in post.engine._keeper._held:  # as its thread does every 20 s
            lease.prolong(post.database)
        other.singles_once()
        return said

    monkeypatch.setattr(post.engine._dispatch, "send_single", slow)
    post.engine.singles_once()
    other.release()
    assert smtp.recipients() == [f"new{place}@example.com" for place in range(4)]
    assert {(one.state, one.possibly_twice) for one in messages(post)} == {(DeliveryState.ACCEPTED, False)}


def test_a_worker_that_is_told_to_end_tells_the_rest_of_the_team_later(
    open_post: Callable[..., Post], smtp: Mailhost, clock: Clock
) -> None:
    team = f"smtp://127.0.0.1:{smtp.port}?from=status@pay.example&to="
    post = open_post(email=smtp.url, staff=f"{team}one@pay.example {team}two@pay.example")
    with post.database.transaction() as session:
        queue_staff(
            session,
            house=post.house,
            key="promise:1",
            subject="Update due",
            text="INC-1 needs an update.",
            incident_id=None,
            now=clock(),
            lifetime=HOUR,
        )
    smtp.replies = lambda *_: post.engine.halt()
    post.engine.singles_once()
    assert smtp.recipients() == ["one@pay.example"]
    (note,) = messages(post)
    assert note.state is DeliveryState.RETRY
    smtp.replies = lambda *_: None
    clock.move(minutes=1)
    another = post.another("worker 2")
    another.singles_once()
    another.release()
    assert smtp.recipients() == ["one@pay.example", "two@pay.example"]
    with post.database.reading() as session:
        said = session.execute(select(Attempt.provider, Attempt.state).order_by(Attempt.id)).all()
    assert [tuple(one) for one in said] == [
        ("staff 1 smtp", DeliveryState.ACCEPTED),
        ("staff 2 smtp", DeliveryState.RETRY),
        ("staff 2 smtp", DeliveryState.ACCEPTED),
    ]


@pytest.mark.parametrize("state", [SubscriberState.UNSUBSCRIBED, SubscriberState.SUPPRESSED])
@pytest.mark.parametrize("kind", [MessageKind.WELCOME, MessageKind.ALREADY, MessageKind.GOODBYE])
def test_who_has_left_gets_no_welcome_but_their_goodbye(
    post: Post, smtp: Mailhost, kind: MessageKind, state: SubscriberState
) -> None:
    with post.database.transaction() as session:
        reader_id = a_subscriber(session, email="new0@example.com").id
    queue(post, kind=kind, subscriber_id=reader_id)
    with post.database.transaction() as session:
        session.execute(update(Subscriber).values(state=state))
    post.work()
    goodbye = kind is MessageKind.GOODBYE
    (message,) = messages(post)
    assert message.state is (DeliveryState.ACCEPTED if goodbye else DeliveryState.CANCELLED)
    assert (message.text, message.address, message.not_before) == (None, None, None)
    assert len(smtp.mails) == goodbye
