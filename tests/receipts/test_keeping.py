"""Receipts are kept once, and applied when their row is there: on both databases."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, text

from incident_center.db import Database
from incident_center.delivery.receipts import Told, keep, keep_smpp, receipts_once
from incident_center.delivery.suppress import is_suppressed
from incident_center.house import House
from incident_center.models import Delivery, Fanout, Message, Receipt, Subscriber, Update
from incident_center.states import Channel, DeliveryState, FanoutState, MessageKind, SubscriberState
from tests.builders import NOW, a_subscriber, mai, olivia
from tests.receipts.cast import (
    NUMBER,
    PUBLISHED,
    a_provider,
    a_row,
    a_single,
    an_update,
    letter_of_single,
    reasons,
    receipts,
    the_row,
    told,
)

S = DeliveryState
BOUNCE = {"permanent": True, "code": "5.1.1", "words": "user o'brien+payout@example.com unknown"}


def kept(database: Database, house: House, *events: Told, now: datetime = NOW) -> list[bool]:
    """Each in a transaction of its own, as they come in."""
    answers = []
    for event in events:
        with database.transaction() as session:
            answers.append(keep(session, house=house, told=event, now=now))
    return answers


def a_letter(database: Database, **parts: object) -> Delivery:
    """Olivia's e-mail about an update."""
    with database.transaction() as session:
        return a_row(session, an_update(session), olivia(session), **parts)


def a_text(database: Database, **parts: object) -> Delivery:
    """Mai's SMS about an update, numbered by its provider."""
    with database.transaction() as session:
        return a_row(session, an_update(session), mai(session), **({"provider_ref": NUMBER} | parts))


def row_now(database: Database) -> Delivery:
    with database.reading() as session:
        return the_row(session)


def suppressed(database: Database) -> list[str]:
    with database.reading() as session:
        return reasons(session)


def person_now(database: Database) -> Subscriber:
    with database.reading() as session:
        return session.scalars(select(Subscriber)).one()


def test_a_delivery_is_told_once_however_often_it_is_said(database: Database, house: House) -> None:
    event = told(a_letter(database), S.DELIVERED)
    assert kept(database, house, event, event) == [True, False]
    row = row_now(database)
    assert (row.state, row.code, row.not_before, row.at) == (S.DELIVERED, None, None, NOW)
    with database.reading() as session:
        [receipt] = receipts(session)
    assert receipt.applied_at == NOW


def test_a_hard_bounce_suppresses_and_keeps_the_providers_words_without_the_address(
    database: Database, house: House
) -> None:
    event = told(a_letter(database), S.BOUNCED, recipient="O'Brien+Payout@EXAMPLE.com", **BOUNCE)
    assert kept(database, house, event) == [True]
    row = row_now(database)
    assert (row.state, row.code, row.detail) == (S.BOUNCED, "5.1.1", "user <address> unknown")
    assert suppressed(database) == ["bounce"]
    assert person_now(database).state is SubscriberState.SUPPRESSED


@pytest.mark.one_database
def test_a_soft_bounce_suppresses_nobody(database: Database, house: House) -> None:
    kept(database, house, told(a_letter(database), S.BOUNCED, code="4.2.2"))
    assert row_now(database).state is S.BOUNCED
    assert suppressed(database) == []


def test_a_complaint_and_an_unsubscribe_are_heard(database: Database, house: House) -> None:
    row = a_letter(database)
    kept(database, house, told(row, S.COMPLAINED))
    assert suppressed(database) == ["complaint"]
    assert row_now(database).state is S.COMPLAINED


@pytest.mark.one_database
def test_a_providers_unsubscribe_button_unsubscribes(database: Database, house: House) -> None:
    kept(database, house, told(a_letter(database), S.ACCEPTED, unsubscribed=True))
    assert suppressed(database) == ["unsubscribed"]
    assert person_now(database).state is SubscriberState.UNSUBSCRIBED
    assert row_now(database).state is S.ACCEPTED


@pytest.mark.one_database
def test_a_wish_is_heard_when_its_row_has_been_tidied_away(database: Database, house: House) -> None:
    row = a_letter(database)
    with database.transaction() as session:
        session.delete(session.merge(row))
    kept(database, house, told(row, S.COMPLAINED))
    assert suppressed(database) == ["complaint"]


