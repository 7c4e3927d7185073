"""Whoever changes how they are written to while an incident is going on misses nothing and hears nothing twice."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from incident_center.audience import people
from incident_center.audience.verbs import change_address, change_preferences, confirm_by_code
from incident_center.db import Database
from incident_center.delivery.cutting import keep, next_step, to_cut
from incident_center.delivery.questions import ledger_check
from incident_center.house import House
from incident_center.models import Delivery, Incident, Subscriber, Update
from incident_center.states import Channel, DeliveryState, Phase
from tests.audience.cast import ANNA, PHONE, code_in, mail
from tests.builders import a_component, a_subscriber
from tests.incidents.scenes import declared, published


def _cut(session: Session, now: datetime) -> None:
    for fanout_id in to_cut(session):
        while (step := next_step(session, fanout_id)) is not None:
            keep(session, step, now=now)


def _told(session: Session, person: Subscriber, update: Update, now: datetime) -> None:
    """As a worker would have written it down."""
    session.add(
        Delivery(
            update_id=update.id,
            subscriber_id=person.id,
            channel=person.channel,
            state=DeliveryState.ACCEPTED,
            attempts=1,
            fence=0,
            possibly_twice=False,
            at=now,
        )
    )
    session.flush()


def _moves_to_sms(session: Session, house: House, person: Subscriber, now: datetime) -> None:
    asked = change_address(
        session,
        house=house,
        subscriber_id=person.id,
        channel=Channel.SMS,
        address=PHONE,
        by="subscriber 1",
        now=now,
    )
    answer = confirm_by_code(
        session,
        house=house,
        confirmation_id=asked.confirmation_id,
        code=code_in(mail(session)[-1]),
        now=now,
    )
    assert answer.subscriber is person
    assert person.channel is Channel.SMS


def _rows(session: Session, update: Update) -> list[tuple[Channel, DeliveryState]]:
    session.flush()
    found = session.execute(
        select(Delivery.channel, Delivery.state)
        .where(Delivery.update_id == update.id)
        .order_by(Delivery.subscriber_id)
    )
    return [(row.channel, row.state) for row in found]


def _incident(session: Session, house: House, now: datetime) -> tuple[Incident, Update]:
    incident = declared(session, house, now=now)
    return incident, published(session, house, incident, now=now)


def test_a_new_channel_in_mid_incident_gets_what_the_old_one_would_have(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        person = a_subscriber(session, email=ANNA)
        _, update = _incident(session, house, now)
        _cut(session, now)  # an e-mail chunk with Anna, no SMS chunk at all
        _moves_to_sms(session, house, person, now)
        assert _rows(session, update) == [(Channel.SMS, DeliveryState.DUE)]
        assert ledger_check(session, update.id) == []


def test_who_has_had_the_news_on_the_old_channel_does_not_get_it_again(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        person = a_subscriber(session, email=ANNA)
        _, update = _incident(session, house, now)
        _told(session, person, update, now)
        _moves_to_sms(session, house, person, now)
        assert _rows(session, update) == [(Channel.EMAIL, DeliveryState.ACCEPTED)]


def test_who_was_told_that_it_began_hears_that_it_is_over_on_the_new_channel(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        person = a_subscriber(session, email=ANNA)
        incident, first = _incident(session, house, now)
        _told(session, person, first, now)
        now += timedelta(minutes=20)
        last = published(session, house, incident, now=now, phase=Phase.RESOLVED)
        _cut(session, now)
        _moves_to_sms(session, house, person, now)
        assert _rows(session, last) == [(Channel.SMS, DeliveryState.DUE)]
        assert ledger_check(session, last.id) == []


@pytest.mark.parametrize("hours", [0, 25])
def test_an_end_is_news_only_to_whom_it_concerned_and_only_for_a_day(
    database: Database, house: House, now: datetime, hours: int
) -> None:
    with database.transaction() as session:
        stranger, person = a_subscriber(session, email="new@example.com"), a_subscriber(session, email=ANNA)
        incident, first = _incident(session, house, now)
        _told(session, person, first, now)
        last = published(session, house, incident, now=now, phase=Phase.RESOLVED)
        _cut(session, now)
        mover = person if hours else stranger
        _moves_to_sms(session, house, mover, now + timedelta(hours=hours))
        assert _rows(session, last) == []


def test_choosing_a_component_that_is_down_tells_where_things_stand(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        cards, wallet = a_component(session, "cards"), a_component(session, "wallet")
        person = a_subscriber(session, email=ANNA, components=[wallet])
        _, update = _incident(session, house, now)  # SEPA Instant and cards
        _cut(session, now)
        wanted = replace(
            people.preferences_of(session, person), component_ids=frozenset({cards.id, wallet.id})
        )
        for _ in range(2):
            change_preferences(
                session, house=house, subscriber_id=person.id, preferences=wanted, by="subscriber 1", now=now
            )
        assert _rows(session, update) == [(Channel.EMAIL, DeliveryState.DUE)]
        assert ledger_check(session, update.id) == []


def test_another_language_alone_brings_no_second_copy(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        person = a_subscriber(session, email=ANNA, language="de")
        _, update = _incident(session, house, now)
        _told(session, person, update, now)
        wanted = replace(people.preferences_of(session, person), language="en")
        change_preferences(
            session, house=house, subscriber_id=person.id, preferences=wanted, by="subscriber 1", now=now
        )
        assert _rows(session, update) == [(Channel.EMAIL, DeliveryState.ACCEPTED)]
