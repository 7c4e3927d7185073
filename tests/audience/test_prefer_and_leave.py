"""Changing, leaving and being forgotten."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from incident_center.audience import people
from incident_center.audience.verbs import (
    Preferences,
    change_address,
    change_preferences,
    confirm_by_code,
    confirm_by_token,
    erase,
    stop,
    subscribe,
    unsubscribe,
)
from incident_center.db import Database
from incident_center.delivery import suppress
from incident_center.errors import NotThere, Refused
from incident_center.house import House
from incident_center.models import (
    AuditEntry,
    Confirmation,
    Message,
    Subscriber,
    SubscriberComponent,
    Suppression,
)
from incident_center.states import Channel, FormOfAddress, MessageKind, SubscriberState
from tests.audience.cast import ANNA, PHONE, a_wish, code_in, mail, token_in
from tests.builders import a_component, a_subscriber

LATER = timedelta(minutes=3)
NEW = "anna@elsewhere.example"


def test_preferences_are_changed_and_the_trail_keeps_no_name(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        cards = a_component(session, "cards")
        person = a_subscriber(session, email=ANNA)
        wanted = Preferences(
            language="de",
            zone="America/New_York",
            name="  Anna   Berg ",
            form=FormOfAddress.MS,
            component_ids=frozenset({cards.id}),
        )
        change_preferences(
            session, house=house, subscriber_id=person.id, preferences=wanted, by="subscriber 1", now=now
        )
        assert (person.language, person.zone, person.name) == ("de", "America/New_York", "Anna Berg")
        assert person.form is FormOfAddress.MS
        assert people.component_ids(session, person) == frozenset({cards.id})
        [entry] = session.scalars(select(AuditEntry))
        assert entry.action == "subscriber.preferences_changed"
        assert entry.detail == {"changed": ["component_ids", "form", "language", "name", "zone"]}
        change_preferences(
            session, house=house, subscriber_id=person.id, preferences=wanted, by="subscriber 1", now=now
        )
        assert len(session.scalars(select(AuditEntry)).all()) == 1


def test_a_new_address_counts_only_once_its_owner_has_confirmed(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        person = a_subscriber(session, email=ANNA)
        change_address(
            session,
            house=house,
            subscriber_id=person.id,
            channel=Channel.EMAIL,
            address=NEW,
            by="subscriber 1",
            now=now,
        )
        assert (person.email, person.state) == (ANNA, SubscriberState.CONFIRMED)
        [message] = mail(session)
        assert message.address == NEW
        confirm_by_token(session, house=house, token=token_in(message), now=now)
        assert (person.email, person.email_key) == (NEW, NEW)
        # The links that went to the old address are dead: the new one gets its own.
        assert [sent.kind for sent in mail(session)] == [MessageKind.CONFIRM, MessageKind.WELCOME]
        assert mail(session)[-1].address == NEW


def test_changing_to_sms_moves_the_preferred_channel(database: Database, house: House, now: datetime) -> None:
    with database.transaction() as session:
        person = a_subscriber(session, email=ANNA)
        asked = change_address(
            session,
            house=house,
            subscriber_id=person.id,
            channel=Channel.SMS,
            address="01512 3456789",
            by="subscriber 1",
            now=now,
        )
        assert person.channel is Channel.EMAIL
        confirm_by_code(
            session,
            house=house,
            confirmation_id=asked.confirmation_id,
            code=code_in(mail(session)[0]),
            now=now,
        )
        assert (person.channel, person.phone, person.email) == (Channel.SMS, PHONE, ANNA)


def test_a_third_address_within_two_minutes_is_refused_and_the_present_one_needs_no_change(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        person = a_subscriber(session, email=ANNA)

        def change(address: str) -> bool:
            return change_address(
                session,
                house=house,
                subscriber_id=person.id,
                channel=Channel.EMAIL,
                address=address,
                by="subscriber 1",
                now=now,
            ).already

        assert change(ANNA)
        assert not change(NEW)
        with pytest.raises(Refused) as refused:
            change("third@elsewhere.example")
        assert refused.value.flaws[0].code == "address.too_soon"
        assert len(mail(session)) == 1


def test_an_address_goes_to_whoever_proves_that_it_is_theirs(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        holder = a_subscriber(session, email=NEW)
        person = a_subscriber(session, email=ANNA)
        change_address(
            session,
            house=house,
            subscriber_id=person.id,
            channel=Channel.EMAIL,
            address=NEW,
            by="subscriber 2",
            now=now,
        )
        confirm_by_token(session, house=house, token=token_in(mail(session)[0]), now=now)
        assert person.email == NEW
        assert (holder.email, holder.state) == (None, SubscriberState.UNSUBSCRIBED)


def test_unsubscribing_is_final_quiet_when_repeated_and_outlives_the_row(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        person = a_subscriber(session, email=ANNA)
        for _ in range(3):
            unsubscribe(session, house=house, subscriber_id=person.id, now=now)
        assert (person.state, person.ended_at) == (SubscriberState.UNSUBSCRIBED, now)
        assert [message.kind for message in mail(session)] == [MessageKind.GOODBYE]
        assert list(session.scalars(select(AuditEntry.action))) == ["subscriber.unsubscribed"]
        assert suppress.is_suppressed(session, house=house, channel=Channel.EMAIL, address=ANNA.upper())
        unsubscribe(session, house=house, subscriber_id=9999, now=now)


def test_stop_ends_text_messages_for_known_and_unknown_numbers(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        reader = a_subscriber(session, phone=PHONE)
        mixed = a_subscriber(session, email=ANNA, phone="+12125550123")
        assert stop(session, house=house, phone=PHONE, now=now)
        assert stop(session, house=house, phone="+12125550123", now=now)
        assert not stop(session, house=house, phone="+447911123456", now=now)
        session.refresh(mixed)
        assert reader.state is SubscriberState.UNSUBSCRIBED
        assert (mixed.state, mixed.phone) == (SubscriberState.CONFIRMED, None)
        assert len(session.scalars(select(Suppression)).all()) == 3
        assert stop(session, house=house, phone=PHONE, now=now)


def test_a_code_from_before_stop_does_not_bring_the_number_back(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        asked = subscribe(session, house=house, request=a_wish(PHONE), source="web", by=None, now=now)
        code = code_in(mail(session)[0])
        stop(session, house=house, phone=PHONE, now=now)
        answer = confirm_by_code(
            session, house=house, confirmation_id=asked.confirmation_id, code=code, now=now
        )
        assert answer.flaw is not None
        assert answer.flaw.code == "confirm.expired"


def test_erasure_leaves_nothing_that_names_anybody(database: Database, house: House, now: datetime) -> None:
    with database.transaction() as session:
        cards = a_component(session, "cards")
        subscribe(
            session,
            house=house,
            request=a_wish(component_ids=frozenset({cards.id})),
            source="web",
            by=None,
            now=now,
        )
        person = confirm_by_token(session, house=house, token=token_in(mail(session)[0]), now=now)
        erase(session, house=house, subscriber_id=person.id, now=now)
        number = person.id
    with database.reading() as session:
        gone = session.get_one(Subscriber, number)
        assert (gone.email, gone.email_key, gone.phone, gone.name, gone.form) == (None,) * 5
        assert session.scalars(select(Confirmation)).all() == []
        assert session.scalars(select(SubscriberComponent)).all() == []
        rows = [*session.scalars(select(Message)), *session.scalars(select(AuditEntry))]
        told = " ".join(str(vars(row)) for row in rows)
        assert "anna" not in told.lower()
        assert suppress.is_suppressed(session, house=house, channel=Channel.EMAIL, address=ANNA)
        assert all(message.not_before is None for message in session.scalars(select(Message)))
        with pytest.raises(NotThere):
            people.subscriber(session, number)


def test_who_was_erased_may_come_back_as_somebody_new(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        old = a_subscriber(session, email=ANNA)
        erase(session, house=house, subscriber_id=old.id, now=now)
        subscribe(session, house=house, request=a_wish(), source="web", by=None, now=now + LATER)
        person = confirm_by_token(session, house=house, token=token_in(mail(session)[-1]), now=now + LATER)
        assert person.id != old.id
        assert not suppress.is_suppressed(session, house=house, channel=Channel.EMAIL, address=ANNA)