@pytest.mark.one_database
def test_a_replay_ends_no_new_subscription(database: Database, house: House) -> None:
    """Somebody complained, and confirmed anew: what they had said before is over."""
    event = told(a_letter(database), S.COMPLAINED)
    with database.transaction() as session:
        session.scalars(select(Subscriber)).one().confirmed_at = NOW + timedelta(minutes=1)
    kept(database, house, event, now=NOW + timedelta(minutes=2))
    assert suppressed(database) == []
    assert row_now(database).state is S.COMPLAINED


@pytest.mark.parametrize("state", [S.UNKNOWN, S.RETRY])
def test_a_receipt_saves_a_second_copy(database: Database, house: House, state: DeliveryState) -> None:
    row = a_letter(database, state=state, not_before=NOW + timedelta(minutes=1), fence=4, code="timeout")
    kept(database, house, told(row, S.DELIVERED))
    now = row_now(database)
    assert (now.state, now.not_before, now.fence, now.code) == (S.DELIVERED, None, 5, None)


@pytest.mark.one_database
@pytest.mark.parametrize("state", [S.SUPERSEDED, S.CANCELLED, S.SUPPRESSED, S.EXPIRED])
def test_what_was_ended_before_the_wire_stays(database: Database, house: House, state: DeliveryState) -> None:
    kept(database, house, told(a_letter(database, state=state), S.DELIVERED))
    assert row_now(database).state is state
    with database.reading() as session:
        [receipt] = receipts(session)
    assert receipt.applied_at == NOW
    assert receipt.detail == f"the row is {state.value}"


def test_a_receipt_waits_for_a_row_that_is_being_sent(database: Database, house: House) -> None:
    row = a_letter(database, state=S.SENDING, owner="worker 1", lease_until=NOW, not_before=NOW)
    kept(database, house, told(row, S.BOUNCED, **BOUNCE))
    assert row_now(database).state is S.SENDING
    assert not receipts_once(database, house, now=NOW)
    with database.transaction() as session:
        session.merge(row).state = S.ACCEPTED
    assert receipts_once(database, house, now=NOW)
    assert row_now(database).state is S.BOUNCED
    assert not receipts_once(database, house, now=NOW), "there is nothing left to do"


@pytest.mark.parametrize("by", ["letter", "number"])
def test_a_receipt_may_come_before_the_outcome(database: Database, house: House, by: str) -> None:
    with database.transaction() as session:
        update, person = an_update(session), mai(session)
        row = Delivery(update_id=update.id, subscriber_id=person.id, channel=Channel.SMS)
    event = told(row, S.DELIVERED, source="twilio", provider_ref=NUMBER)
    assert kept(database, house, event if by == "letter" else replace(event, letter="")) == [True]
    assert not receipts_once(database, house, now=NOW)
    with database.transaction() as session:
        a_row(session, update, person, provider_ref=NUMBER)
    assert receipts_once(database, house, now=NOW + timedelta(seconds=2))
    assert row_now(database).state is S.DELIVERED
    with database.reading() as session:
        [receipt] = receipts(session)
    assert (receipt.update_id, receipt.subscriber_id) == (update.id, person.id), "the evidence names its row"


def test_a_receipt_whose_row_never_comes_is_given_up_after_a_day(database: Database, house: House) -> None:
    row = a_text(database)
    event = told(row, S.DELIVERED, source="twilio", letter="", provider_ref="SM" + "f" * 32)
    kept(database, house, event)
    assert not receipts_once(database, house, now=NOW + timedelta(hours=23))
    assert receipts_once(database, house, now=NOW + timedelta(hours=24))
    with database.reading() as session:
        [receipt] = receipts(session)
    assert receipt.detail == "no such delivery came within a day"
    assert row_now(database).state is S.ACCEPTED


EVENTS = [
    {"state": S.ACCEPTED},
    {"state": S.DELIVERED},
    {"state": S.BOUNCED, "code": "4.2.2"},
    {"state": S.BOUNCED, "code": "5.1.1", "permanent": True},
]


