"""A customer's own pages, used as without JavaScript: forms, links, codes, and the ways to leave."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from freezegun.api import FrozenDateTimeFactory
from sqlalchemy import select
from werkzeug.test import TestResponse

import incident_center.audience
from incident_center import create_app
from incident_center.center import Center
from incident_center.delivery.links import manage_url, unsubscribe_url
from incident_center.models import Message, Subscriber
from incident_center.states import Channel, MessageKind, SubscriberState
from tests.audience.cast import ANNA, PHONE, code_in, mail, token_in, wrong_code
from tests.builders import NOW, a_component, a_subscriber, juergen, olivia
from tests.web.browser import Browser, text_of

GERMAN = {"Accept-Language": "de"}
LATER = timedelta(minutes=3)


@pytest.fixture
def offering_sms(center: Center) -> Center:
    settings = replace(center.settings, sms_urls=("json://sms.example.com",))
    return replace(center, settings=settings, house=replace(center.house, settings=settings))


@pytest.fixture
def app(offering_sms: Center) -> Flask:
    application = create_app(center=offering_sms)
    application.config["PREFERRED_URL_SCHEME"] = "https"
    return application


@pytest.fixture
def visitor(app: Flask, freezer: FrozenDateTimeFactory) -> FlaskClient:
    freezer.move_to(NOW)
    return app.test_client()


def send(
    visitor: FlaskClient, url: str, action: str, *, headers: dict[str, str] | None = None, **typed: Any
) -> TestResponse:
    """Reads the form off the page, fills it in and sends it."""
    page = visitor.get(url, headers=headers)
    values = Browser.form_in(page.text, action)
    return visitor.post(action or url, data={**values, **typed}, headers=headers)


def subscribe(visitor: FlaskClient, **typed: Any) -> TestResponse:
    return send(visitor, "/subscribe", "/subscribe", **typed)


def sent(center: Center) -> list[Message]:
    with center.database.reading() as session:
        return mail(session)


def people(center: Center) -> list[Subscriber]:
    with center.database.reading() as session:
        return list(session.scalars(select(Subscriber).order_by(Subscriber.id)))


def path_of(url: str) -> str:
    return urlsplit(url).path


def field_flaw(page: str, field: str) -> str:
    found = re.search(rf'<p class="flaw" id="{field}-flaw">(.*?)</p>', page)
    assert found, f"no flaw at {field}"
    return found[1].replace("&#39;", "'")


def test_from_the_form_by_the_link_to_the_settings(visitor: FlaskClient, center: Center) -> None:
    answer = subscribe(visitor, email="o'brien+payout@example.com", name="Olivia O'Brien", form="ms")
    assert (answer.status_code, answer.location) == (303, "/subscribe/sent")
    waiting = text_of(visitor.get("/subscribe/sent").text)
    assert "o'brien+payout@example.com" in waiting
    link = f"/c/{token_in(sent(center)[0])}"
    assert visitor.get(link).status_code == 200
    assert visitor.head(link).status_code == 200
    assert people(center)[0].state is SubscriberState.PENDING
    done = send(visitor, link, "")
    assert done.status_code == 303
    settings = visitor.get(done.location)
    assert "Thank you, everything is confirmed" in settings.text
    assert "We write to o'brien+payout@example.com." in text_of(settings.text)
    assert people(center)[0].state is SubscriberState.CONFIRMED
    assert send(visitor, link, "").status_code == 303  # pressed twice


def test_the_form_starts_with_what_is_likely(visitor: FlaskClient) -> None:
    page = visitor.get("/subscribe", headers=GERMAN).text
    assert Browser.form_in(page, "/subscribe") | {"csrf_token": []} == {
        "csrf_token": [],
        "channel": ["email"],
        "email": [""],
        "phone": [""],
        "language": ["de"],
        "zone": ["Europe/Berlin"],
        "form": [""],
        "name": [""],
    }


def test_a_refused_form_keeps_everything_typed_and_says_why_at_the_field(
    visitor: FlaskClient, center: Center
) -> None:
    with center.database.transaction() as session:
        cards = a_component(session, "cards")
        a_component(session, "sepa-instant")
    typed: dict[str, Any] = {
        "channel": "sms",
        "email": "spare@x.example",
        "phone": "+49 900 1234567",
        "scope": "some",
        "components": [str(cards.id)],
        "language": "en",
        "zone": "America/New_York",
        "form": "mr",
        "name": "evil.com <b>",
    }
    answer = send(visitor, "/subscribe", "/subscribe", headers=GERMAN, **typed)
    assert answer.status_code == 422
    kept = Browser.form_in(answer.text, "/subscribe")
    kept.pop("csrf_token")
    assert kept == {name: given if isinstance(given, list) else [given] for name, given in typed.items()}
    assert field_flaw(answer.text, "phone").startswith("Nachrichten an diese Nummer kosten extra.")
    assert field_flaw(answer.text, "name").startswith("Bitte lassen Sie Internetadressen")
    assert 'aria-invalid="true"' in answer.text
    assert people(center) == []


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"email": ""}, "email"),
        ({"email": "a@x.example,b@x.example"}, "email"),
        ({"email": ANNA, "channel": "fax"}, "channel"),
        ({"email": ANNA, "scope": "some"}, "components"),
        ({"email": ANNA, "scope": "some", "components": ["0x1"]}, "components"),
        ({"email": ANNA, "scope": "some", "components": ["99999"]}, "components"),
        ({"email": ANNA, "language": "tlh"}, "language"),
        ({"email": ANNA, "zone": "../etc/passwd"}, "zone"),
        ({"email": ANNA, "form": "dr"}, "form"),
        ({"channel": "sms", "phone": "030 123456"}, "phone"),
    ],
)
@pytest.mark.one_database
def test_whatever_is_odd_is_said_at_its_field(
    visitor: FlaskClient, center: Center, typed: dict[str, object], field: str
) -> None:
    with center.database.transaction() as session:
        a_component(session)
    answer = subscribe(visitor, **typed)
    assert answer.status_code == 422
    assert field_flaw(answer.text, field)
    assert sent(center) == []


@pytest.mark.parametrize(("address", "field"), [(ANNA, "email"), (PHONE, "phone")])
def test_known_and_new_addresses_get_the_same_pages(
    app: Flask, center: Center, address: str, field: str
) -> None:
    channel = "sms" if field == "phone" else "email"

    def walk() -> list[tuple[int, str]]:
        visitor = app.test_client()
        answer = subscribe(visitor, channel=channel, **{field: address})
        page = visitor.get(answer.location)
        seen = [(answer.status_code, re.sub(r"/confirm/.*", "/confirm/", answer.location))]
        if channel == "sms":
            wrong = send(visitor, answer.location, answer.location, code="000000")
            seen.append((wrong.status_code, text_of(wrong.text)))
        return [*seen, (page.status_code, text_of(page.text))]

    new = walk()
    with center.database.transaction() as session:
        person = session.scalars(select(Subscriber)).one()
        person.state = SubscriberState.CONFIRMED
        for message in mail(session):
            session.delete(message)
        for table in ("confirmations",):
            session.connection().exec_driver_sql(f"DELETE FROM {table}")
    assert walk() == new
    assert [message.kind for message in sent(center)] == [MessageKind.ALREADY]


def test_by_text_message_with_a_slip_on_the_way(visitor: FlaskClient, center: Center) -> None:
    answer = subscribe(visitor, channel="sms", phone="01512 / 3456789")
    page = answer.location
    assert page.startswith("/confirm/")
    assert "+49…789" in visitor.get(page).text
    code = code_in(sent(center)[0])
    slip = send(visitor, page, page, code=wrong_code(code))
    assert slip.status_code == 422
    assert "You have 4 tries left." in slip.text
    done = send(visitor, page, page, code=f"{code[:3]} {code[3:]}")
    assert done.status_code == 303
    assert "We write to +4915123456789." in text_of(visitor.get(done.location).text)


def test_five_wrong_codes_end_it_and_a_new_code_can_be_had(
    visitor: FlaskClient, center: Center, freezer: FrozenDateTimeFactory
) -> None:
    page = subscribe(visitor, channel="sms", phone=PHONE).location
    code = code_in(sent(center)[0])
    token = Browser.form_in(visitor.get(page).text, page)
    for _ in range(5):
        answer = visitor.post(page, data={**token, "code": wrong_code(code)})
    assert "tried too often" in answer.text
    assert "tried too often" in visitor.post(page, data={**token, "code": code}).text
    freezer.move_to(NOW + LATER)
    again = send(visitor, page, f"{page}/again")
    assert again.status_code == 303
    new = code_in(sent(center)[-1])
    assert send(visitor, again.location, again.location, code=new).status_code == 303


def test_foreign_and_expired_links_lead_to_a_clear_page(
    visitor: FlaskClient, center: Center, freezer: FrozenDateTimeFactory
) -> None:
    subscribe(visitor, email=ANNA)
    link = f"/c/{token_in(sent(center)[0])}"
    for foreign in ("/c/forged", "/confirm/forged", "/m/forged", "/u/forged", f"{link}x"):
        answer = visitor.get(foreign, headers=GERMAN)
        assert answer.status_code == 404
        assert "Diesen Link kennen wir nicht" in answer.text
    freezer.move_to(NOW + timedelta(hours=49))
    for answer in (visitor.get(link, headers=GERMAN), visitor.post(link, headers=GERMAN)):
        assert answer.status_code == 410
        assert "Dieser Link gilt nicht mehr" in answer.text


def test_a_form_that_is_old_or_from_another_site_is_refused_kindly(
    visitor: FlaskClient, center: Center
) -> None:
    answer = visitor.post("/subscribe", data={"channel": "email", "email": ANNA}, headers=GERMAN)
    assert answer.status_code == 400
    assert "Bitte noch einmal" in answer.text
    assert people(center) == []


def test_personal_links_work_without_cookies(app: Flask, center: Center) -> None:
    """Mail programs open links in windows of their own: the link itself proves who is there."""
    with center.database.transaction() as session:
        person = a_subscriber(session, email=ANNA)
    bare = app.test_client(use_cookies=False)
    url = path_of(manage_url(center.house, person.id))
    values = Browser.form_in(bare.get(url).text, url)
    assert "csrf_token" not in values
    assert bare.post(url, data={**values, "zone": "Asia/Tokyo"}).status_code == 303
    assert people(center)[0].zone == "Asia/Tokyo"
    assert bare.post(f"{url}/leave").status_code == 303
    assert people(center)[0].state is SubscriberState.UNSUBSCRIBED


def test_a_flood_from_one_address_is_slowed_with_a_page_that_says_so(app: Flask) -> None:
    visitor = app.test_client()  # in real time: the counter's storage keeps its own clock
    values = Browser.form_in(visitor.get("/subscribe").text, "/subscribe")
    codes = [visitor.post("/subscribe", data={**values, "email": ""}).status_code for _ in range(21)]
    assert codes == [422] * 20 + [429]
    assert "Das war etwas viel auf einmal" in visitor.post("/subscribe", data=values, headers=GERMAN).text


def test_settings_are_changed_and_a_flaw_keeps_what_was_typed(visitor: FlaskClient, center: Center) -> None:
    with center.database.transaction() as session:
        cards = a_component(session, "cards")
        person = olivia(session)
    url = path_of(manage_url(center.house, person.id))
    changed: dict[str, Any] = {
        "scope": "some",
        "components": [str(cards.id)],
        "zone": "Asia/Tokyo",
        "language": "de",
    }
    answer = send(visitor, url, url, **changed)
    assert answer.status_code == 303
    assert "Gespeichert" in visitor.get(answer.location).text  # the page speaks their language now
    after = people(center)[0]
    assert (after.zone, after.language, after.all_components) == ("Asia/Tokyo", "de", False)
    refused = send(visitor, url, url, name="A" * 81)
    assert refused.status_code == 422
    assert Browser.form_in(refused.text, url)["name"] == ["A" * 81]
    assert people(center)[0].name == "Olivia O'Brien"


def test_personal_pages_speak_the_persons_language_unless_another_is_chosen(
    visitor: FlaskClient, center: Center
) -> None:
    with center.database.transaction() as session:
        person = juergen(session)
    url = path_of(manage_url(center.house, person.id))
    assert "Ihre Einstellungen" in visitor.get(url).text
    assert "Your settings" in visitor.get(f"{url}?lang=en").text
    page = visitor.get(url)
    assert page.headers["Cache-Control"] == "no-store"
    assert 'content="noindex"' in page.text


def test_moving_to_a_new_address_waits_for_its_yes(visitor: FlaskClient, center: Center) -> None:
    with center.database.transaction() as session:
        person = a_subscriber(session, email=ANNA)
    url = path_of(manage_url(center.house, person.id))
    answer = send(visitor, url, f"{url}/address", channel="email", email="new@x.example")
    said = text_of(visitor.get(answer.location).text)
    assert "open the link that we have sent to new@x.example" in said
    assert f"We write to {ANNA}." in said
    link = f"/c/{token_in(sent(center)[0])}"
    assert "Shall we write to new@x.example from now on?" in text_of(visitor.get(link).text)
    send(visitor, link, "")
    assert people(center)[0].email == "new@x.example"
    same = send(visitor, url, f"{url}/address", channel="email", email="new@x.example")
    assert "write to already" in visitor.get(same.location).text
    odd = send(visitor, url, f"{url}/address", channel="sms", phone="12")
    assert odd.status_code == 422
    assert f'href="{url}?lang=de"' in odd.text  # not the address that only takes a POST
    assert field_flaw(odd.text, "phone")


def test_links_that_went_to_an_address_that_was_left_open_nothing(
    visitor: FlaskClient, center: Center, freezer: FrozenDateTimeFactory
) -> None:
    with center.database.transaction() as session:
        person = a_subscriber(session, email=ANNA)
    old = path_of(manage_url(center.house, person.id))
    send(visitor, old, f"{old}/address", channel="email", email="new@x.example")
    freezer.tick(60)
    send(visitor, f"/c/{token_in(sent(center)[0])}", "")
    assert visitor.get(old).status_code == 404
    assert visitor.post(f"{old}/erase").status_code == 404
    assert people(center)[0].email == "new@x.example"
    new = path_of(manage_url(center.house, person.id))
    assert "new@x.example" in text_of(visitor.get(new).text)


def test_moving_to_text_messages_asks_for_the_code(visitor: FlaskClient, center: Center) -> None:
    with center.database.transaction() as session:
        person = a_subscriber(session, email=ANNA)
    url = path_of(manage_url(center.house, person.id))
    page = send(visitor, url, f"{url}/address", channel="sms", phone=PHONE).location
    done = send(visitor, page, page, code=code_in(sent(center)[0]))
    assert done.status_code == 303
    assert people(center)[0].channel is Channel.SMS


def test_looking_at_the_unsubscribe_link_does_nothing_pressing_the_button_does(
    visitor: FlaskClient, center: Center
) -> None:
    with center.database.transaction() as session:
        person = olivia(session)
    url = path_of(unsubscribe_url(center.house, person.id))
    page = visitor.get(url)
    assert "o'brien+payout@example.com" in text_of(page.text)
    assert people(center)[0].state is SubscriberState.CONFIRMED
    answer = visitor.post(url, data=Browser.form_in(page.text, ""))
    assert answer.status_code == 200
    assert "You are unsubscribed" in answer.text
    assert people(center)[0].state is SubscriberState.UNSUBSCRIBED
    assert "You are unsubscribed" in visitor.get(url).text


def test_a_mail_programs_one_click_needs_no_cookie_no_token_and_may_be_repeated(
    app: Flask, center: Center
) -> None:
    """RFC 8058 §3.1 and §3.2."""
    with center.database.transaction() as session:
        person = olivia(session)
    url = path_of(unsubscribe_url(center.house, person.id))
    for _ in range(30):  # a program that is told to try again must never be turned away
        answer = app.test_client(use_cookies=False).post(url, data={"List-Unsubscribe": "One-Click"})
        assert answer.status_code == 200
    assert people(center)[0].state is SubscriberState.UNSUBSCRIBED
    assert [message.kind for message in sent(center)] == [MessageKind.GOODBYE]


def test_leaving_and_being_forgotten_from_the_settings(visitor: FlaskClient, center: Center) -> None:
    with center.database.transaction() as session:
        person = a_subscriber(session, email=ANNA, name="Anna Berg")
    url = path_of(manage_url(center.house, person.id))
    left = send(visitor, url, f"{url}/leave")
    assert "You are unsubscribed" in visitor.get(left.location).text
    gone = send(visitor, url, f"{url}/erase")
    assert "Everything is deleted" in visitor.get(gone.location).text
    assert people(center)[0].email is None
    assert visitor.get(url).status_code == 404
    one_click = path_of(unsubscribe_url(center.house, person.id))
    assert visitor.post(one_click).status_code == 200
    assert visitor.get(one_click).status_code == 200


def test_sms_is_offered_only_where_somebody_carries_it(center: Center) -> None:
    visitor = create_app(center=center).test_client()
    page = visitor.get("/subscribe", base_url="https://localhost")
    assert 'name="phone"' not in page.text
    values = {**Browser.form_in(page.text, "/subscribe"), "channel": "sms", "phone": PHONE}
    answer = visitor.post(
        "/subscribe", data=values, base_url="https://localhost", headers={"Referer": "https://localhost/"}
    )
    assert answer.status_code == 422
    assert people(center) == []


_CODE = re.compile(
    r'"((?:email|phone|name|language|zone|components|form|channel|address|code|confirm|second)\.[a-z_]+)"'
)
_STAFF_ONLY = {"channel.no_address", "phone.unconfirmed"}  # an import's; told in English


def codes_in_the_source() -> set[str]:
    found: set[str] = set()
    for path in Path(incident_center.audience.__path__[0]).glob("*.py"):
        text = path.read_text(encoding="utf-8")
        found.update(_CODE.findall(text))
        for field, code in re.findall(r'_no\("(email|phone)", "([a-z_]+)"', text):
            found.add(f"{field}.{code}")
        if path.name == "names.py":
            found.update(f"name.{code}" for code in re.findall(r'_no\("([a-z_]+)"', text))
    return found - _STAFF_ONLY


@pytest.mark.one_database
def test_every_flaw_that_a_customer_can_meet_has_words_in_every_language(center: Center) -> None:
    codes = codes_in_the_source()
    assert {"email.several", "phone.premium", "name.link", "confirm.too_many", "zone.unknown"} <= codes
    assert "second.not_subscribed" in codes
    said = center.house.catalogue
    for code in sorted(codes):
        key = f"subscriber.errors.{code.replace('.', '_')}"
        words = {language: said.say(language, key) for language in center.house.languages}
        assert len(set(words.values())) == len(words), code
