"""Every error is a problem that says what to do."""

import json
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError

from incident_center.center import Center
from incident_center.incidents import questions
from incident_center.models import Incident
from tests.api.door import Door, a_declaration, an_update, fields, in_minutes, problem

pytestmark = pytest.mark.one_database


def test_ten_megabytes_are_refused_before_they_are_read(lead: Door, incident: Incident) -> None:
    body = json.dumps({"phase": "investigating", "facts": {"en": {"known": ["x" * 10_000_000]}}})
    problem(lead.raw(f"/incidents/{incident.id}/updates", body.encode()), 413)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"phase": NaN}',
        b'{"phase": "identified", "phase": "resolved"}',
        b"[" * 200_000,
        b'{"after_version": ' + b"9" * 5000 + b"}",
    ],
    ids=["empty", "torn", "not utf-8", "NaN", "a name twice", "nested", "a number of 5000 digits"],
)
def test_what_is_not_json_is_400(lead: Door, incident: Incident, body: bytes) -> None:
    problem(lead.raw(f"/incidents/{incident.id}/updates", body), 400)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_what_does_not_say_that_it_is_json_is_415(lead: Door, incident: Incident, content_type: str) -> None:
    problem(lead.raw(f"/incidents/{incident.id}/updates", b"{}", content_type), 415)


@pytest.mark.parametrize("body", [b"[]", b'"{}"', b"null", b"1"])
def test_a_body_must_be_an_object(lead: Door, incident: Incident, body: bytes) -> None:
    problem(lead.raw(f"/incidents/{incident.id}/updates", body), 422)


def test_json_inside_a_json_text_is_not_unpacked(lead: Door, incident: Incident) -> None:
    problem(lead.post(f"/incidents/{incident.id}/updates", json.dumps(an_update())), 422)


def test_unknown_fields_are_refused_by_name(lead: Door, incident: Incident) -> None:
    body = an_update(next_udpate_by=in_minutes(5), facts={"en": {"knwon": ["x"]}})
    assert set(fields(lead.post(f"/incidents/{incident.id}/updates", body))) == {
        "next_udpate_by",
        "facts.en.knwon",
    }
    assert set(fields(lead.get("/incidents?colour=red"))) == {"colour"}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (1795180800, "not a number"),
        (1795180800000, "not a number"),
        (17951808.5, "not a number"),
        (True, "not a number"),
        ("1795180800", "no ISO 8601"),
        ("2026-11-20T14:00:00", "offset"),
        ("2026-11-20 14:00:00+01:00", "no ISO 8601"),
        ("2026-11-20", "no ISO 8601"),
        ("14:00", "no ISO 8601"),
        ("2026-02-30T14:00:00Z", "no such moment"),
        ("0001-01-01T00:00:00+23:59", "no such moment"),
        ("2026-11-20T14:00:00+25:00", "no such moment"),
        ("２０２６-11-20T14:00:00Z", "no ISO 8601"),
    ],
)
def test_odd_times_are_refused_with_a_clear_sentence(
    lead: Door, incident: Incident, value: Any, says: str
) -> None:
    body = an_update(next_update_by=value)
    sentence = fields(lead.post(f"/incidents/{incident.id}/updates", body))["next_update_by"]
    assert says.casefold() in sentence.casefold()
    assert sentence.endswith(".")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("phase", "gone"),
        ("phase", 1),
        ("confirmed", [True]),
        ("confirmed", "all"),
        ("after_version", "1"),
        ("after_version", 1.0),
        ("after_version", True),
        ("kind", "holding"),
        ("corrects", 2**40),
        ("facts", []),
        ("sms", {"en": 5}),
        ("sms", {"en": "a\u0000b"}),
        ("sms", {"en": "half \ud800 a pair"}),
        ("sms", {"en": "   "}),
        ("facts", {"en": {"subject": "two\nlines"}}),
        ("sms", {"EN!": "x"}),
    ],
)
def test_wrong_types_are_refused_and_not_guessed_at(
    lead: Door, incident: Incident, field: str, value: Any
) -> None:
    answer = lead.post(f"/incidents/{incident.id}/updates", an_update(**{field: value}))
    for name, sentence in fields(answer).items():
        assert name.split(".")[0] == field
        assert sentence
        assert sentence.endswith((".", "?")) or ":" in sentence


def test_missing_fields_are_named(lead: Door) -> None:
    assert set(fields(lead.post("/incidents", {}))) == {"playbook", "components", "impact", "started_at"}


def test_a_parameter_given_twice_is_refused(viewer: Door) -> None:
    assert set(fields(viewer.get("/incidents?state=open&state=ended"))) == {"state"}


def test_addresses_that_are_not_there_are_problems_too(lead: Door) -> None:
    problem(lead.get("/no-such-thing"), 404)
    problem(lead.get("/incidents/abc"), 404)
    problem(lead.client.get("/api/v2/whatever"), 404)
    answer = lead.delete("/incidents")
    problem(answer, 405)
    assert set(answer.headers["Allow"].split(", ")) >= {"GET", "POST"}


def test_a_database_that_does_not_answer_is_503(lead: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(_session: object) -> list[Any]:
        raise OperationalError("SELECT 1", {}, Exception("connection refused"))

    monkeypatch.setattr(questions, "components", down)
    answer = lead.get("/components")
    problem(answer, 503)
    assert int(answer.headers["Retry-After"]) > 0


def test_a_fault_of_ours_is_a_problem_without_its_innards(
    app: Flask, lead: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_session: object) -> list[Any]:
        raise RuntimeError("the secret is 42")

    app.config["PROPAGATE_EXCEPTIONS"] = False
    monkeypatch.setattr(questions, "components", broken)
    answer = lead.get("/components")
    problem(answer, 500)
    assert "42" not in answer.get_data(as_text=True)


def test_too_many_requests_are_told_when_to_come_back(app: Flask, lead: Door, viewer: Door) -> None:
    app.config["API_RATE_LIMIT"] = "3 per minute"
    assert [lead.get("/components").status_code for _ in range(4)] == [200, 200, 200, 429]
    answer = lead.get("/components")
    problem(answer, 429)
    assert int(answer.headers["Retry-After"]) > 0
    assert viewer.get("/components").status_code == 200, "each token has its own allowance"


def test_texts_that_a_message_cannot_carry_never_reach_the_database(lead: Door, center: Center) -> None:
    for odd in ("\ud800", "a\u0000", "\ue000"):
        body = a_declaration([1], answers={"scope": {"en": odd, "de": "x"}})
        assert "answers.scope.en" in fields(lead.post("/incidents", body))
