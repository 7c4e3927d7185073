"""The second address on a customer's settings page, used as without JavaScript."""

import re
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from freezegun.api import FrozenDateTimeFactory
from sqlalchemy import select
from werkzeug.test import TestResponse

from incident_center import create_app
from incident_center.center import Center
from incident_center.delivery.links import manage_url
from incident_center.delivery.second import second_address
from incident_center.models import Message, Subscriber
from tests.audience.cast import ANNA, PHONE, code_in, mail, token_in, wrong_code
from tests.builders import NOW, a_subscriber, juergen
from tests.web.browser import Browser, text_of

pytestmark = pytest.mark.one_database  # what is stored, on both, is told by tests/audience
NUMBER = "+49 1512 3456789"


@pytest.fixture
def offering_sms(center: Center) -> Center:
    settings = replace(center.settings, sms_urls=("json://sms.example.com",))
    return replace(center, settings=settings, house=replace(center.house, settings=settings))


@pytest.fixture
def app(offering_sms: Center) -> Flask:
    return create_app(center=offering_sms)


@pytest.fixture
def visitor(app: Flask, freezer: FrozenDateTimeFactory) -> FlaskClient:
    freezer.move_to(NOW)
    return client(app)


def client(app: Flask) -> FlaskClient:
    app.config["PREFERRED_URL_SCHEME"] = "https"
    return app.test_client(use_cookies=False)


def settings_of(center: Center, **parts: Any) -> str:
    """The path of the settings of somebody new."""
    with center.database.transaction() as session:
        person = a_subscriber(session, **parts)
    return "/m/" + manage_url(center.house, person.id).rpartition("/m/")[2]


def newest(center: Center) -> Message:
    with center.database.reading() as session:
        return mail(session)[-1]


def the_one(center: Center) -> Subscriber:
    with center.database.reading() as session:
        return session.scalars(select(Subscriber)).one()


def send(visitor: FlaskClient, url: str, action: str, **typed: str) -> TestResponse:
    """Reads the form off the page, fills it in and sends it."""
    return visitor.post(action, data={**Browser.form_in(visitor.get(url).text, action), **typed})


def said(visitor: FlaskClient, answer: TestResponse) -> str:
    assert answer.status_code == 303
    return text_of(visitor.get(answer.location).text)


def test_a_number_joins_an_e_mail_address_by_its_code_and_can_be_deleted(
    visitor: FlaskClient, center: Center
) -> None:
    url = settings_of(center, email=ANNA)
    page = send(visitor, url, f"{url}/second", second="+49 1512 3456789").location
    assert page.startswith("/confirm/")
    assert newest(center).address == PHONE
    code = code_in(newest(center))
    assert send(visitor, page, page, code=wrong_code(code)).status_code == 422
    assert second_address(the_one(center)) is None
    text = said(visitor, send(visitor, page, page, code=code))
    assert "your second address is confirmed" in text
    assert f"If we cannot reach you by e-mail, we send you a text message to {PHONE}." in text
    assert f"We write to {ANNA}." in text
    text = said(visitor, visitor.post(f"{url}/second/remove"))
    assert "Your second address is deleted." in text
    assert PHONE not in text
    assert (the_one(center).phone, the_one(center).email) == (None, ANNA)


def test_an_e_mail_address_joins_a_number_by_its_link(visitor: FlaskClient, center: Center) -> None:
    url = settings_of(center, phone=PHONE)
    text = said(visitor, send(visitor, url, f"{url}/second", second=ANNA))
    assert "open the link that we have sent to" in text
    assert "we send you an e-mail to" not in text, "not before its owner has said yes"
    link = f"/c/{token_in(newest(center))}"
    asked = text_of(visitor.get(link).text)
    assert f"Shall we write to {ANNA} when a text message from us does not arrive?" in asked
    assert second_address(the_one(center)) is None, "looking at the link is no yes"
    text = said(visitor, visitor.post(link))
    assert f"If we cannot reach you by text message, we send you an e-mail to {ANNA}." in text
    assert f"We write to {PHONE}." in text


def test_a_refused_second_address_keeps_what_was_typed_and_says_why_at_its_own_field(
    visitor: FlaskClient, center: Center
) -> None:
    with center.database.transaction() as session:
        person = juergen(session)
    url = "/m/" + manage_url(center.house, person.id).rpartition("/m/")[2]
    answer = send(visitor, url, f"{url}/second", second="<b>0900 1234567")
    assert answer.status_code == 422
    assert Browser.form_in(answer.text, f"{url}/second")["second"] == ["<b>0900 1234567"]
    flaws = re.findall(r'<p class="flaw" id="(\w+)-flaw">(.*?)</p>', answer.text)
    assert flaws == [
        ("second", "Das sieht nicht wie eine Telefonnummer aus. Bitte vergleichen Sie die Ziffern.")
    ]
    assert re.search(r'<input id="second"[^>]*aria-invalid="true"', answer.text)
    assert Browser.form_in(answer.text, f"{url}/address")["phone"] == [""], "the other form is untouched"
    assert send(visitor, url, f"{url}/second", second="").status_code == 422


def test_the_same_number_again_changes_nothing(visitor: FlaskClient, center: Center) -> None:
    url = settings_of(center, email=ANNA, phone=PHONE, fallback_since=NOW)
    assert "That is your second address already." in said(
        visitor, visitor.post(f"{url}/second", data={"second": NUMBER})
    )
    with center.database.reading() as session:
        assert mail(session) == []


def test_only_subscribed_people_and_houses_with_sms_are_offered_a_second_number(
    visitor: FlaskClient, center: Center
) -> None:
    url = settings_of(center, email=ANNA)
    assert f"{url}/second" in visitor.get(url).text
    without_sms = client(create_app(center=center))
    assert f"{url}/second" not in without_sms.get(url).text
    assert without_sms.post(f"{url}/second", data={"second": NUMBER}).status_code == 422
    visitor.post(f"{url}/leave")
    assert f"{url}/second" not in visitor.get(url).text
    assert visitor.post(f"{url}/second", data={"second": NUMBER}).status_code == 422
    assert the_one(center).phone is None


def test_somebody_elses_link_opens_no_second_address(visitor: FlaskClient, center: Center) -> None:
    url = settings_of(center, email=ANNA, phone=PHONE, fallback_since=NOW)
    assert visitor.post(f"{url}x/second", data={"second": NUMBER}).status_code == 404
    assert visitor.post(f"{url}x/second/remove").status_code == 404
    assert second_address(the_one(center)) == PHONE