def test_the_order_does_not_matter(database: Database, house: House) -> None:
    """A letter that bounces for good in the end, and a text to a phone that was switched on again."""
    for events in (*itertools.permutations(EVENTS), *itertools.permutations(EVENTS[:3])):
        hard = len(events) == len(EVENTS)
        with database.transaction() as session:
            row = a_row(session, an_update(session), a_subscriber(session), state=S.UNKNOWN, not_before=NOW)
            for event in events:
                said = told(row, event=f"{row.subscriber_id} {event}", **event)  # type: ignore[arg-type]  # a state and parts
                keep(session, house=house, told=said, now=NOW)
            now = session.get_one(Delivery, (row.update_id, row.subscriber_id), populate_existing=True)
            assert now.state is (S.BOUNCED if hard else S.DELIVERED)
            assert now.code == ("5.1.1" if hard else None)
            assert now.not_before is None


def test_an_acceptance_that_the_row_knows_is_not_kept(database: Database, house: House) -> None:
    assert kept(database, house, told(a_text(database), S.ACCEPTED)) == [False]
    with database.reading() as session:
        assert receipts(session) == []


@pytest.mark.one_database
def test_a_bounce_of_an_address_that_was_left_suppresses_nobody(database: Database, house: House) -> None:
    kept(database, house, told(a_letter(database), S.BOUNCED, recipient="old@example.com", **BOUNCE))
    assert row_now(database).state is S.BOUNCED
    assert suppressed(database) == []


@pytest.mark.one_database
def test_a_bounce_after_the_customer_has_moved_to_sms_changes_nothing(
    database: Database, house: House
) -> None:
    row = a_letter(database, channel=Channel.SMS)
    kept(database, house, told(row, S.BOUNCED, channel=Channel.EMAIL, **BOUNCE))
    assert row_now(database).state is S.ACCEPTED
    with database.reading() as session:
        assert "another channel" in (receipts(session)[0].detail or "")


@pytest.mark.one_database
@pytest.mark.parametrize(
    "letter",
    [
        "<update.1.{update}.{reader}@status.example.com>",
        "<update.{second}.{update}.{reader}@status.example.org>",
        "<update.{second}.999999.{reader}@status.example.com>",
        "<welcome.{second}.{update}.{reader}@status.example.com>",
        "",
    ],
    ids=["another database's", "another host's", "no such update", "no such message", "nothing"],
)
def test_what_names_no_letter_of_ours_is_forgotten(database: Database, house: House, letter: str) -> None:
    row = a_letter(database)
    named = letter.format(second=int(PUBLISHED.timestamp()), update=row.update_id, reader=row.subscriber_id)
    assert kept(database, house, told(row, S.COMPLAINED, letter=named)) == [False]
    with database.reading() as session:
        assert receipts(session) == []


def test_odd_characters_are_stored_nowhere(database: Database, house: House) -> None:
    row = a_text(database)
    odd = "\x00\ud800\n\u202e"
    event = told(
        row, S.BOUNCED, event=odd, code=f"3{odd}0", words=f"why {odd}", provider_ref=f"{odd}{NUMBER}"
    )
    assert kept(database, house, event) == [True]
    assert row_now(database).code == "30"


def test_a_single_message_bounces_too(database: Database, house: House) -> None:
    with database.transaction() as session:
        person = olivia(session)
        single = a_single(session, person)
    event = Told(
        source="ses",
        event="1",
        channel=Channel.EMAIL,
        state=S.BOUNCED,
        letter=letter_of_single(single),
        recipient=person.email or "",
        permanent=True,
    )
    assert kept(database, house, event) == [True]
    with database.reading() as session:
        assert session.get_one(Message, single.id).state is S.BOUNCED
    assert suppressed(database) == ["bounce"]


