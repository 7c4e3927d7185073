"""Enrolling, confirming, changing and erasing customers, and what they text to us."""

import re
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from incident_center import clock
from incident_center.db import Database
from incident_center.models import Delivery, Message, Subscriber, Suppression
from incident_center.states import MessageKind
from tests.api.door import Door, fields, problem
from tests.builders import a_subscriber, mai

OLIVIA = {
    "channel": "email",
    "address": "o'brien+payout@example.com",
    "language": "en",
    "time_zone": "Europe/London",
    "name": "Olivia O'Brien",
}
MAI = {"channel": "sms", "address": "+1 212-555-0123", "language": "en", "time_zone": "America/New_York"}


def code_of(database: Database) -> str:
    """The code of the latest text message."""
    with database.reading() as session:
        wanted = select(Message.text).where(Message.kind == MessageKind.CONFIRM).order_by(Message.id.desc())
        found = re.search(r"\b\d{6}\b", session.scalar(wanted.limit(1)) or "")
    assert found
    return found[0]


def other_than(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


def test_enrolling_asks_the_customer_first(agent: Door, database: Database) -> None:
    answer = agent.post("/subscribers", OLIVIA)
    assert answer.status_code == 201, answer.json
    assert answer.json["address"] == "o'brien+payout@example.com"
    assert (answer.json["state"], answer.json["confirmation_open"]) == ("pending", True)
    assert answer.json["components"] is None
    assert answer.headers["Location"].endswith(f"/api/v1/subscribers/{answer.json['id']}")
    assert agent.get(f"/subscribers/{answer.json['id']}").json == answer.json
    with database.reading() as session:
        [message] = session.scalars(select(Message))
        assert (message.kind, message.address) == (MessageKind.CONFIRM, "o'brien+payout@example.com")


def test_everything_that_is_wrong_is_told_by_the_api_s_own_names(agent: Door) -> None:
    body = OLIVIA | {"address": "nobody", "time_zone": "Mars/Olympus", "language": "fr", "components": [99]}
    told = fields(agent.post("/subscribers", body))
    assert set(told) == {"address", "time_zone", "language", "components"}
    assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in told.values())


@pytest.mark.parametrize(
    "address", ["+4915112345678", "0900 1234567", "12345", "a@b", "a@example.com,b@example.com"]
)
def test_what_cannot_be_written_to_is_refused(agent: Door, address: str) -> None:
    channel = "sms" if "@" not in address else "email"
    answer = agent.post("/subscribers", OLIVIA | {"channel": channel, "address": address})
    if address == "+4915112345678":
        assert answer.status_code == 201
    else:
        assert set(fields(answer)) == {"address"}


def test_a_caller_is_confirmed_by_the_code_that_they_read_out(
    agent: Door, first: dict[str, Any], database: Database
) -> None:
    enrolled = agent.post("/subscribers", MAI).json
    path = f"/subscribers/{enrolled['id']}"
    code = code_of(database)
    assert set(fields(agent.post(f"{path}/confirm", {"code": other_than(code)}))) == {"code"}
    answer = agent.post(f"{path}/confirm", {"code": code})
    assert answer.status_code == 200, answer.json
    assert (answer.json["state"], answer.json["confirmation_open"]) == ("confirmed", False)
    with database.reading() as session:  # the current status goes to them at once
        queued = select(Delivery.update_id).where(Delivery.subscriber_id == enrolled["id"])
        assert session.scalars(queued).all() == [first["id"]]


def test_wrong_codes_are_counted_although_they_are_refused(agent: Door, database: Database) -> None:
    path = f"/subscribers/{agent.post('/subscribers', MAI).json['id']}/confirm"
    code = code_of(database)
    for _ in range(5):
        problem(agent.post(path, {"code": other_than(code)}), 422)
    assert "often" in fields(agent.post(path, {"code": code}))["code"]


def test_a_confirmation_sent_twice_by_one_key_is_answered_twice(agent: Door, database: Database) -> None:
    path = f"/subscribers/{agent.post('/subscribers', MAI).json['id']}/confirm"
    body = {"code": code_of(database)}
    once, again = (agent.post(path, body, Idempotency_Key="c-1") for _ in range(2))
    assert (once.status_code, again.status_code) == (200, 200)
    assert once.json == again.json


