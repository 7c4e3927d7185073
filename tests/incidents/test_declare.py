from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from incident_center.db import Database
from incident_center.errors import NotThere, Refused
from incident_center.house import House
from incident_center.incidents import questions
from incident_center.incidents.verbs import declare
from incident_center.models import AuditEntry, Fanout, Incident
from incident_center.states import Phase
from tests.builders import LEAD
from tests.incidents.scenes import declaration, declared


def codes(refused: pytest.ExceptionInfo[Refused]) -> set[tuple[str, str]]:
    return {(flaw.field, flaw.code) for flaw in refused.value.flaws}


def test_a_declared_incident_is_known_inside_and_unknown_outside(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        incident = declared(session, house, now=now)
    with database.reading() as session:
        found = questions.incident(session, incident.id)
        assert found.phase is Phase.INVESTIGATING
        assert [c.key for c in found.components] == ["sepa-instant", "cards"]
        assert questions.open_incidents(session, public=True) == []
        assert session.scalar(select(func.count()).select_from(Fanout)) == 0
        with pytest.raises(NotThere):
            questions.incident(session, incident.id, public=True)
        entry = session.scalars(select(AuditEntry)).one()
        assert (entry.by, entry.action, entry.incident_id) == (LEAD, "incident.declared", incident.id)


def test_the_same_form_sent_twice_declares_once(database: Database, house: House, now: datetime) -> None:
    with database.transaction() as session:
        first = declared(session, house, now=now, form_key="form-1").id
    with database.transaction() as session:
        second = declared(session, house, now=now + timedelta(seconds=1), form_key="form-1").id
    assert first == second
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Incident)) == 1


def _refused(session: Session, house: House, now: datetime, **parts: Any) -> set[tuple[str, str]]:
    with pytest.raises(Refused) as refused:
        declare(
            session,
            house=house,
            declaration=replace(declaration(session, now=now), **parts),
            by=LEAD,
            now=now,
        )
    return codes(refused)


def test_what_is_wrong_is_said_field_by_field(database: Database, house: House, now: datetime) -> None:
    with database.transaction() as session:
        assert _refused(session, house, now, playbook="no-such") == {("playbook", "unknown")}
        assert _refused(session, house, now, component_ids=()) == {("components", "missing")}
        assert _refused(session, house, now, component_ids=(9999,)) == {("components", "unknown")}
        assert _refused(session, house, now, started_at=now + timedelta(hours=1)) == {
            ("started_at", "in_the_future")
        }
        assert _refused(session, house, now, answers={"scope": {"en": "SEPA payouts"}}) == {
            ("answers.scope.de", "missing")
        }
        assert _refused(
            session, house, now, answers={"scope": {"en": "a\nb", "de": "x" * 400}, "colour": {"en": "red"}}
        ) == {
            ("answers.colour", "unknown"),
            ("answers.scope.en", "characters"),
            ("answers.scope.de", "too_long"),
        }
        assert session.scalar(select(func.count()).select_from(Incident)) == 0