@pytest.mark.one_database
@pytest.mark.parametrize("recipient", ["", "new@example.com"])
def test_a_confirmation_to_a_new_address_that_bounces_leaves_the_old_one_alone(
    database: Database, house: House, recipient: str
) -> None:
    with database.transaction() as session:
        single = a_single(session, olivia(session), kind=MessageKind.CONFIRM, state=S.UNKNOWN, text="secret")
    event = Told(
        source="ses",
        event="1",
        channel=Channel.EMAIL,
        state=S.BOUNCED,
        letter=letter_of_single(single),
        recipient=recipient,
        permanent=True,
    )
    kept(database, house, event)
    assert suppressed(database) == []
    with database.reading() as session:
        now = session.get_one(Message, single.id)
        assert (now.state, now.text, now.not_before) == (S.BOUNCED, None, None)


@dataclass(frozen=True)
class FromSmpp:
    provider_ref: str
    state: str
    code: str
    at: datetime


def test_operators_numbers_count_with_the_providers_name_only(database: Database, house: House) -> None:
    with database.transaction() as session:
        one, two = a_provider(session, "sms 1 smpp"), a_provider(session, "sms 2 smpp")
        update = an_update(session)
        first = a_row(session, update, mai(session), provider_ref="17", provider_id=one.id)
        other = a_subscriber(session, phone="+4915112345678")
        a_row(session, update, other, provider_ref="17", provider_id=two.id)
    with database.transaction() as session:
        receipt = FromSmpp("17", "failed", "UNDELIV 001", NOW)
        assert keep_smpp(session, house=house, provider_name="sms 2 smpp", receipt=receipt, now=NOW)
    with database.reading() as session:
        assert session.get_one(Delivery, (update.id, first.subscriber_id)).state is S.ACCEPTED
        now = session.get_one(Delivery, (update.id, other.id))
        assert (now.state, now.code) == (S.BOUNCED, "UNDELIV 001")
    assert suppressed(database) == []


def a_text_of_its_own(database: Database, **parts: object) -> int:
    """Mai's code by SMS, numbered by her operator; the subscriber is made where she is not there yet."""
    with database.transaction() as session:
        a_provider(session, "sms 1 smpp")
        person = session.scalar(select(Subscriber)) or mai(session)
        given = {"kind": MessageKind.CONFIRM, "provider": "sms 1 smpp", "provider_ref": "17"}
        return a_single(session, person, **(given | parts)).id


def from_smpp(database: Database, house: House, receipt: FromSmpp, *, now: datetime = NOW) -> bool:
    with database.transaction() as session:
        return keep_smpp(session, house=house, provider_name="sms 1 smpp", receipt=receipt, now=now)


@pytest.mark.parametrize("first", ["row", "receipt"])
def test_an_operators_number_finds_a_single_message(database: Database, house: House, first: str) -> None:
    receipt = FromSmpp("17", "failed", "UNDELIV 001", NOW)
    single = a_text_of_its_own(database) if first == "row" else 0
    assert from_smpp(database, house, receipt)
    single = single or a_text_of_its_own(database, at=NOW)
    assert receipts_once(database, house, now=NOW) is (first == "receipt")
    with database.reading() as session:
        row, [kept_receipt] = session.get_one(Message, single), receipts(session)
    assert (row.state, row.code) == (S.BOUNCED, "UNDELIV 001")
    assert (kept_receipt.message_id, kept_receipt.applied_at) == (single, NOW)
    assert not receipts_once(database, house, now=NOW), "there is nothing left to do"


def test_a_number_for_a_single_message_suppresses_nobody(database: Database, house: House) -> None:
    """The message may have gone to an address that the subscriber does not have any more."""
    event = Told(
        source="generic",
        event="1",
        channel=Channel.SMS,
        state=S.BOUNCED,
        provider_ref="17",
        recipient="+12125550123",
        permanent=True,
    )
    assert kept(database, house, event) == [True]
    single = a_text_of_its_own(database, at=NOW)
    assert receipts_once(database, house, now=NOW)
    with database.reading() as session:
        assert session.get_one(Message, single).state is S.BOUNCED
    assert suppressed(database) == []


