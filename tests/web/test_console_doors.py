"""Who gets in: sign-in, roles, forged forms, every route's guard."""

import re
from collections.abc import Iterator
from datetime import datetime

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.routing import Rule

from incident_center.center import Center
from incident_center.models import AuditEntry, Staff
from incident_center.staff import guard
from incident_center.staff.accounts import add_staff, close_account
from incident_center.states import Role
from tests.web.browser import Browser, forms_of, signed_in

pytestmark = pytest.mark.one_database

PASSWORD = "correct-horse-battery"

# Pages for everybody, with the reason in the name of their blueprint or endpoint.
OPEN = re.compile(r"^(static|health\..*|security\.(login|logout)|public.*|subscriber.*|mailbox.*)$")


@pytest.fixture
def lead(center: Center, now: datetime) -> Staff:
    with center.database.transaction() as session:
        staff, _ = add_staff(
            session, email="Lea@Example.com", name="Lea", password=PASSWORD, roles=["lead"], now=now
        )
    return staff


def _try(client: FlaskClient, email: str, password: str, url: str = "/sign-in") -> tuple[int, str, str]:
    page = client.get(url)
    form = forms_of(page.text)[0]
    token = form.values["csrf_token"][0]
    answer = client.post(form.action, data={"email": email, "password": password, "csrf_token": token})
    return answer.status_code, answer.headers.get("Location", ""), answer.text


def test_a_lead_signs_in_and_lands_on_the_board(client: FlaskClient, lead: Staff, center: Center) -> None:
    status, location, _ = _try(client, "lea@example.com", PASSWORD)
    assert (status, location) == (303, "/console/")
    assert "Lea" in client.get("/console/").text
    with center.database.reading() as session:
        actions = list(session.scalars(select(AuditEntry.action).where(AuditEntry.by == "lea@example.com")))
    assert actions == ["staff.signed_in"]


def test_the_address_is_read_without_regard_to_case(client: FlaskClient, lead: Staff) -> None:
    assert _try(client, "LEA@EXAMPLE.COM", PASSWORD)[0] == 303


def test_signing_in_does_not_rehash_the_password(client: FlaskClient, lead: Staff, center: Center) -> None:
    _try(client, "lea@example.com", PASSWORD)
    with center.database.reading() as session:
        assert session.get_one(Staff, lead.id).password == lead.password


def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(
    client: FlaskClient, lead: Staff
) -> None:
    known, unknown = _try(client, "lea@example.com", "wrong"), _try(client, "nobody@example.com", "wrong")
    assert known[0] == unknown[0] == 422

    def without_own_parts(page: str) -> str:
        return re.sub(r'value="[^"]*"', "", page)

    assert without_own_parts(known[2]) == without_own_parts(unknown[2])


def test_a_closed_account_is_out_at_once_and_cannot_come_back(
    client: FlaskClient, lead: Staff, center: Center, now: datetime
) -> None:
    _try(client, "lea@example.com", PASSWORD)
    with center.database.transaction() as session:
        close_account(session, email="lea@example.com", now=now)
    assert client.get("/console/").status_code == 302
    assert _try(client, "lea@example.com", PASSWORD)[0] == 422


def test_too_many_wrong_passwords_are_stopped(client: FlaskClient, lead: Staff) -> None:
    answers = [_try(client, "lea@example.com", "wrong")[0] for _ in range(8)]
    assert answers == [422] * 8
    assert _try(client, "lea@example.com", PASSWORD)[0] == 429


def test_sign_in_leads_back_to_where_one_wanted_to_go_but_never_to_another_site(
    client: FlaskClient, lead: Staff
) -> None:
    asked = client.get("/console/declare")
    assert asked.status_code == 302
    assert asked.headers["Location"] == "/sign-in?next=/console/declare"
    elsewhere = _try(client, "lea@example.com", PASSWORD, url="/sign-in?next=https://evil.example/x")
    assert "evil" not in elsewhere[1]
    client.post("/sign-out", data={"csrf_token": Browser(client).token()})
    assert _try(client, "lea@example.com", PASSWORD, url="/sign-in?next=/agent/")[1] == "/agent/"


