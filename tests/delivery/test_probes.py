"""After a rest a provider is tried with one letter: whatever becomes of that letter, nobody waits for longer than
the rest."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from incident_center.delivery import pace
from incident_center.delivery.outcome import Outcome
from incident_center.models import Delivery, Incident, Provider, Subscriber
from incident_center.states import Channel, DeliveryState, ProviderState, SubscriberState
from tests.builders import a_subscriber, an_incident
from tests.delivery.servers import DROP, Mailhost, SmsGateway, mailhost
from tests.delivery.stories import Clock, Post, publish

FIRST = "email 1 smtp"


def provider(post: Post, name: str = FIRST) -> Provider:
    with post.database.reading() as session:
        return session.scalars(select(Provider).where(Provider.name == name)).one()


def rests(post: Post, **until: float) -> None:
    """Its first provider rests, as another worker has noted."""
    with post.database.transaction() as session:
        session.execute(
            update(Provider)
            .where(Provider.name == FIRST)
            .values(state=ProviderState.RESTING, rest_until=post.clock() + timedelta(**until), rests=1)
        )


def greylisted(step: str, _: str) -> str | None:
    return "450 4.2.0 come back later" if step == "rcpt" else None


def readers(post: Post, number: int, *, name: str = "reader") -> int:
    """Publishes a new incident to `number` more readers of e-mail; answers the incident's id."""
    with post.database.transaction() as session:
        for place in range(number):
            a_subscriber(session, email=f"{name}{place}@example.com")
        incident = an_incident(session)
        publish(session, post.house, incident, now=post.clock())
        return incident.id


def test_rows_that_are_overtaken_do_not_use_up_the_probe(post: Post, smtp: Mailhost, clock: Clock) -> None:
    smtp.replies = greylisted
    incident_id = readers(post, 30)
    post.work()
    clock.move(minutes=2)
    with post.database.transaction() as session:
        publish(session, post.house, session.get_one(Incident, incident_id), now=clock())
    smtp.replies = lambda *_: None
    rests(post, seconds=15)
    clock.move(seconds=16)
    post.work()
    assert len(smtp.mails) == len(set(smtp.recipients())) == 30
    assert provider(post).state is ProviderState.WELL


def test_a_reader_who_has_left_does_not_use_up_the_probe(post: Post, smtp: Mailhost, clock: Clock) -> None:
    smtp.replies = greylisted
    readers(post, 1, name="leaver")
    post.work()
    with post.database.transaction() as session:
        session.execute(update(Subscriber).values(state=SubscriberState.UNSUBSCRIBED))
    smtp.replies = lambda *_: None
    readers(post, 20)
    rests(post, seconds=15)
    clock.move(minutes=1)
    post.work()
    assert len(smtp.mails) == 20


@pytest.mark.parametrize(
    "answer", ["450 4.2.0 come back later", "452 4.2.2 mailbox full", "550 5.1.1 unknown"]
)
def test_a_provider_that_refuses_one_reader_for_their_own_sake_is_well(
    post: Post, smtp: Mailhost, clock: Clock, answer: str
) -> None:
    smtp.replies = greylisted
    readers(post, 1, name="first")
    post.work()
    readers(post, 29)
    smtp.replies = lambda step, reader: answer if step == "rcpt" and reader.startswith("first") else None
    rests(post, seconds=15)
    clock.move(minutes=1)
    post.work()
    assert len(smtp.mails) == 29
    assert provider(post).state is ProviderState.WELL


def test_a_letter_that_cannot_be_composed_does_not_use_up_the_probe(
    post: Post, smtp: Mailhost, clock: Clock
) -> None:
    smtp.replies = greylisted
    readers(post, 1, name="first")
    post.work()
    with post.database.transaction() as session:
        session.execute(update(Subscriber).values(email="bad address@exa mple.com"))
    readers(post, 19)
    smtp.replies = lambda *_: None
    rests(post, seconds=15)
    clock.move(minutes=1)
    post.work()
    assert len(smtp.mails) == 19


