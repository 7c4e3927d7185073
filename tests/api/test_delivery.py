"""Stop, send again and the call list, as a chat bot of the lead's asks for them."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from incident_center.center import Center
from incident_center.models import AuditEntry, Delivery, Fanout
from incident_center.states import Channel, DeliveryState, FanoutState
from tests.api.door import Door, an_update, fields, in_minutes, problem
from tests.builders import NOW, a_subscriber

KEY = {"Idempotency_Key": "deed-1"}


@pytest.fixture
def missed(center: Center, first: dict[str, Any]) -> dict[str, int]:
    """Two people whom the first update has not reached, by state."""
    with center.database.transaction() as session:
        people = {}
        for state in (DeliveryState.FAILED, DeliveryState.UNKNOWN):
            person = a_subscriber(session, email=f"{state.value}@example.com", name="Ann").id
            row = Delivery(update_id=first["id"], subscriber_id=person, channel=Channel.EMAIL, state=state)
            row.at, row.attempts, row.code, row.apart = NOW - timedelta(minutes=1), 1, "552", True
            session.add(row)
            people[state.value] = person
    return people


def _state(center: Center, person: int) -> DeliveryState:
    with center.database.reading() as session:
        return session.scalars(select(Delivery.state).where(Delivery.subscriber_id == person)).one()


def _noted(center: Center, action: str) -> list[str]:
    with center.database.reading() as session:
        return list(session.scalars(select(AuditEntry.by).where(AuditEntry.action == action)))


def test_whom_an_update_missed_is_written_to_again_once_per_key(
    lead: Door, center: Center, first: dict[str, Any], missed: dict[str, int]
) -> None:
    path = f"/updates/{first['id']}/send-again"
    answers = [lead.post(path, {"states": ["failed"]}, **KEY) for _ in range(2)]
    assert [answer.json for answer in answers] == [{"update_id": first["id"], "people": 1}] * 2
    assert _state(center, missed["failed"]) is DeliveryState.DUE
    assert _state(center, missed["unknown"]) is DeliveryState.UNKNOWN
    assert _noted(center, "delivery.resent") == ["token lead-bot"]


def test_what_is_not_to_be_sent_again_is_refused(
    lead: Door, first: dict[str, Any], missed: dict[str, int]
) -> None:
    path = f"/updates/{first['id']}/send-again"
    assert "states" in fields(lead.post(path, {"states": []}))
    assert "states.0" in fields(lead.post(path, {"states": ["accepted"]}))
    assert "as_of" in fields(lead.post(path, {"states": ["failed"], "as_of": in_minutes(1)}))
    assert "as_of" in fields(lead.post(path, {"states": ["failed", "unknown"]}))
    lead.post(f"/incidents/{first['incident_id']}/updates", an_update())
    problem(lead.post(path, {"states": ["failed"]}), 409)
    problem(lead.post("/updates/4711/send-again", {"states": ["failed"]}), 404)


def test_a_stopped_update_is_sent_to_nobody_more(lead: Door, center: Center, first: dict[str, Any]) -> None:
    with center.database.transaction() as session:
        a_subscriber(session)
    path = f"/updates/{first['id']}/stop"
    assert lead.post(path, {}).json == {"update_id": first["id"], "not_written_to": 1}
    assert lead.post(path, {}).json == {"update_id": first["id"], "not_written_to": 0}
    with center.database.reading() as session:
        assert session.scalar(select(Fanout.state)) is FanoutState.CANCELLED
    assert _noted(center, "delivery.stopped") == ["token lead-bot"]
    problem(lead.post("/updates/4711/stop", {}), 404)


def test_there_is_nothing_to_stop_when_nobody_waits(lead: Door, first: dict[str, Any]) -> None:
    problem(lead.post(f"/updates/{first['id']}/stop", {}), 409)


def test_the_call_list_comes_as_a_file_and_each_taking_is_noted(
    lead: Door, center: Center, first: dict[str, Any], missed: dict[str, int]
) -> None:
    answer = lead.post(f"/updates/{first['id']}/call-list", {})
    assert answer.status_code == 200
    assert answer.content_type == "text/csv; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    lines = list(csv.DictReader(io.StringIO(answer.data.decode("utf-8-sig"))))
    assert [(line["name"], line["e-mail"], line["may have it"]) for line in lines] == [
        ("Ann", "failed@example.com", "no"),
        ("Ann", "unknown@example.com", "yes"),
    ]
    assert _noted(center, "delivery.call_list") == ["token lead-bot"]
    problem(lead.post("/updates/4711/call-list", {}), 404)