def test_there_is_no_code_for_an_e_mail_address(agent: Door) -> None:
    enrolled = agent.post("/subscribers", OLIVIA).json
    problem(agent.post(f"/subscribers/{enrolled['id']}/confirm", {"code": "123456"}), 404)


def test_changing_leaves_alone_what_is_not_named(agent: Door) -> None:
    enrolled = agent.post("/subscribers", OLIVIA).json
    path = f"/subscribers/{enrolled['id']}"
    told = agent.patch(path, {"language": "de", "components": [1]}).json
    assert told == enrolled | {"language": "de", "components": [1]}
    assert agent.patch(path, {}).json == told
    told = agent.patch(path, {"components": None, "name": None, "form": "ms"}).json
    assert (told["components"], told["name"], told["form"]) == (None, None, "ms")
    assert set(fields(agent.patch(path, {"language": None, "time_zone": None}))) == {"language", "time_zone"}
    assert set(fields(agent.patch(path, {"channel": "sms"}))) == {"address"}
    assert set(fields(agent.patch(path, {"components": []}))) == {"components"}


def test_a_new_address_counts_once_its_owner_has_said_yes(agent: Door, database: Database) -> None:
    with database.transaction() as session:
        person = mai(session).id
    told = agent.patch(f"/subscribers/{person}", {"address": "+1 212-555-0199"}).json
    assert (told["address"], told["confirmation_open"]) == ("+12125550123", True)
    answer = agent.post(f"/subscribers/{person}/confirm", {"code": code_of(database)})
    assert answer.json["address"] == "+12125550199"


def test_a_second_address_is_asked_told_once_confirmed_and_taken_away(
    agent: Door, database: Database
) -> None:
    enrolled = agent.post("/subscribers", OLIVIA | {"fallback": "+44 7400 123456"}).json
    assert (enrolled["channel"], enrolled["fallback"], enrolled["state"]) == ("email", None, "pending")
    path = f"/subscribers/{enrolled['id']}"
    told = agent.post(f"{path}/confirm", {"code": code_of(database)}).json
    assert (told["fallback"], told["state"]) == ("+447400123456", "pending")
    assert agent.get(path).json == told
    assert agent.patch(path, {"language": "de"}).json["fallback"] == "+447400123456"
    told = agent.patch(path, {"fallback": "+1 212-555-0199"}).json
    assert (told["fallback"], told["confirmation_open"]) == ("+447400123456", True)
    assert agent.post(f"{path}/confirm", {"code": code_of(database)}).json["fallback"] == "+12125550199"
    assert agent.patch(path, {"fallback": None}).json["fallback"] is None


@pytest.mark.parametrize("fallback", ["", "olivia@elsewhere.example", "0900 1234567"])
def test_a_second_address_that_cannot_be_one_is_refused_by_its_own_name(
    agent: Door, database: Database, fallback: str
) -> None:
    assert set(fields(agent.post("/subscribers", OLIVIA | {"fallback": fallback}))) == {"fallback"}
    with database.reading() as session:
        assert session.scalars(select(Subscriber)).all() == [], "an enrolment that is refused leaves nothing"


def test_erasing_leaves_nothing_to_read(agent: Door, database: Database) -> None:
    enrolled = agent.post("/subscribers", OLIVIA).json
    path = f"/subscribers/{enrolled['id']}"
    answer = agent.delete(path)
    assert (answer.status_code, answer.data) == (204, b"")
    problem(agent.get(path), 404)
    problem(agent.delete(path), 404)
    problem(agent.patch(path, {"language": "de"}), 404)
    with database.reading() as session:
        [row] = session.scalars(select(Subscriber))
        assert (row.email, row.email_key, row.name) == (None, None, None)


def text_in(door: Door, text: str, sender: str = "+12125550123") -> Any:
    answer = door.post("/inbound/sms", {"from": sender, "text": text})
    assert answer.status_code == 200, answer.json
    return answer.json


@pytest.mark.parametrize("text", ["STOP", " stop. ", "Stopp!", "abmelden", "UNSUBSCRIBE", "ende"])
def test_stop_in_either_language_ends_sms(gateway: Door, database: Database, text: str) -> None:
    with database.transaction() as session:
        person = mai(session).id
    assert text_in(gateway, text)["action"] == "stop"
    with database.reading() as session:
        assert session.get_one(Subscriber, person).state == "unsubscribed"
        assert session.scalar(select(func.count()).select_from(Suppression)) == 1


