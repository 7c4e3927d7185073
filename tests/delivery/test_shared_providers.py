"""Providers as all workers see them together: who rests, who is tried after a rest, how fast they are asked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import select, update

from incident_center.delivery.questions import ledger_check
from incident_center.models import Provider
from incident_center.states import Channel, DeliveryState, ProviderState
from tests.builders import a_subscriber, olivia
from tests.delivery.servers import Mailhost, SmsGateway, mailhost
from tests.delivery.stories import Clock, Post, publish


def to_readers(post: Post, number: int) -> int:
    with post.database.transaction() as session:
        for place in range(number):
            a_subscriber(session, email=f"reader-{place}@example.com")
        update_id = publish(session, post.house, now=post.clock()).id
    assert post.engine.expand_once()
    return update_id


def provider(post: Post, name: str = "email 1 smtp") -> Provider:
    with post.database.reading() as session:
        return session.scalars(select(Provider).where(Provider.name == name)).one()


def refusing(step: str, _: str) -> str | None:
    return "454 4.7.0 too busy, come back" if step == "mail" else None


def test_what_one_worker_finds_out_the_others_know(post: Post, smtp: Mailhost, clock: Clock) -> None:
    smtp.replies = refusing
    to_readers(post, 200)
    other = post.another("worker 2")
    post.engine.deliver_once(Channel.EMAIL)
    asked = len(smtp.seen)
    assert not other.deliver_once(Channel.EMAIL)
    assert len(smtp.seen) == asked
    row = provider(post)
    assert row.rest_until == clock() + timedelta(seconds=15)  # however many were refused at once
    assert (row.state, row.last_code) == (ProviderState.RESTING, "454 4.7.0")
    assert "too busy" in (row.last_words or "")
    other.release()


def test_after_the_rest_one_worker_tries_with_one_letter(post: Post, smtp: Mailhost, clock: Clock) -> None:
    smtp.replies = refusing
    to_readers(post, 200)
    post.engine.deliver_once(Channel.EMAIL)
    smtp.replies = lambda *_: None
    clock.move(seconds=30)
    before = smtp.seen.count("rcpt")
    post.engine.deliver_once(Channel.EMAIL)
    assert smtp.seen.count("rcpt") == before + 1
    assert provider(post).state is ProviderState.WELL
    for _ in range(3):
        post.work()
        clock.move(minutes=2)
    assert len(smtp.mails) == len(set(smtp.recipients())) == 200


def test_a_provider_that_is_tried_goes_on_resting_for_the_others(
    post: Post, smtp: Mailhost, clock: Clock
) -> None:
    to_readers(post, 100)
    post.engine.deliver_once(Channel.EMAIL)
    clock.move(minutes=1)
    with post.database.transaction() as session:  # another worker has it under trial at this moment
        session.execute(
            update(Provider).values(
                state=ProviderState.PROBED,
                probed_by="worker 9",
                rest_until=clock() + timedelta(seconds=90),
            )
        )
        update_id = publish(session, post.house, now=clock()).id
    sent = len(smtp.mails)
    for _ in range(4):
        post.engine.expand_once()
        assert not post.engine.deliver_once(Channel.EMAIL)
    assert len(smtp.mails) == sent
    clock.move(seconds=91)  # that worker was lost: somebody else tries
    post.work()
    assert len(smtp.mails) == sent + 100
    with post.database.reading() as session:
        assert ledger_check(session, update_id) == []


def test_two_workers_together_keep_to_the_rate(
    open_post: Callable[..., Post], smtp: Mailhost, clock: Clock
) -> None:
    post = open_post(email=f"{smtp.url}&rate=20")
    to_readers(post, 100)
    other = post.another("worker 2")
    for second in range(1, 4):
        for engine in (post.engine, other) * 3:
            engine.deliver_once(Channel.EMAIL)
        assert len(smtp.mails) == 20 * second
        clock.move(seconds=1)
    other.release()


def test_a_slow_provider_of_texts_does_not_hold_up_e_mail(
    open_post: Callable[..., Post], smtp: Mailhost, gateway: SmsGateway, clock: Clock
) -> None:
    post = open_post(email=smtp.url, sms=f"{gateway.url}?rate=0.5")
    with post.database.transaction() as session:
        for place in range(60):
            a_subscriber(session, email=f"reader-{place}@example.com")
            a_subscriber(session, phone=f"+49151123400{place:02}")
        publish(session, post.house)
    post.work()
    assert (len(smtp.mails), len(gateway.texts)) == (60, 1)
    clock.move(seconds=2)
    post.work()
    assert len(gateway.texts) == 2


def test_the_second_provider_is_not_flooded_when_the_first_one_fails(
    open_post: Callable[..., Post], smtp: Mailhost, clock: Clock
) -> None:
    """Its rate holds for what it takes over, too."""
    with mailhost() as second:
        smtp.replies = refusing
        post = open_post(email=f"{smtp.url} {second.url}&rate=5")
        to_readers(post, 60)
        post.work()
        assert len(second.mails) <= 5
        clock.move(seconds=1)
        post.work()
        assert 5 <= len(second.mails) <= 10


def test_a_failed_letter_takes_the_other_channel_and_an_unknown_one_never(
    post: Post, smtp: Mailhost, gateway: SmsGateway, clock: Clock
) -> None:
    smtp.replies = lambda step, _: "552 5.2.2 mailbox full" if step == "dot" else None
    with post.database.transaction() as session:
        reader = olivia(session, phone="+447700900456", channel=Channel.EMAIL)
        reader.fallback_since = clock()
        publish(session, post.house)
    post.work()
    assert gateway.recipients() == ["+447700900456"]
    assert (post.row().channel, post.row().state) == (Channel.SMS, DeliveryState.ACCEPTED)
