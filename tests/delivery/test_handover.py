"""Providers that fail, readers who change or leave before a retry: who is written to, by whom, and who is
not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import update

from incident_center.delivery.questions import ledger_check, progress
from incident_center.states import Channel, DeliveryState, SubscriberState
from tests.builders import a_subscriber, olivia
from tests.delivery.servers import DROP, Mailhost, SmsGateway, mailhost
from tests.delivery.stories import Clock, Post, publish


def some_readers(post: Post, number: int = 3) -> int:
    """Publishes to `number` readers of e-mail and cuts the fan-out; answers the update's id."""
    with post.database.transaction() as session:
        for place in range(number):
            a_subscriber(session, email=f"reader-{place}@example.com")
        update_id = publish(session, post.house).id
    assert post.engine.expand_once()
    return update_id


def test_a_provider_that_is_down_leaves_people_due_and_loses_nobody(
    open_post: Callable[..., Post], smtp: Mailhost, clock: Clock
) -> None:
    post = open_post(email="smtp://127.0.0.1:9?from=a@b.example")
    update_id = some_readers(post, 20)
    post.work()
    with post.database.reading() as session:
        seen = progress(session, update_id)
    # One of each of the two waves had to find out.
    assert seen.by_channel[Channel.EMAIL] == {DeliveryState.DUE: 18, DeliveryState.RETRY: 2}
    post.engine.release()
    repaired = open_post(email=smtp.url)
    clock.move(minutes=1)
    repaired.work()
    assert len(smtp.mails) == 20
    with post.database.reading() as session:
        assert ledger_check(session, update_id) == []
        assert progress(session, update_id).finished


def test_the_next_provider_takes_over_what_has_certainly_not_been_accepted(
    open_post: Callable[..., Post], smtp: Mailhost
) -> None:
    post = open_post(email=f"smtp://127.0.0.1:9?from=a@b.example {smtp.url}")
    some_readers(post, 5)
    post.work()
    assert len(smtp.mails) == 5
    assert {row.provider for row in post.rows()} == {"email 2 smtp"}
    assert {row.state for row in post.rows()} == {DeliveryState.ACCEPTED}


def test_the_next_provider_never_takes_over_what_is_unknown(
    open_post: Callable[..., Post], smtp: Mailhost, clock: Clock
) -> None:
    with mailhost() as second:
        smtp.replies = lambda step, _: DROP if step == "dot" else None
        post = open_post(email=f"{smtp.url} {second.url}")
        some_readers(post, 1)
        post.work()
        assert post.row().state is DeliveryState.UNKNOWN
        clock.move(minutes=2)
        post.work()
        assert second.mails == []
        assert post.row().provider == "email 1 smtp"


def test_who_changes_channel_before_a_retry_is_told_over_the_new_one(
    post: Post, smtp: Mailhost, gateway: SmsGateway, clock: Clock
) -> None:
    smtp.replies = lambda step, _: "450 4.2.0 later" if step == "rcpt" else None
    with post.database.transaction() as session:
        reader = olivia(session, phone="+447700900456", channel=Channel.EMAIL)
        publish(session, post.house)
    post.work()
    with post.database.transaction() as session:
        session.execute(update(type(reader)).values(channel=Channel.SMS))
    clock.move(minutes=1)
    post.work()
    assert (smtp.mails, gateway.recipients()) == ([], ["+447700900456"])
    assert (post.row().channel, post.row().state) == (Channel.SMS, DeliveryState.ACCEPTED)


@pytest.mark.parametrize(
    ("state", "end"),
    [
        (SubscriberState.UNSUBSCRIBED, DeliveryState.CANCELLED),
        (SubscriberState.SUPPRESSED, DeliveryState.SUPPRESSED),
    ],
)
def test_who_has_left_before_a_retry_is_not_written_to(
    post: Post, smtp: Mailhost, clock: Clock, state: SubscriberState, end: DeliveryState
) -> None:
    smtp.replies = lambda step, _: "450 4.2.0 later" if step == "rcpt" else None
    with post.database.transaction() as session:
        reader = olivia(session)
        publish(session, post.house)
    post.work()
    smtp.replies = lambda *_: None
    with post.database.transaction() as session:
        session.execute(update(type(reader)).values(state=state))
    clock.move(minutes=1)
    post.work()
    assert (post.row().state, smtp.mails) == (end, [])
