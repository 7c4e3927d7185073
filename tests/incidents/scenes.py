"""Scenes that the incident room's tests begin with."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from incident_center.house import House
from incident_center.incidents.verbs import (
    Declaration,
    Publication,
    declare,
    phase_script,
    publish_update,
    script_for,
)
from incident_center.models import Incident, Update
from incident_center.states import Impact, Phase
from tests.builders import LEAD, a_component

ANSWERS = {"scope": {"en": "SEPA payouts to Germany", "de": "SEPA-Auszahlungen nach Deutschland"}}
HALF_AN_HOUR = timedelta(minutes=30)


def declaration(session: Session, *, now: datetime, **parts: Any) -> Declaration:
    given = Declaration(
        playbook="payout-gateway-down",
        component_ids=(a_component(session, "sepa-instant").id, a_component(session, "cards").id),
        impact=Impact.MAJOR,
        started_at=now - timedelta(minutes=20),
        answers=ANSWERS,
    )
    return replace(given, **parts)


def declared(session: Session, house: House, *, now: datetime, **parts: Any) -> Incident:
    return declare(session, house=house, declaration=declaration(session, now=now, **parts), by=LEAD, now=now)


def publication(
    house: House, incident: Incident, *, now: datetime, phase: Phase = Phase.INVESTIGATING, **parts: Any
) -> Publication:
    """The phase's script with everything ticked and a promise of half an hour, unless `parts` say otherwise."""
    script = phase_script(house, incident, phase)
    given = Publication(
        phase=phase,
        words=script_for(house, incident, phase),
        next_update_by=None if phase is Phase.RESOLVED else now + HALF_AN_HOUR,
        confirmed=frozenset(range(len(script.to_confirm("en")))) if script else frozenset(),
    )
    return replace(given, **parts)


def published(
    session: Session, house: House, incident: Incident, *, now: datetime, by: str = LEAD, **parts: Any
) -> Update:
    return publish_update(
        session,
        house=house,
        incident_id=incident.id,
        publication=publication(house, incident, now=now, **parts),
        by=by,
        now=now,
    )