@pytest.mark.one_database
@pytest.mark.parametrize("newer", ["single", "delivery"])
def test_a_number_that_came_again_is_the_newer_messages(database: Database, house: House, newer: str) -> None:
    early, late = NOW - timedelta(hours=2), NOW - timedelta(hours=1)
    with database.transaction() as session:
        provider_id = a_provider(session, "sms 1 smpp").id
    a_text(database, provider_ref="17", provider_id=provider_id, at=late if newer == "delivery" else early)
    single = a_text_of_its_own(database, at=early if newer == "delivery" else late)
    assert from_smpp(database, house, FromSmpp("17", "delivered", "DELIVRD 000", NOW))
    with database.reading() as session:
        states = {"delivery": the_row(session).state, "single": session.get_one(Message, single).state}
    assert states.pop(newer) is S.DELIVERED
    assert list(states.values()) == [S.ACCEPTED]


@pytest.mark.one_database
def test_a_number_that_comes_again_another_day_is_no_repetition(database: Database, house: House) -> None:
    first = a_text_of_its_own(database)
    receipt, day = FromSmpp("17", "delivered", "DELIVRD 000", NOW), timedelta(days=1)
    assert [from_smpp(database, house, receipt) for _ in range(2)] == [True, False]
    second = a_text_of_its_own(database, at=NOW + day)
    assert from_smpp(database, house, replace(receipt, at=NOW + day), now=NOW + day)
    with database.reading() as session:
        assert {session.get_one(Message, each).state for each in (first, second)} == {S.DELIVERED}


def test_a_number_that_a_provider_gave_last_week_is_another_messages(
    database: Database, house: House
) -> None:
    a_text(database, provider_ref="17", at=NOW - timedelta(days=7))
    row = row_now(database)
    event = told(row, S.DELIVERED, source="generic", letter="", provider_ref="17")
    assert kept(database, house, event) == [True]
    assert row_now(database).state is S.ACCEPTED


@pytest.mark.one_database
def test_waiting_receipts_cost_a_look_into_an_index_each(database: Database) -> None:
    """The partial index on numbers is found only by a query that says 'sms' literally."""
    from incident_center.delivery.receipt_rows import _ready  # noqa: PLC0415 (its queries are what this looks at)

    with database.reading() as session:
        plans = []
        for query in _ready(NOW):
            compiled = query.compile(session.get_bind(), compile_kwargs={"literal_binds": True})
            if database.is_sqlite:
                lines = session.execute(text(f"EXPLAIN QUERY PLAN {compiled}"))
                plans.append("\n".join(str(line.detail) for line in lines))
    for plan in plans:
        assert "SCAN deliveries" not in plan
        assert "SCAN messages" not in plan
        assert "ix_receipts_open" in plan


def test_a_bounced_number_is_suppressed_for_sms_alone(database: Database, house: House) -> None:
    row = a_text(database)
    with database.transaction() as session:
        session.get_one(Subscriber, row.subscriber_id).email = "mai@example.com"
    kept(database, house, told(row, S.BOUNCED, permanent=True, code="30005", recipient="12125550123"))
    with database.reading() as session:
        assert is_suppressed(session, house=house, channel=Channel.SMS, address="+12125550123")
        assert not is_suppressed(session, house=house, channel=Channel.EMAIL, address="mai@example.com")
        assert session.scalars(select(Receipt.provider_ref)).all() == [None]


def test_a_mailbox_that_is_gone_sends_the_update_to_the_second_address(
    database: Database, house: House
) -> None:
    row = a_letter(database)
    with database.transaction() as session:
        person = session.get_one(Subscriber, row.subscriber_id)
        person.phone, person.fallback_since = "+4915112345678", NOW - timedelta(days=1)
        update = session.get_one(Update, row.update_id)
        session.add(
            Fanout(
                update_id=update.id,
                incident_id=update.incident_id,
                state=FanoutState.CUT,
                created_at=PUBLISHED,
                expires_at=NOW + timedelta(hours=4),
            )
        )
    event = told(row, S.BOUNCED, recipient="o'brien+payout@example.com", **BOUNCE)
    assert kept(database, house, event, event) == [True, False]
    now = row_now(database)
    assert (now.channel, now.state, now.not_before) == (Channel.SMS, S.DUE, NOW)
    assert person_now(database).state is SubscriberState.CONFIRMED
    assert suppressed(database) == ["bounce"]
    kept(database, house, told(row, S.DELIVERED))
    assert row_now(database).state is S.DUE, (
        "what is said about the lost mailbox has nothing to do with the text"
    )
