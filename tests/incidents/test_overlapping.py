"""Two outages at once on the same component: the end of one is not the end of the other."""

from datetime import datetime, timedelta

from flask import Flask
from freezegun.api import FrozenDateTimeFactory
from sqlalchemy import select
from sqlalchemy.orm import Session

from incident_center.center import Center
from incident_center.db import Database
from incident_center.house import House
from incident_center.models import Component
from incident_center.states import ComponentStatus, Phase
from tests.builders import NOW, a_component
from tests.incidents.scenes import declared, published
from tests.web.browser import signed_in

DOWN, RUNNING = ComponentStatus.MAJOR_OUTAGE, ComponentStatus.OPERATIONAL


def _statuses(session: Session) -> dict[str, ComponentStatus]:
    return {c.key: c.status for c in session.scalars(select(Component))}


def test_what_another_open_outage_concerns_stays_down(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        cards = a_component(session, "cards")
        one = declared(session, house, now=now)  # SEPA Instant and cards
        other = declared(session, house, now=now, component_ids=(cards.id,))
        for incident in (one, other):
            published(session, house, incident, now=now)
        later = now + timedelta(minutes=5)
        published(session, house, one, now=later, phase=Phase.RESOLVED)
        assert _statuses(session) == {"sepa-instant": RUNNING, "cards": DOWN}
        published(session, house, other, now=later, phase=Phase.RESOLVED)
        assert _statuses(session) == {"sepa-instant": RUNNING, "cards": RUNNING}


def test_an_outage_that_nobody_was_told_of_holds_nothing_down(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        incident = declared(session, house, now=now)
        declared(session, house, now=now)
        published(session, house, incident, now=now)
        published(session, house, incident, now=now, phase=Phase.RESOLVED)
        assert set(_statuses(session).values()) == {RUNNING}


def test_the_lead_may_say_otherwise(database: Database, house: House, now: datetime) -> None:
    with database.transaction() as session:
        incident, other = declared(session, house, now=now), declared(session, house, now=now)
        for row in (incident, other):
            published(session, house, row, now=now)
        wanted = {component.id: RUNNING for component in incident.components}
        published(session, house, incident, now=now, phase=Phase.RESOLVED, component_status=wanted)
        assert set(_statuses(session).values()) == {RUNNING}


def test_the_room_offers_the_same(app: Flask, center: Center, freezer: FrozenDateTimeFactory) -> None:
    freezer.move_to(NOW)
    lead = signed_in(app, "lead")
    with center.database.transaction() as session:
        cards = a_component(session, "cards")
        incident = declared(session, center.house, now=NOW)
        other = declared(session, center.house, now=NOW, component_ids=(cards.id,))
        for row in (incident, other):
            published(session, center.house, row, now=NOW)
    form = lead.form(f"/console/incidents/{incident.id}?phase=resolved", "/publish")
    assert form["status.sepa-instant"] == [RUNNING.value]
    assert form.get("status.cards", [""]) == [""]
