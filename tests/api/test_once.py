"""One deed for one key, one publisher for one version; on both databases, with real threads."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from incident_center.db import Database
from incident_center.integrations.api_v1 import idempotency, incidents, publishing
from incident_center.models import AuditEntry, IdempotencyKey, Incident, Subscriber, Update
from tests.api.door import Door, a_declaration, an_update, fields, problem
from tests.builders import NOW

KEY = {"Idempotency_Key": "deed-1"}


def count(database: Database, table: type[Any]) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Runs them in threads of their own and answers what each answered."""
    results: list[Any] = [None] * len(calls)

    def run(place: int) -> None:
        results[place] = calls[place]()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all(not thread.is_alive() for thread in threads)
    return results


def test_the_same_key_and_body_get_the_same_answer(
    lead: Door, incident: Incident, database: Database
) -> None:
    path = f"/incidents/{incident.id}/updates"
    answers = [lead.post(path, an_update(), **KEY) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert answers[0].json == answers[1].json == answers[2].json
    assert count(database, Update) == 1


def test_the_body_is_the_same_however_it_is_written(
    lead: Door, incident: Incident, database: Database
) -> None:
    path = f"/incidents/{incident.id}/updates"
    body = an_update()
    lead.post(path, body, **KEY)
    assert lead.post(path, dict(reversed(body.items())), **KEY).status_code == 201
    assert count(database, Update) == 1


def test_the_same_key_with_another_body_is_refused(
    lead: Door, incident: Incident, database: Database
) -> None:
    path = f"/incidents/{incident.id}/updates"
    lead.post(path, an_update(), **KEY)
    assert set(fields(lead.post(path, an_update(phase="monitoring"), **KEY))) == {"Idempotency-Key"}
    assert set(fields(lead.post(path, an_update(), If_Match="1", **KEY))) == {"Idempotency-Key"}
    assert count(database, Update) == 1


def test_a_key_belongs_to_its_token(lead: Door, agent: Door, database: Database) -> None:
    body = {"channel": "email", "language": "en", "time_zone": "Europe/London"}
    for door, address in ((lead, "one@example.com"), (agent, "two@example.com")):
        assert door.post("/subscribers", body | {"address": address}, **KEY).status_code == 201
    assert count(database, Subscriber) == 2


def test_a_refusal_does_not_use_the_key_up(lead: Door, incident: Incident, database: Database) -> None:
    path = f"/incidents/{incident.id}/updates"
    problem(lead.post(path, {"phase": "investigating"}, **KEY), 422)
    assert count(database, IdempotencyKey) == 0
    assert lead.post(path, an_update(), **KEY).status_code == 201


def test_a_key_must_be_printable_and_short(lead: Door, incident: Incident) -> None:
    for key in ("x" * 201, "two words", "ä"):
        answer = lead.post(f"/incidents/{incident.id}/updates", an_update(), Idempotency_Key=key)
        assert set(fields(answer)) == {"Idempotency-Key"}, key


def test_declaring_twice_by_one_key_declares_once(lead: Door, incident: Incident, database: Database) -> None:
    body = a_declaration([1])
    assert lead.post("/incidents", body, **KEY).json == lead.post("/incidents", body, **KEY).json
    assert count(database, Incident) == 2  # the fixture's and this one


def test_duplicates_in_flight_do_the_deed_once(
    app: Flask, tokens: dict[str, str], incident: Incident, database: Database
) -> None:
    path = f"/incidents/{incident.id}/updates"
    doors = [Door(app.test_client(), tokens["lead"]) for _ in range(5)]
    results = at_once(*(lambda door=door: door.post(path, an_update(), **KEY) for door in doors))
    assert {result.status_code for result in results} == {201}
    assert len({result.json["id"] for result in results}) == 1
    assert count(database, Update) == 1
    with database.reading() as session:
        published = select(func.count()).where(AuditEntry.action == "update.published.update")
        assert session.scalar(published) == 1


def test_of_two_publishers_at_once_one_gets_201_and_one_409(
    app: Flask,
    tokens: dict[str, str],
    incident: Incident,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    both_have_read = threading.Barrier(2, timeout=30)
    really = publishing.version_seen

    def read_together(*given: Any) -> int:
        seen = really(*given)
        both_have_read.wait()
        return seen

    monkeypatch.setattr(incidents, "version_seen", read_together)
    path = f"/incidents/{incident.id}/updates"
    doors = [Door(app.test_client(), tokens["lead"]) for _ in range(2)]
    results = at_once(*(lambda door=door: door.post(path, an_update()) for door in doors))
    assert sorted(result.status_code for result in results) == [201, 409]
    [lost] = [result for result in results if result.status_code == 409]
    assert "Nothing of yours is lost" in problem(lost, 409)["detail"]
    assert count(database, Update) == 1
    monkeypatch.setattr(incidents, "version_seen", really)
    assert doors[0].post(path, an_update()).status_code == 201, "who reads again may publish"


def test_many_publishers_at_once_never_share_a_number(
    app: Flask, tokens: dict[str, str], incident: Incident, database: Database
) -> None:
    path = f"/incidents/{incident.id}/updates"
    doors = [Door(app.test_client(), tokens["lead"]) for _ in range(6)]
    results = at_once(*(lambda door=door: door.post(path, an_update(after_version=0)) for door in doors))
    assert sorted(result.status_code for result in results) == [201] + [409] * 5
    assert count(database, Update) == 1


def test_an_answer_about_a_person_does_not_outlive_their_erasure(agent: Door, database: Database) -> None:
    body = {
        "channel": "email",
        "language": "en",
        "time_zone": "Europe/London",
        "address": "olivia@example.com",
    }
    enrolled = agent.post("/subscribers", body, **KEY)
    assert agent.post("/subscribers", body, **KEY).json == enrolled.json
    with database.reading() as session:
        [row] = session.scalars(select(IdempotencyKey))
        assert row.answer == {"id": enrolled.json["id"]}
    agent.delete(f"/subscribers/{enrolled.json['id']}")
    problem(agent.post("/subscribers", body, **KEY), 404)
    assert count(database, Subscriber) == 1, "nobody is enrolled again by a repetition"


def test_keys_are_forgotten_after_a_month(
    lead: Door, incident: Incident, database: Database, monkeypatch: pytest.MonkeyPatch, hands: Any
) -> None:
    monkeypatch.setattr(idempotency, "SWEEP_EVERY", 1)
    path = f"/incidents/{incident.id}/updates"
    assert lead.post(path, an_update(), Idempotency_Key="old").status_code == 201
    hands(timedelta(days=29))
    later = (NOW + timedelta(days=29, minutes=30)).isoformat()
    assert lead.post(path, an_update(next_update_by=later), Idempotency_Key="new").status_code == 201
    assert count(database, IdempotencyKey) == 2
    with database.transaction() as session:
        session.scalars(
            select(IdempotencyKey).where(IdempotencyKey.key == "old")
        ).one().created_at -= timedelta(days=2)
    assert lead.post(path, an_update(next_update_by=later), Idempotency_Key="newer").status_code == 201
    with database.reading() as session:
        assert set(session.scalars(select(IdempotencyKey.key))) == {"new", "newer"}
