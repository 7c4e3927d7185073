"""From the refusal to the other channel, by the engine itself: nobody is left out, nobody is told twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from incident_center.delivery.questions import ledger_check
from incident_center.delivery.receipts import Told, keep
from incident_center.models import Attempt, Delivery, Incident, Subscriber, Update
from incident_center.states import Channel, DeliveryState, SubscriberState
from tests.builders import NOW, a_subscriber
from tests.delivery.servers import DROP, Mailhost, SmsGateway
from tests.delivery.stories import Clock, Post, publish

ADDRESS, PHONE = "anna@example.com", "+4915123456789"
GONE, REFUSED = "550 5.1.1 no such mailbox", "552 5.3.4 message too big"


def published_to_anna(post: Post, **parts: Any) -> Update:
    """She reads e-mail, and gave her number for the day when that fails. Somebody else reads e-mail, too."""
    with post.database.transaction() as session:
        given: dict[str, Any] = {"email": ADDRESS, "phone": PHONE, "fallback_since": NOW}
        a_subscriber(session, **(given | parts))
        a_subscriber(session, email="well@example.com")
        return publish(session, post.house)


def annas(post: Post) -> tuple[Subscriber, Delivery]:
    with post.database.reading() as session:
        found = session.execute(
            select(Subscriber, Delivery)
            .join(Delivery, Delivery.subscriber_id == Subscriber.id)
            .where((Subscriber.email == ADDRESS) | (Subscriber.phone == PHONE))
        ).one()
        assert ledger_check(session, found[1].update_id) == []
        return found[0], found[1]


def only_for(address: str, step: str, reply: str) -> Any:
    return lambda at, to: reply if at == step and to == address else None


@pytest.mark.parametrize("reply", [GONE, REFUSED])
def test_what_the_relay_refuses_arrives_as_a_text_message_in_the_same_round(
    post: Post, smtp: Mailhost, gateway: SmsGateway, reply: str
) -> None:
    smtp.replies = only_for(ADDRESS, "rcpt", reply)
    published_to_anna(post)
    post.work()
    assert (smtp.recipients(), gateway.recipients()) == (["well@example.com"], [PHONE])
    person, row = annas(post)
    assert (row.channel, row.state, row.attempts) == (Channel.SMS, DeliveryState.ACCEPTED, 2)
    assert person.state is SubscriberState.CONFIRMED
    assert person.channel is (Channel.SMS if reply == GONE else Channel.EMAIL)


def test_the_next_update_goes_over_the_preferred_channel_again(
    post: Post, smtp: Mailhost, gateway: SmsGateway
) -> None:
    smtp.replies = only_for(ADDRESS, "rcpt", REFUSED)
    first = published_to_anna(post)
    post.work()
    smtp.replies = lambda *_: None
    with post.database.transaction() as session:
        publish(session, post.house, session.get_one(Incident, first.incident_id), now=NOW)
    post.work()
    assert smtp.recipients().count(ADDRESS) == 1
    assert gateway.recipients() == [PHONE]


def test_both_failing_ends_it_without_a_ping_pong(post: Post, smtp: Mailhost, gateway: SmsGateway) -> None:
    smtp.replies = only_for(ADDRESS, "rcpt", REFUSED)
    gateway.answer = lambda _: (400, "no")
    published_to_anna(post)
    post.work()
    _, row = annas(post)
    assert row.channel is Channel.SMS
    assert row.state is DeliveryState.FAILED
    with post.database.reading() as session:
        tried = session.scalars(select(Attempt.channel).order_by(Attempt.id)).all()
    assert tried == [Channel.EMAIL, Channel.SMS]


def test_a_text_message_that_must_wait_stays_a_text_message(
    post: Post, smtp: Mailhost, gateway: SmsGateway, clock: Clock
) -> None:
    smtp.replies = only_for(ADDRESS, "rcpt", REFUSED)
    gateway.answer = lambda _: (503, "later")
    published_to_anna(post)
    post.work()
    _, row = annas(post)
    assert (row.channel, row.state) == (Channel.SMS, DeliveryState.RETRY)
    gateway.answer = lambda _: None
    clock.move(minutes=20)
    post.work()
    _, row = annas(post)
    assert (row.channel, row.state) == (Channel.SMS, DeliveryState.ACCEPTED)
    assert ADDRESS not in smtp.recipients()


def test_nothing_goes_elsewhere_while_it_is_unknown_whether_it_arrived(
    post: Post, smtp: Mailhost, gateway: SmsGateway, clock: Clock
) -> None:
    smtp.replies = only_for(ADDRESS, "dot", DROP)
    published_to_anna(post)
    post.work()
    assert annas(post)[1].state is DeliveryState.UNKNOWN
    clock.move(minutes=2)
    smtp.replies = only_for(ADDRESS, "rcpt", REFUSED)  # the one resend is refused; the first may have arrived
    post.work()
    assert annas(post)[1].state is DeliveryState.FAILED
    assert gateway.recipients() == []


def bounced(post: Post, update: Update, person: Subscriber, **parts: Any) -> None:
    told = Told(
        source="gateway",
        event="bounce 1",
        channel=Channel.EMAIL,
        state=DeliveryState.BOUNCED,
        at=post.clock() + timedelta(seconds=1),
        letter=f"<update.{int(NOW.timestamp())}.{update.id}.{person.id}@{_host(post)}>",
        recipient=ADDRESS,
        **parts,
    )
    with post.database.transaction() as session:
        assert keep(session, house=post.house, told=told, now=post.clock())


def _host(post: Post) -> str:
    return post.house.settings.public_url.partition("://")[2]


def test_a_bounce_for_good_sends_the_update_to_the_number_from_now_on(
    post: Post, smtp: Mailhost, gateway: SmsGateway
) -> None:
    update = published_to_anna(post)
    post.work()
    assert smtp.recipients().count(ADDRESS) == 1
    person, _ = annas(post)
    bounced(post, update, person, permanent=True, code="5.1.1")
    post.work()
    assert gateway.recipients() == [PHONE]
    person, row = annas(post)
    assert (person.channel, person.email, row.channel) == (Channel.SMS, None, Channel.SMS)
    with post.database.reading() as session:
        [kept] = session.scalars(select(Attempt).where(Attempt.state == DeliveryState.BOUNCED))
        assert (kept.channel, kept.code, kept.number) == (Channel.EMAIL, "5.1.1", 1)


def test_an_absence_note_sends_nothing_anywhere(post: Post, gateway: SmsGateway) -> None:
    update = published_to_anna(post)
    post.work()
    person, _ = annas(post)
    bounced(post, update, person, code="4.2.0")
    post.work()
    assert gateway.recipients() == []
    person, row = annas(post)
    assert (person.channel, row.state) == (Channel.EMAIL, DeliveryState.BOUNCED)