def test_signing_out_takes_a_post_and_ends_the_session(app: Flask) -> None:
    browser = signed_in(app, "lead")
    assert browser.get("/sign-out").status_code == 405
    browser.post("/sign-out")
    assert browser.get("/console/").status_code == 302


def test_the_session_cookie_is_kept_from_scripts_and_plain_connections(client: FlaskClient) -> None:
    cookie = client.get("/sign-in").headers["Set-Cookie"]
    assert {"HttpOnly", "Secure", "SameSite=Lax"} <= set(cookie.split("; "))


def _guarded(app: Flask) -> Iterator[tuple[Rule, str | None]]:
    for rule in app.url_map.iter_rules():
        if not OPEN.match(rule.endpoint) and not rule.rule.startswith("/api/"):
            yield rule, getattr(app.view_functions[rule.endpoint], "required_role", None)


def test_every_route_that_is_not_for_everybody_asks_for_a_role(app: Flask) -> None:
    found = list(_guarded(app))
    assert len([rule for rule, _ in found if rule.rule.startswith(("/console", "/agent"))]) > 15
    assert [
        rule.rule for rule, role in found if role is None and rule.rule.startswith(("/console", "/agent"))
    ] == []


def test_nobody_anonymous_gets_past_a_guard(app: Flask) -> None:
    app.config["WTF_CSRF_ENABLED"] = False  # so that the guard answers, not the shield before it
    client = app.test_client()
    for rule, role in _guarded(app):
        if role is None:
            continue
        url = re.sub(r"<(int:)?[^>]+>", "1", rule.rule)
        for method in rule.methods or ():
            if method in {"GET", "POST"}:
                answer = client.open(url, method=method)
                assert answer.status_code == (302 if method == "GET" else 401), (method, url)
                if method == "GET":
                    assert answer.headers["Location"].startswith("/sign-in?next=")


@pytest.mark.parametrize(
    ("role", "url", "status"),
    [
        ("viewer", "/console/", 200),
        ("viewer", "/console/declare", 403),
        ("viewer", "/agent/enrol", 403),
        ("approver", "/console/components", 403),
        ("agent", "/agent/enrol", 200),
        ("agent", "/console/declare", 403),
        ("lead", "/agent/enrol", 200),
        ("admin", "/console/declare", 200),
    ],
)
def test_roles_open_their_own_pages_only(app: Flask, role: str, url: str, status: int) -> None:
    assert signed_in(app, role).get(url).status_code == status


def test_roles_stack_as_documented() -> None:
    assert all(guard.allows({Role.ADMIN}, role) for role in Role)
    assert guard.allows({Role.LEAD}, Role.AGENT)
    assert not guard.allows({Role.AGENT}, Role.LEAD)
    assert not guard.allows({Role.APPROVER}, Role.AGENT)
    assert not guard.allows(set(), Role.VIEWER)


def test_a_form_without_its_token_is_refused_and_changes_nothing(app: Flask, center: Center) -> None:
    browser = signed_in(app, "lead")
    answer = browser.client.post("/console/declare/payout-gateway-down", data={"impact": "major"})
    assert answer.status_code == 400
    assert "expired or came from another site" in answer.text


def test_a_request_by_htmx_without_a_session_keeps_the_page(client: FlaskClient) -> None:
    answer = client.get("/console/board", headers={"HX-Request": "true"})
    assert answer.status_code == 401
    assert "HX-Redirect" not in answer.headers


def test_the_content_policy_allows_no_inline_code(app: Flask) -> None:
    page = signed_in(app, "lead").get("/console/")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=", page.text)
    assert page.headers["Cache-Control"] == "no-store"
