"""Who may do what: lead publishes, agent enrols and reads, viewer reads, inbound hands texts in."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from incident_center.db import Database
from incident_center.models import ApiToken, Incident
from incident_center.staff.tokens import revoke_token
from tests.api.door import Door, an_update, problem
from tests.builders import NOW

pytestmark = pytest.mark.one_database


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Bearer nope", "Bearer ic_nope", "Basic aWNfbm9wZTo=", "ic_nope", "Bearer ä"],
)
def test_without_a_valid_token_nothing_is_told(app: Flask, tokens: object, header: str) -> None:
    client = app.test_client()
    answer = client.get("/api/v1/incidents", headers={"Authorization": header} if header else {})
    problem(answer, 401)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_an_expired_token_is_refused(lead: Door, hands: Callable[[timedelta], None]) -> None:
    hands(timedelta(days=30) - timedelta(seconds=1))
    assert lead.get("/incidents").status_code == 200
    hands(timedelta(seconds=1))
    answer = lead.get("/incidents")
    problem(answer, 401)
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_a_revoked_token_is_refused_at_once(lead: Door, database: Database) -> None:
    with database.transaction() as session:
        [token_id] = session.scalars(select(ApiToken.id).where(ApiToken.name == "lead-bot"))
        revoke_token(session, token_id=token_id, now=NOW)
    problem(lead.get("/incidents"), 401)


def test_the_token_is_asked_for_before_the_body_is_looked_at(app: Flask, tokens: object) -> None:
    problem(app.test_client().post("/api/v1/incidents", data=b"not json"), 401)


@pytest.mark.parametrize(
    ("method", "path", "may"),
    [
        ("GET", "/incidents", {"lead", "agent", "viewer"}),
        ("GET", "/incidents/1", {"lead", "agent", "viewer"}),
        ("GET", "/incidents/1/deliveries", {"lead", "agent", "viewer"}),
        ("GET", "/promises", {"lead", "agent", "viewer"}),
        ("GET", "/components", {"lead", "agent", "viewer"}),
        ("GET", "/playbooks", {"lead", "agent", "viewer"}),
        ("GET", "/snippets?channel=chat&language=en", {"lead", "agent", "viewer"}),
        ("POST", "/incidents", {"lead"}),
        ("POST", "/incidents/1/updates", {"lead"}),
        ("POST", "/updates/1/stop", {"lead"}),
        ("POST", "/updates/1/send-again", {"lead"}),
        ("POST", "/updates/1/call-list", {"lead"}),
        ("POST", "/subscribers", {"lead", "agent"}),
        ("GET", "/subscribers/1", {"lead", "agent"}),
        ("PATCH", "/subscribers/1", {"lead", "agent"}),
        ("DELETE", "/subscribers/1", {"lead", "agent"}),
        ("POST", "/subscribers/1/confirm", {"lead", "agent"}),
        ("POST", "/inbound/sms", {"lead", "agent", "inbound"}),
    ],
)
def test_each_role_has_its_calls(
    app: Flask, tokens: dict[str, str], method: str, path: str, may: set[str]
) -> None:
    client = app.test_client()
    for role, token in tokens.items():
        answer = client.open(
            f"/api/v1{path}",
            method=method,
            headers={"Authorization": f"Bearer {token}"},
            json={} if method in {"POST", "PATCH"} else None,
        )
        assert (answer.status_code != 403) == (role in may), (role, answer.status_code)


def test_every_call_but_the_document_asks_for_a_role(app: Flask) -> None:
    bare = [
        rule.rule
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/v1/") and not hasattr(app.view_functions[rule.endpoint], "api_roles")
    ]
    assert bare == ["/api/v1/openapi.json"]


def test_a_signed_in_browser_gets_nothing_by_its_cookie(
    app: Flask, tokens: object, incident: Incident
) -> None:
    client = app.test_client()
    with client.session_transaction() as session:
        session["_user_id"] = "1"
    problem(client.post(f"/api/v1/incidents/{incident.id}/updates", json=an_update()), 401)