@pytest.mark.parametrize("sender", ["12125550123", "0012125550123", "+1 (212) 555-0123"])
def test_stop_is_heard_however_the_gateway_writes_the_number(
    gateway: Door, database: Database, sender: str
) -> None:
    with database.transaction() as session:
        person = mai(session).id
    assert text_in(gateway, "STOP", sender)["action"] == "stop"
    with database.reading() as session:
        assert session.get_one(Subscriber, person).state == "unsubscribed"


def test_stop_is_heard_from_a_number_that_our_tables_do_not_know(gateway: Door, database: Database) -> None:
    with database.transaction() as session:
        person = a_subscriber(session, phone="+447700900123").id  # taken when the tables were others
    assert text_in(gateway, "STOP", "+447700900123")["action"] == "stop"
    with database.reading() as session:
        assert session.get_one(Subscriber, person).state == "unsubscribed"


@pytest.mark.parametrize("sender", ["12345", "+49", "+4915112345678,+4915112345679", "", "0900 123"])
def test_what_is_no_number_at_all_is_refused(gateway: Door, sender: str) -> None:
    assert set(fields(gateway.post("/inbound/sms", {"from": sender, "text": "STOP"}))) == {"from"}


def test_stop_from_a_stranger_is_remembered(gateway: Door, database: Database) -> None:
    assert text_in(gateway, "STOP", "+4915112345678")["action"] == "stop"
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Suppression)) == 1


def test_start_brings_back_who_had_stopped_with_the_current_status(
    gateway: Door, first: dict[str, Any], database: Database
) -> None:
    with database.transaction() as session:
        person = mai(session).id
    text_in(gateway, "STOP")
    assert text_in(gateway, "Start")["action"] == "start"
    with database.reading() as session:
        assert session.get_one(Subscriber, person).state == "confirmed"
        assert session.scalar(select(func.count()).select_from(Suppression)) == 0
        assert session.scalars(select(Delivery.update_id)).all() == [first["id"]]


def test_start_from_a_stranger_tells_where_to_sign_up(gateway: Door, database: Database) -> None:
    told = text_in(gateway, "ANMELDEN", "+4915112345678")
    assert told["action"] == "start"
    assert "https://status.example.com" in told["reply"]
    assert "Nummer" in told["reply"], "in the word's own language"
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Subscriber)) == 0


@pytest.mark.parametrize(
    ("text", "action"),
    [("HELP", "help"), ("Hilfe", "help"), ("end of June?", "none"), ("Where is my money", "none")],
)
def test_other_texts_change_nothing_and_get_help(
    gateway: Door, database: Database, text: str, action: str
) -> None:
    with database.transaction() as session:
        person = mai(session).id
    told = text_in(gateway, text)
    assert told["action"] == action
    assert "STOP" in told["reply"]
    with database.reading() as session:
        assert session.get_one(Subscriber, person).state == "confirmed"


def test_what_we_do_not_know_is_answered_once_a_day(
    gateway: Door, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another robot would answer our answer, and we its answer, at so much a text."""
    assert text_in(gateway, "Danke")["reply"]
    assert text_in(gateway, "I am on holiday")["reply"] is None
    assert text_in(gateway, "Danke", "+4915112345678")["reply"], "somebody else"
    assert text_in(gateway, "HELP")["reply"], "who asks is answered"
    tomorrow = clock.now() + timedelta(days=1)
    monkeypatch.setattr(clock, "now", lambda: tomorrow)
    assert text_in(gateway, "Danke")["reply"]


def test_there_is_no_reply_beside_a_goodbye(gateway: Door, database: Database) -> None:
    with database.transaction() as session:
        mai(session)
    assert text_in(gateway, "STOP")["reply"] is None
    assert text_in(gateway, "STOP")["reply"], "no second goodbye is sent"


def test_a_text_from_no_phone_is_refused(gateway: Door) -> None:
    answer = gateway.post("/inbound/sms", {"from": "INFO", "text": "STOP"})
    assert set(fields(answer)) == {"from"}
