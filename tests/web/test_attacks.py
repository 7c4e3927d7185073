"""What somebody with bad intentions tries at the doors, and gets nowhere with."""

from datetime import datetime

import pytest
from flask import Flask
from flask.testing import FlaskClient

from incident_center.center import Center
from incident_center.staff.accounts import add_staff
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