def test_a_rest_that_a_wrong_clock_has_noted_is_over(post: Post, smtp: Mailhost, clock: Clock) -> None:
    readers(post, 20)
    post.engine.expand_once()
    post.engine._register()
    rests(post, hours=1)
    post.work()
    assert len(smtp.mails) == 20


def test_a_provider_that_leaves_us_in_the_dark_is_rested_and_nobody_is_moved(
    open_post: Callable[..., Post], smtp: Mailhost, clock: Clock
) -> None:
    smtp.replies = lambda step, _: DROP if step == "dot" else None
    with mailhost() as second:
        post = open_post(email=f"{smtp.url} {second.url}")
        readers(post, 80)
        post.work()
        assert provider(post).state is ProviderState.RESTING
        in_the_dark = {mail.recipient for mail in smtp.mails}
        assert 3 <= len(in_the_dark) <= 30  # the two waves that were on the wire
        assert len(second.mails) == len(set(second.recipients())) == 80 - len(in_the_dark)
        assert not in_the_dark & set(second.recipients())
        states = [row.state for row in post.rows()]
        assert states.count(DeliveryState.UNKNOWN) == len(in_the_dark)


def test_a_gateway_that_loses_its_answers_is_rested(post: Post, gateway: SmsGateway, clock: Clock) -> None:
    gateway.answer = lambda _: (504, "gateway time-out")
    with post.database.transaction() as session:
        for place in range(30):
            a_subscriber(session, phone=f"+49151123400{place:02}")
        publish(session, post.house, now=clock())
    post.work()
    states = [row.state for row in post.rows()]
    assert 3 <= states.count(DeliveryState.UNKNOWN) == len(states) <= 8


def test_news_of_a_transaction_that_was_rolled_back_are_told_again(post: Post, clock: Clock) -> None:
    post.engine._register()
    health = post.engine._health
    refused = Outcome(state="retry", code="connect", detail="refused", provider_wide=True)
    health.note(FIRST, [refused], clock())
    with suppress(RuntimeError), post.database.transaction() as session:
        health.tell(session)
        raise RuntimeError
    assert provider(post).state is ProviderState.WELL
    for _ in range(2):
        with post.database.transaction() as session:
            health.tell(session)
        assert provider(post).state is ProviderState.RESTING
    rests(post, seconds=99)  # what was told once is not told again
    with post.database.transaction() as session:
        health.tell(session)
    assert provider(post).rest_until == clock() + timedelta(seconds=99)


def test_a_rate_is_spent_on_letters_and_on_nothing_else(
    open_post: Callable[..., Post], smtp: Mailhost, clock: Clock
) -> None:
    """Each second one retry is due, for which as many letters are reserved as for a whole batch."""
    post = open_post(email=f"{smtp.url}&rate=10")
    smtp.replies = greylisted
    readers(post, 5, name="full")
    post.work()
    smtp.replies = lambda *_: None
    clock.move(minutes=1)
    readers(post, 100)
    with post.database.transaction() as session:
        for place, row in enumerate(session.scalars(select(Delivery))):
            row.not_before = clock() + timedelta(seconds=place)
    for second in range(1, 8):
        post.work()
        assert len(smtp.mails) == 10 * second
        clock.move(seconds=1)


def test_a_clock_that_goes_back_does_not_stop_a_paced_provider(
    open_post: Callable[..., Post], smtp: Mailhost, clock: Clock
) -> None:
    post = open_post(email=f"{smtp.url}&rate=10")
    readers(post, 40)
    post.work()
    clock.move(hours=-1)
    for _ in range(5):
        post.work()
        clock.move(seconds=1)
    assert len(smtp.mails) == 40


def test_single_messages_hold_bulk_up_for_a_minute_at_the_most(
    open_post: Callable[..., Post], smtp: Mailhost, clock: Clock
) -> None:
    post = open_post(email=f"{smtp.url}&rate=10")
    readers(post, 10)
    post.engine.expand_once()
    post.engine._register()
    with post.database.transaction() as session:
        pace.charge(session, provider(post).id, rate=10, number=10_000, now=clock())
    assert not post.engine.deliver_once(Channel.EMAIL)
    clock.move(seconds=61)
    post.work()
    assert len(smtp.mails) == 10
