"""An outage spreads to other components; a mistaken declaration is taken back without a word."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select

from incident_center.db import Database
from incident_center.errors import Conflict, NotThere, Refused
from incident_center.house import House
from incident_center.incidents import questions
from incident_center.incidents.verbs import DraftInput, open_draft, save_draft, withdraw
from incident_center.models import Component, Fanout, Incident
from incident_center.states import ComponentStatus, Phase
from tests.builders import LEAD, a_component
from tests.incidents.scenes import declared, published


def test_a_component_that_an_update_calls_unwell_belongs_to_the_incident_until_its_end(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        api = a_component(session, "payout-api").id
        incident = declared(session, house, now=now)
        published(session, house, incident, now=now)
        later = now + timedelta(minutes=5)
        spread = {api: ComponentStatus.PARTIAL_OUTAGE}
        published(session, house, incident, now=later, component_status=spread)
        concerned = {c.key for c in questions.incident(session, incident.id).components}
        assert concerned == {"sepa-instant", "cards", "payout-api"}
        end = now + timedelta(minutes=10)
        published(session, house, incident, now=end, phase=Phase.RESOLVED)
    with database.reading() as session:
        assert session.get_one(Component, api).status is ComponentStatus.OPERATIONAL


def test_a_component_that_has_no_part_in_it_cannot_be_called_well_by_it(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        api = a_component(session, "payout-api").id
        incident = declared(session, house, now=now)
        with pytest.raises(Refused) as refused:
            published(session, house, incident, now=now, component_status={api: ComponentStatus.OPERATIONAL})
        assert [(f.field, f.code) for f in refused.value.flaws] == [("component_status", "not_affected")]


def test_a_mistaken_declaration_is_withdrawn_and_nobody_is_written_to(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        incident = declared(session, house, now=now)
        draft = DraftInput(phase=Phase.INVESTIGATING, words={})
        save_draft(session, incident_id=incident.id, draft=draft, version=None, by=LEAD, now=now)
        withdraw(session, incident_id=incident.id, by=LEAD, now=now)
    with database.reading() as session:
        assert questions.open_incidents(session) == []
        assert questions.recent_incidents(session) == []
        assert open_draft(session, incident.id) is None
        assert session.scalar(select(func.count()).select_from(Fanout)) == 0


def test_once_an_update_is_out_the_end_must_be_told(database: Database, house: House, now: datetime) -> None:
    with database.transaction() as session:
        incident = declared(session, house, now=now)
        published(session, house, incident, now=now)
    with pytest.raises(Conflict), database.transaction() as session:
        withdraw(session, incident_id=incident.id, by=LEAD, now=now)
    with pytest.raises(NotThere), database.transaction() as session:
        withdraw(session, incident_id=999, by=LEAD, now=now)
    with database.reading() as session:
        assert session.get_one(Incident, incident.id).phase is Phase.INVESTIGATING
