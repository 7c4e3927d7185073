"""What somebody with bad intentions tries at the doors, and gets nowhere with."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from incident_center import create_app
from incident_center.center import Center
from incident_center.config import Settings
from incident_center.logs import configure_logging
from incident_center.staff.accounts import add_staff
from incident_center.web.context import center as the_center
from incident_center.web.context import place_of
from tests.web.browser import forms_of

pytestmark = pytest.mark.one_database

EMAIL, PASSWORD = "lea@example.com", "correct-horse-battery"


@pytest.fixture
def lead(center: Center, now: datetime) -> str:
    with center.database.transaction() as session:
        add_staff(session, email=EMAIL, name="Lea", password=PASSWORD, roles=["lead"], now=now)
    return EMAIL


def _token(client: FlaskClient) -> str:
    return forms_of(client.get("/sign-in").text)[0].values["csrf_token"][0]


def _sign_in(client: FlaskClient, *, email: str = EMAIL, password: str = PASSWORD, address: str = "") -> int:
    typed = {"email": email, "password": password, "csrf_token": _token(client)}
    place = {"REMOTE_ADDR": address} if address else {}
    return client.post("/sign-in", data=typed, environ_base=place).status_code


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_a_sign_in_by_json_is_refused_and_hands_out_no_token(
    client: FlaskClient, lead: str, accept: str
) -> None:
    headers = {"X-CSRFToken": _token(client), "Accept": accept}
    answer = client.post(
        "/sign-in?include_auth_token", json={"email": lead, "password": PASSWORD}, headers=headers
    )
    assert answer.status_code == 415
    assert "authentication_token" not in answer.text
    assert client.get("/console/").status_code == 302


def test_who_asks_for_json_signs_in_as_everybody_does_and_gets_no_token(
    client: FlaskClient, lead: str
) -> None:
    answer = client.post(
        "/sign-in?include_auth_token",
        data={"email": lead, "password": PASSWORD, "csrf_token": _token(client)},
        headers={"Accept": "application/json"},
    )
    assert answer.status_code == 303
    assert "authentication_token" not in answer.text


def test_no_token_of_the_sign_in_library_opens_a_page(app: Flask, lead: str) -> None:
    store = app.extensions["incident_center_security"].datastore
    with app.test_request_context():
        token = store.find_user(email=lead).get_auth_token()
    stranger = app.test_client()
    assert stranger.get("/console/", headers={"Authentication-Token": token}).status_code == 302
    assert stranger.get(f"/console/?auth_token={token}").status_code == 302


def test_an_endless_password_is_refused_before_it_is_hashed(client: FlaskClient, lead: str) -> None:
    assert _sign_in(client, password="x" * 129) == 422
    assert _sign_in(client, password="ﷺ" * 100_000) == 422  # 18 characters each once it is normalised


def test_a_line_with_a_billion_addresses_has_no_more_tries_than_one(client: FlaskClient, lead: str) -> None:
    answers = [
        _sign_in(client, password="wrong", address=f"2001:db8:0:7::{number:x}") for number in range(1, 10)
    ]
    assert answers == [422] * 8 + [429]
    assert _sign_in(client, address="2001:db8:0:8::1") == 303


def test_another_way_of_typing_the_address_brings_no_more_tries(client: FlaskClient, lead: str) -> None:
    for email in (EMAIL, EMAIL.upper(), "lea@ｅxample.com", f" {EMAIL} ") * 2:
        assert _sign_in(client, email=email, password="wrong") == 422
    assert _sign_in(client, email="lea@exａmple.com", password="wrong") == 429


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("unix:", "unix:"),
    ],
)
def test_a_place_is_a_line_and_not_one_of_its_addresses(address: str, place: str) -> None:
    assert place_of(address) == place


def test_a_public_page_that_renews_somebodys_session_is_kept_by_no_cache(
    client: FlaskClient, lead: str
) -> None:
    typed = {"email": lead, "password": PASSWORD, "csrf_token": _token(client), "remember": "y"}
    client.post("/sign-in", data=typed)
    client.delete_cookie(
        "incident_center"
    )  # the browser was closed; "keep me signed in" brings a new session
    renewing = client.get("/")
    assert "incident_center=" in renewing.headers["Set-Cookie"]
    assert renewing.headers["Cache-Control"] == "no-store"
    assert "public" in client.get("/").headers["Cache-Control"]


def test_files_that_caches_keep_for_a_year_carry_nobodys_session(client: FlaskClient) -> None:
    page = client.get("/sign-in").text  # begins a session
    address = next(part for part in page.split('"') if part.startswith("/static/console.css?v="))
    for path in (address, "/static/lib/htmx.min.js"):
        with client.get(path) as answer:
            assert "public" in answer.headers["Cache-Control"]
            assert "Set-Cookie" not in answer.headers


def test_the_demo_answers_to_no_name_but_this_machines(center: Center, settings: Settings) -> None:
    demo = create_app(center=replace(center, settings=replace(settings, demo=True))).test_client()
    assert demo.get("/mailbox", headers={"Host": "127.0.0.1:8080"}).status_code == 200
    rebound = demo.get("/mailbox", headers={"Host": "evil.example:8080"})
    assert rebound.status_code == 400
    assert "mailbox" not in rebound.text


@contextmanager
def _listening(app: Flask) -> Iterator[None]:
    """Everything that is logged goes to standard error, as it does where the product runs; tests are quiet."""
    app.config["PROPAGATE_EXCEPTIONS"] = False
    handler = logging.StreamHandler(sys.stderr)
    logging.getLogger().addHandler(handler)
    app.logger.addHandler(handler)
    configure_logging()
    yield
    configure_logging(quiet=True)
    logging.getLogger().removeHandler(handler)
    app.logger.removeHandler(handler)


def test_a_bug_is_logged_with_its_places_and_neither_the_key_in_the_address_nor_its_words(
    app: Flask, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(token: str) -> str:
        try:
            return str(int(token))
        except ValueError as error:
            raise RuntimeError("no mail for olivia@example.com") from error

    app.add_url_rule("/test/<token>", view_func=broken)
    with _listening(app):
        assert app.test_client().get("/test/very-secret-key").status_code == 500
    said = capsys.readouterr().err
    assert "test_attacks.py" in said
    assert "RuntimeError" in said
    assert "ValueError" in said
    assert '"rule": "/test/<token>"' in said
    assert "very-secret-key" not in said
    assert "olivia" not in said


def test_a_database_error_is_logged_without_the_address_that_it_was_about(
    app: Flask, capsys: pytest.CaptureFixture[str]
) -> None:
    statement = text(
        "INSERT INTO suppressions (channel, address_hash, reason, at)"
        " VALUES ('email', :hash, 'stop', '2026-11-20 12:00:00+00:00')"
    )

    @app.get("/test/twice")
    def twice() -> str:
        with the_center().database.transaction() as session:
            for _ in range(2):
                session.execute(statement, {"hash": "olivia@example.com"})
        return ""

    with _listening(app):
        assert app.test_client().get("/test/twice").status_code == 500
    said = capsys.readouterr().err
    assert "IntegrityError" in said
    assert "olivia" not in said
