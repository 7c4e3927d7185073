"""A second address on the other channel: given, confirmed, taken away, lost, and taking the first one's place."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from incident_center.audience.verbs import (
    Subscribed,
    add_second,
    ask_again,
    change_address,
    confirm_by_code,
    confirm_by_token,
    erase,
    remove_second,
    stop,
    subscribe,
    unsubscribe,
)
from incident_center.db import Database
from incident_center.delivery import suppress
from incident_center.delivery.second import second_address
from incident_center.errors import Refused
from incident_center.house import House
from incident_center.models import AuditEntry, Confirmation, Subscriber
from incident_center.states import Channel, MessageKind, SubscriberState, SuppressionReason
from tests.audience.cast import ANNA, PHONE, a_wish, code_in, mail, token_in
from tests.builders import a_subscriber

LATER = timedelta(minutes=3)
NEW = "anna@elsewhere.example"
OTHER_PHONE = "+4915123456700"
CONFIRMED, ENDED = SubscriberState.CONFIRMED, SubscriberState.UNSUBSCRIBED


def second_asked(
    session: Session, house: House, person: Subscriber, address: str, now: datetime
) -> Subscribed:
    return add_second(
        session, house=house, subscriber_id=person.id, address=address, by="subscriber 1", now=now
    )


def with_second(session: Session, now: datetime, **parts: Any) -> Subscriber:
    """Anna: e-mail, and her number for when that fails."""
    given: dict[str, Any] = {"email": ANNA, "phone": PHONE, "fallback_since": now}
    return a_subscriber(session, **(given | parts))


def moved_to(
    session: Session, house: House, person: Subscriber, channel: Channel, address: str, now: datetime
) -> None:
    asked = change_address(
        session, house=house, subscriber_id=person.id, channel=channel, address=address, by="x", now=now
    )
    newest = mail(session)[-1]
    if channel is Channel.EMAIL:
        confirm_by_token(session, house=house, token=token_in(newest), now=now)
    else:
        confirm_by_code(
            session, house=house, confirmation_id=asked.confirmation_id, code=code_in(newest), now=now
        )


def lost(session: Session, house: House, channel: Channel, address: str, reason: str, now: datetime) -> None:
    suppress.suppress(
        session, house=house, channel=channel, address=address, reason=SuppressionReason(reason), now=now
    )


def test_a_number_counts_as_second_address_once_its_owner_has_read_out_the_code(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        person = a_subscriber(session, email=ANNA)
        asked = second_asked(session, house, person, "01512 3456789", now)
        [message] = mail(session)
        assert (message.kind, message.address) == (MessageKind.CONFIRM, PHONE)
        assert (person.phone, second_address(person)) == (None, None)
        answer = confirm_by_code(
            session, house=house, confirmation_id=asked.confirmation_id, code=code_in(message), now=now
        )
        assert answer.subscriber is person
        assert (person.channel, person.address, person.state) == (Channel.EMAIL, ANNA, CONFIRMED)
        assert (second_address(person), person.fallback_since) == (PHONE, now)
        assert person.links_since is None  # the first address is still theirs, and so are its links
        assert len(mail(session)) == 1
        assert second_asked(session, house, person, PHONE, now).already


def test_an_e_mail_address_counts_as_second_one_once_its_link_was_used_even_twice(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        person = a_subscriber(session, phone=PHONE)
        second_asked(session, house, person, "Anna@Elsewhere.example", now)
        token = token_in(mail(session)[0])
        for _ in range(2):
            confirm_by_token(session, house=house, token=token, now=now)
        assert (person.channel, person.email_key) == (Channel.SMS, NEW)
        assert second_address(person) == "Anna@elsewhere.example"
        actions = list(session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)))
        assert actions == ["subscriber.second_address_asked", "subscriber.second_address_confirmed"]


def test_the_second_address_is_of_the_other_channel_and_needs_a_subscription(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        person = a_subscriber(session, email=ANNA)
        with pytest.raises(Refused) as refused:
            second_asked(session, house, person, NEW, now)
        assert refused.value.flaws[0].code == "phone.invalid"
        unsubscribe(session, house=house, subscriber_id=person.id, now=now)
        with pytest.raises(Refused) as refused:
            second_asked(session, house, person, PHONE, now)
        assert refused.value.flaws[0].code == "second.not_subscribed"


def test_one_number_is_not_pestered_by_asking_it_for_two_purposes_or_many_numbers_in_a_row(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        person = a_subscriber(session, email=ANNA)
        second_asked(session, house, person, PHONE, now)
        second_asked(session, house, person, PHONE, now)  # the button pressed twice
        assert len(mail(session)) == 1
        with pytest.raises(Refused) as refused:
            second_asked(session, house, person, OTHER_PHONE, now)
        assert refused.value.flaws[0].code == "address.too_soon"
        with pytest.raises(Refused):
            change_address(
                session,
                house=house,
                subscriber_id=person.id,
                channel=Channel.SMS,
                address=PHONE,
                by="x",
                now=now,
            )
        assert len(mail(session)) == 1
        change_address(
            session, house=house, subscriber_id=person.id, channel=Channel.EMAIL, address=NEW, by="x", now=now
        )
        assert mail(session)[-1].address == NEW  # another channel and purpose: no reason to wait


def test_a_new_code_for_the_second_address_still_is_for_the_second_address(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        person = a_subscriber(session, email=ANNA)
        first = second_asked(session, house, person, PHONE, now)
        again = ask_again(session, house=house, confirmation_id=first.confirmation_id, now=now + LATER)
        code = code_in(mail(session)[-1])
        confirm_by_code(
            session, house=house, confirmation_id=again.confirmation_id, code=code, now=now + LATER
        )
        assert (person.channel, second_address(person)) == (Channel.EMAIL, PHONE)


def test_taking_it_away_erases_it_and_ends_what_was_asked(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        person = with_second(session, now)
        asked = second_asked(session, house, person, OTHER_PHONE, now)
        code = code_in(mail(session)[0])
        for _ in range(2):
            remove_second(session, subscriber_id=person.id, by="subscriber 1", now=now)
        assert (person.phone, person.fallback_since, person.address) == (None, None, ANNA)
        answer = confirm_by_code(
            session, house=house, confirmation_id=asked.confirmation_id, code=code, now=now
        )
        assert answer.flaw is not None
        assert answer.flaw.code == "confirm.expired"
        assert person.phone is None


def test_a_new_first_address_on_the_same_channel_leaves_the_second_alone(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        person = with_second(session, now - LATER)
        moved_to(session, house, person, Channel.EMAIL, NEW, now)
        assert (person.address, second_address(person)) == (NEW, PHONE)
        assert person.fallback_since == now - LATER


@pytest.mark.parametrize("number", [PHONE, OTHER_PHONE])
def test_changing_the_channel_makes_the_two_change_places(
    database: Database, house: House, now: datetime, number: str
) -> None:
    with database.transaction() as session:
        person = with_second(session, now - LATER)
        moved_to(session, house, person, Channel.SMS, number, now)
        assert (person.channel, person.address) == (Channel.SMS, number)
        assert (second_address(person), person.fallback_since) == (ANNA, now)


def test_changing_the_channel_without_a_second_address_allows_nothing_new(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        person = a_subscriber(session, email=ANNA)
        second = second_asked(session, house, person, PHONE, now)
        code = code_in(mail(session)[-1])
        moved_to(session, house, person, Channel.SMS, OTHER_PHONE, now + LATER)
        assert (person.address, second_address(person)) == (OTHER_PHONE, None)
        late = confirm_by_code(
            session, house=house, confirmation_id=second.confirmation_id, code=code, now=now + LATER
        )
        assert late.flaw is not None
        assert person.address == OTHER_PHONE


def test_subscribing_with_the_second_address_asks_whether_to_write_there_instead(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        person = with_second(session, now)
        asked = subscribe(session, house=house, request=a_wish(PHONE), source="web", by=None, now=now)
        assert asked.subscriber_id == person.id
        assert person.channel is Channel.EMAIL
        code = code_in(mail(session)[0])
        confirm_by_code(session, house=house, confirmation_id=asked.confirmation_id, code=code, now=now)
        assert (person.channel, second_address(person)) == (Channel.SMS, ANNA)


def test_a_number_goes_to_whoever_proves_that_it_is_theirs_whatever_it_was_for(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        spare = with_second(session, now)
        alone = a_subscriber(session, phone=OTHER_PHONE)
        both = a_subscriber(
            session, phone="+4915123456701", email=NEW, channel=Channel.SMS, fallback_since=now
        )
        taker = a_subscriber(session, email="taker@example.com")
        at = now
        for number in (spare.phone, alone.phone, both.phone):
            at += LATER
            asked = second_asked(session, house, taker, str(number), at)
            confirm_by_code(
                session,
                house=house,
                confirmation_id=asked.confirmation_id,
                code=code_in(mail(session)[-1]),
                now=at,
            )
            assert second_address(taker) == number
        assert (spare.state, spare.address, second_address(spare)) == (CONFIRMED, ANNA, None)
        assert (alone.state, alone.phone) == (ENDED, None)
        assert (both.state, both.channel, both.address) == (CONFIRMED, Channel.EMAIL, NEW)
        assert (both.phone, both.fallback_since, both.links_since) == (None, None, at)


def test_asking_for_a_number_that_somebody_else_has_looks_like_asking_for_any_other(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        a_subscriber(session, phone=PHONE)
        person = a_subscriber(session, email=ANNA)
        known = second_asked(session, house, person, PHONE, now)
        unknown = second_asked(session, house, person, OTHER_PHONE, now + LATER)
        assert (known.already, unknown.already) == (False, False)
        assert {message.kind for message in mail(session)} == {MessageKind.CONFIRM}


def test_stop_from_the_second_number_takes_that_alone(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        person = with_second(session, now)
        assert stop(session, house=house, phone=PHONE, now=now)
        assert (person.state, person.address) == (CONFIRMED, ANNA)
        assert (person.phone, person.fallback_since) == (None, None)
        assert suppress.is_suppressed(session, house=house, channel=Channel.SMS, address=PHONE)
        assert not suppress.is_suppressed(session, house=house, channel=Channel.EMAIL, address=ANNA)


def test_stop_from_the_first_number_ends_both(database: Database, house: House, now: datetime) -> None:
    with database.transaction() as session:
        person = with_second(session, now, channel=Channel.SMS)
        stop(session, house=house, phone=PHONE, now=now)
        assert (person.state, second_address(person), person.email) == (ENDED, None, None)
        for channel, address in ((Channel.SMS, PHONE), (Channel.EMAIL, ANNA)):
            assert suppress.is_suppressed(session, house=house, channel=channel, address=address)


@pytest.mark.parametrize("channel", list(Channel))
def test_unsubscribing_and_erasure_cover_both(
    database: Database, house: House, now: datetime, channel: Channel
) -> None:
    with database.transaction() as session:
        person = with_second(session, now, channel=channel)
        unsubscribe(session, house=house, subscriber_id=person.id, now=now)
        assert (person.state, person.fallback_since) == (ENDED, None)
        for each, address in ((Channel.SMS, PHONE), (Channel.EMAIL, ANNA)):
            assert suppress.is_suppressed(session, house=house, channel=each, address=address)
        assert [message.kind for message in mail(session)] == [MessageKind.GOODBYE]
        erase(session, house=house, subscriber_id=person.id, now=now)
        assert (person.email, person.email_key, person.phone) == (None, None, None)


@pytest.mark.parametrize("reason", list(SuppressionReason))
def test_losing_the_second_address_ends_that_and_nothing_else(
    database: Database, house: House, now: datetime, reason: str
) -> None:
    with database.transaction() as session:
        person = with_second(session, now)
        lost(session, house, Channel.SMS, PHONE, reason, now)
        assert (person.state, person.address) == (CONFIRMED, ANNA)
        assert (person.phone, person.fallback_since) == (None, None)


def test_a_mailbox_that_is_gone_makes_the_number_the_first_address(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        person = with_second(session, now - LATER)
        lost(session, house, Channel.EMAIL, ANNA.upper(), "bounce", now)
        assert (person.state, person.channel, person.address) == (CONFIRMED, Channel.SMS, PHONE)
        assert (person.email, person.email_key, person.fallback_since) == (None, None, None)
        assert person.links_since == now  # whoever gets the mailbox next finds no settings behind old links
        assert suppress.is_suppressed(session, house=house, channel=Channel.EMAIL, address=ANNA)
        lost(session, house, Channel.SMS, PHONE, "bounce", now)
        assert person.state is SubscriberState.SUPPRESSED


@pytest.mark.parametrize(
    ("reason", "state"),
    [("complaint", SubscriberState.SUPPRESSED), ("stop", ENDED), ("unsubscribed", ENDED)],
)
def test_who_does_not_want_to_hear_from_us_is_not_written_to_elsewhere(
    database: Database, house: House, now: datetime, reason: str, state: SubscriberState
) -> None:
    with database.transaction() as session:
        person = with_second(session, now)
        lost(session, house, Channel.EMAIL, ANNA, reason, now)
        assert (person.state, person.channel, person.phone) == (state, Channel.EMAIL, None)


def test_a_yes_that_comes_after_the_first_address_was_lost_makes_the_second_the_first(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        person = a_subscriber(session, email=ANNA)
        asked = second_asked(session, house, person, PHONE, now)
        code = code_in(mail(session)[0])
        lost(session, house, Channel.EMAIL, ANNA, "bounce", now)
        assert person.state is SubscriberState.SUPPRESSED
        confirm_by_code(session, house=house, confirmation_id=asked.confirmation_id, code=code, now=now)
        assert (person.state, person.channel, person.address) == (CONFIRMED, Channel.SMS, PHONE)
        assert second_address(person) is None


def test_a_second_address_alone_starts_no_subscription_and_inherits_none(
    database: Database, house: House, now: datetime
) -> None:
    """The second one was confirmed, the first one was not: only a yes of its own makes it the preferred one."""
    with database.transaction() as session:
        begun = subscribe(session, house=house, request=a_wish(), source="api", by=None, now=now)
        person = session.get_one(Subscriber, begun.subscriber_id)
        asked = second_asked(session, house, person, PHONE, now)
        code = code_in(mail(session)[-1])
        confirm_by_code(session, house=house, confirmation_id=asked.confirmation_id, code=code, now=now)
        assert (person.state, second_address(person)) == (SubscriberState.PENDING, PHONE)
        moved_to(session, house, person, Channel.SMS, PHONE, now + LATER)
        assert (person.state, person.channel) == (CONFIRMED, Channel.SMS)
        assert second_address(person) is None, "nobody has confirmed the e-mail address"


def test_questions_say_what_they_are_for(database: Database, house: House, now: datetime) -> None:
    with database.transaction() as session:
        person = a_subscriber(session, email=ANNA)
        second_asked(session, house, person, PHONE, now)
        change_address(
            session, house=house, subscriber_id=person.id, channel=Channel.EMAIL, address=NEW, by="x", now=now
        )
        asked = session.scalars(select(Confirmation).order_by(Confirmation.id))
        assert [(each.address, each.as_fallback) for each in asked] == [(PHONE, True), (NEW, False)]
