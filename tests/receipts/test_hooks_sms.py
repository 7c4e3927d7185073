"""What SMS providers post: verified, applied once, garbage refused politely."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from incident_center.center import Center
from incident_center.db import Database
from incident_center.delivery.references import receipt_reference
from incident_center.models import Delivery, Message, Receipt, Subscriber
from incident_center.states import DeliveryState, SubscriberState
from tests.builders import NOW, mai
from tests.receipts.cast import NUMBER, letter_of, reasons, the_row
from tests.receipts.senders import (
    VONAGE,
    gateway,
    twilio,
    twilio_signature,
    twilio_status,
    twilio_text,
    vonage_jwt,
    vonage_receipt,
    vonage_signed,
)

pytestmark = pytest.mark.one_database
S = DeliveryState


def row_now(database: Database) -> Delivery:
    with database.reading() as session:
        return the_row(session)


def suppressed(database: Database) -> list[str]:
    with database.reading() as session:
        return reasons(session)


def reference(center: Center, row: Delivery) -> str:
    return receipt_reference(center.settings.secret_key, letter_of(row).strip("<>"))


def test_twilio_tells_of_a_delivery_by_our_reference(
    hook: FlaskClient, sms: Delivery, center: Center, database: Database
) -> None:
    with database.transaction() as session:
        the_row(session).provider_ref = None  # its answer was lost
        the_row(session).state = S.UNKNOWN
    path = f"/hooks/twilio/{reference(center, sms)}"
    for _ in range(2):
        assert twilio(hook, path, twilio_status("delivered")).status_code == 204
    row = row_now(database)
    assert (row.state, row.provider_ref) == (S.DELIVERED, NUMBER)


@pytest.mark.parametrize(
    ("status", "code", "state", "reason"),
    [
        ("sent", "", S.ACCEPTED, []),
        ("queued", "", S.ACCEPTED, []),
        ("delivered", "", S.DELIVERED, []),
        ("undelivered", "30003", S.BOUNCED, []),
        ("undelivered", "30005", S.BOUNCED, ["bounce"]),
        ("undelivered", "30007", S.BOUNCED, []),
        ("failed", "21610", S.BOUNCED, []),
        ("a-status-of-tomorrow", "", S.ACCEPTED, []),
    ],
)
def test_twilios_codes(
    hook: FlaskClient,
    sms: Delivery,
    database: Database,
    status: str,
    code: str,
    state: DeliveryState,
    reason: list[str],
) -> None:
    assert twilio(hook, "/hooks/twilio", twilio_status(status, code)).status_code == 204
    row = row_now(database)
    assert row.state is state
    assert row.code == (f"{status} {code}" if code else None)
    assert suppressed(database) == reason


def test_twilios_statuses_may_overtake_each_other(
    hook: FlaskClient, sms: Delivery, database: Database
) -> None:
    for status in ("delivered", "sent", "queued", "delivered"):
        assert twilio(hook, "/hooks/twilio", twilio_status(status)).status_code == 204
    assert row_now(database).state is S.DELIVERED


@pytest.mark.parametrize("form", ["wrong token", "other address", "other field", "nothing", "not ascii"])
def test_twilios_signature_is_looked_at(
    hook: FlaskClient, sms: Delivery, database: Database, form: str
) -> None:
    fields = twilio_status("delivered")
    made = {
        "wrong token": twilio_signature("/hooks/twilio", fields, token="f" * 32),
        "other address": twilio_signature("/hooks/twilio", fields, base="http://10.0.0.3:8000"),
        "other field": twilio_signature("/hooks/twilio", fields | {"MessageStatus": "sent"}),
        "nothing": "",
        "not ascii": "ä",
    }[form]
    answer = twilio(hook, "/hooks/twilio", fields, made)
    assert (answer.status_code, answer.data) == (403, b"")
    assert row_now(database).state is S.ACCEPTED


def test_twilio_may_sign_the_address_with_its_port(
    hook: FlaskClient, sms: Delivery, database: Database
) -> None:
    fields = twilio_status("delivered")
    made = twilio_signature("/hooks/twilio", fields, base="https://status.example.com:443")
    assert twilio(hook, "/hooks/twilio", fields, made).status_code == 204
    assert row_now(database).state is S.DELIVERED


def test_a_reference_of_somebody_elses_making_does_no_harm(
    hook: FlaskClient, sms: Delivery, database: Database
) -> None:
    answer = twilio(hook, "/hooks/twilio/update_2e1_2e1_2e1_40x.sig", twilio_status("delivered"))
    assert answer.status_code == 204
    assert row_now(database).state is S.DELIVERED, "by the number that Twilio gave"


def said_in_twiml(answer: Any) -> str:
    assert answer.status_code == 200
    assert answer.content_type == "text/xml; charset=utf-8"
    text: str = answer.get_data(as_text=True)
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?><Response>')
    return text.partition("<Response>")[2].removesuffix("</Response>")


def test_stop_by_twilio_is_heard_once_and_answered_once(hook: FlaskClient, database: Database) -> None:
    with database.transaction() as session:
        person = mai(session).id
    assert said_in_twiml(twilio(hook, "/hooks/twilio/inbound", twilio_text("Stop"))) == ""
    with database.transaction() as session:
        row = session.get_one(Subscriber, person)
        assert row.state is SubscriberState.UNSUBSCRIBED
        assert session.scalars(select(Message.kind)).all() == ["goodbye"]
        row.state = SubscriberState.CONFIRMED  # she has come back since
    twilio(hook, "/hooks/twilio/inbound", twilio_text("Stop"))
    with database.reading() as session:
        assert session.get_one(Subscriber, person).state is SubscriberState.CONFIRMED


def test_help_by_twilio_is_answered_in_twiml(hook: FlaskClient, database: Database) -> None:
    told = said_in_twiml(twilio(hook, "/hooks/twilio/inbound", twilio_text("HELP")))
    assert told.startswith("<Message>Example Pay: ")
    assert "STOP" in told
    assert said_in_twiml(twilio(hook, "/hooks/twilio/inbound", twilio_text("HELP", "12345"))) == ""


def test_what_twilio_has_answered_itself_is_not_answered_again(hook: FlaskClient, database: Database) -> None:
    form = twilio_text("Bitte keine SMS mehr", "+4915112345678", OptOutType="STOP")
    assert said_in_twiml(twilio(hook, "/hooks/twilio/inbound", form)) == ""
    assert suppressed(database) == ["stop"]


@pytest.mark.parametrize(
    ("status", "code", "state", "reason"),
    [
        ("accepted", "0", S.ACCEPTED, []),
        ("buffered", "0", S.ACCEPTED, []),
        ("delivered", "0", S.DELIVERED, []),
        ("failed", "2", S.BOUNCED, []),
        ("failed", "3", S.BOUNCED, ["bounce"]),
        ("rejected", "6", S.BOUNCED, []),
        ("expired", "1", S.BOUNCED, []),
        ("unknown", "1", S.ACCEPTED, []),
    ],
)
def test_vonages_receipts(
    hook: FlaskClient,
    sms: Delivery,
    database: Database,
    status: str,
    code: str,
    state: DeliveryState,
    reason: list[str],
) -> None:
    for _ in range(2):
        answer = hook.post("/hooks/vonage", json=vonage_signed(vonage_receipt(status, code)))
        assert answer.status_code == 204
    assert row_now(database).state is state
    assert suppressed(database) == reason


def test_vonages_parts_of_a_long_text_have_one_reference(
    hook: FlaskClient, sms: Delivery, center: Center, database: Database
) -> None:
    path = f"/hooks/vonage/{reference(center, sms)}"
    for part in ("0C00000041-1", "0C00000041-2"):
        form = vonage_signed(vonage_receipt("delivered", messageId=part), kind="sha512")
        assert hook.post(path, data=form).status_code == 204
    with database.reading() as session:
        assert [row.update_id for row in session.scalars(select(Receipt))] == [sms.update_id] * 2
    assert row_now(database).state is S.DELIVERED


@pytest.mark.parametrize("forged", ["secret", "status", "md5", "none"])
def test_vonages_signature_is_looked_at(
    hook: FlaskClient, sms: Delivery, database: Database, forged: str
) -> None:
    fields = vonage_receipt("failed", "3")
    made = {
        "secret": vonage_signed(fields, secret="another-secret"),
        "status": vonage_signed(fields) | {"status": "delivered"},
        "md5": vonage_signed(fields, kind="md5"),
        "none": fields,
    }[forged]
    assert hook.post("/hooks/vonage", json=made).status_code == 403
    assert row_now(database).state is S.ACCEPTED


MESSAGES_STATUS = (
    b'{"message_uuid":"%s","to":"12125550123","from":"Example Pay","timestamp":"2026-11-20T12:59:58Z",'
    b'"status":"delivered","channel":"sms","client_ref":"x"}' % NUMBER.encode()
)


def test_vonages_messages_api_signs_with_a_token(
    hook: FlaskClient, sms: Delivery, database: Database
) -> None:
    headers = {"Authorization": vonage_jwt(MESSAGES_STATUS), "Content-Type": "application/json"}
    assert hook.post("/hooks/vonage", data=MESSAGES_STATUS, headers=headers).status_code == 204
    assert row_now(database).state is S.DELIVERED


@pytest.mark.parametrize(
    "token",
    [
        vonage_jwt(MESSAGES_STATUS, secret="another-secret"),
        vonage_jwt(MESSAGES_STATUS, payload_hash="0" * 64),
        vonage_jwt(MESSAGES_STATUS, head={"alg": "none", "typ": "JWT"}),
        vonage_jwt(MESSAGES_STATUS).rpartition(".")[0] + ".",
        "Bearer ",
        "Bearer a.b.c",
        "Bearer ä.ö.ü",
    ],
)
def test_vonages_token_is_looked_at(hook: FlaskClient, sms: Delivery, database: Database, token: str) -> None:
    headers = {"Authorization": token, "Content-Type": "application/json"}
    assert hook.post("/hooks/vonage", data=MESSAGES_STATUS, headers=headers).status_code == 403
    assert row_now(database).state is S.ACCEPTED


def test_stop_by_vonage_is_heard(hook: FlaskClient, database: Database) -> None:
    with database.transaction() as session:
        person = mai(session).id
    text = {
        "msisdn": "12125550123",
        "to": "4915000000000",
        "messageId": "0B0000",
        "text": "STOP",
        "type": "text",
    }
    assert hook.post("/hooks/vonage/inbound", data=vonage_signed(text)).status_code == 204
    with database.reading() as session:
        assert session.get_one(Subscriber, person).state is SubscriberState.UNSUBSCRIBED


def text_by_vonage(hook: FlaskClient, words: str, number: int = 1) -> None:
    text = {"msisdn": "12125550123", "to": "491", "messageId": f"0B{number}", "text": words, "type": "text"}
    assert hook.post("/hooks/vonage/inbound", data=vonage_signed(text)).status_code == 204


def messages(database: Database) -> list[tuple[str, str | None]]:
    with database.reading() as session:
        return [(row.kind.value, row.text) for row in session.scalars(select(Message).order_by(Message.id))]


def test_vonages_texts_are_answered_by_a_message_once_a_day(
    hook: FlaskClient, database: Database, hands: Callable[[timedelta], None]
) -> None:
    for number, words in enumerate(["Hilfe", "Hilfe", "STOP", "stop", "Danke", "What?"]):
        text_by_vonage(hook, words, number)
    kinds, texts = zip(*messages(database), strict=True)
    assert kinds == ("reply",) * 3
    assert "Auszahlungen" in (texts[0] or ""), "in the word's own language"
    assert "no more text messages" in (texts[1] or "")
    hands(timedelta(days=1))
    text_by_vonage(hook, "Hilfe", 9)
    assert len(messages(database)) == 4
    with database.reading() as session:
        row = session.scalars(select(Message)).first()
        assert row is not None
        assert (row.address, row.expires_at) == ("+12125550123", NOW + timedelta(hours=1))


def test_vonages_stop_is_answered_by_the_goodbye_alone(hook: FlaskClient, database: Database) -> None:
    with database.transaction() as session:
        mai(session)
    text_by_vonage(hook, "STOP")
    assert [kind for kind, _ in messages(database)] == ["goodbye"]


def test_twilios_robot_is_answered_once(hook: FlaskClient, database: Database) -> None:
    assert said_in_twiml(twilio(hook, "/hooks/twilio/inbound", twilio_text("I am away")))
    assert said_in_twiml(twilio(hook, "/hooks/twilio/inbound", twilio_text("I am still away"))) == ""


def test_any_gateway_may_tell_us_in_our_own_words(
    hook: FlaskClient, sms: Delivery, center: Center, database: Database
) -> None:
    events = [
        {"id": "e-1", "reference": reference(center, sms), "status": "delivered", "at": NOW.isoformat()},
        {"id": "e-2", "provider_ref": NUMBER, "status": "failed", "permanent": True, "code": "404"},
        {"id": "e-3", "provider_ref": "unheard-of", "status": "delivered"},
    ]
    texts = [{"from": "+12125550123", "text": "Help"}, {"from": "INFO", "text": "STOP"}]
    answer = gateway(hook, {"events": events, "texts": texts})
    assert answer.status_code == 200
    [reply] = answer.json["replies"]
    assert reply["to"] == "+12125550123"
    assert "STOP" in reply["text"]
    row = row_now(database)
    assert (row.state, row.code) == (S.BOUNCED, "404")
    assert suppressed(database) == ["bounce"]
    assert gateway(hook, {"events": events, "texts": texts}).json == {"replies": []}, (
        "a repetition is harmless"
    )


def test_a_gateways_stamp_grows_old(
    hook: FlaskClient, sms: Delivery, hands: Callable[[timedelta], None], database: Database
) -> None:
    body = {"events": [{"id": "1", "provider_ref": NUMBER, "status": "delivered"}]}
    for minutes in (-6, 6):
        assert gateway(hook, body, at=NOW + timedelta(minutes=minutes)).status_code == 403
    assert gateway(hook, body, secret="not-the-secret-at-all").status_code == 403
    assert row_now(database).state is S.ACCEPTED
    assert gateway(hook, body, at=NOW - timedelta(minutes=4)).status_code == 200
    assert row_now(database).state is S.DELIVERED


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"events": [{"status": "delivered"}]}',
        b'{"events": [{"id": "1", "status": "dancing"}]}',
        b'{"events": [7, null]}',
    ],
)
def test_garbage_is_the_senders_fault(hook: FlaskClient, database: Database, body: bytes) -> None:
    assert gateway(hook, body).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        {"events": [{"id": "\x00", "status": "delivered", "provider_ref": "\x00\ud800"}]},
        {
            "events": [
                {"id": 1.5e308, "status": "failed", "provider_ref": {"a": 1}, "at": "9999-12-31T23:59-14:00"}
            ]
        },
        {"events": [{"id": "a", "status": "failed", "provider_ref": "9" * 5000, "at": 1e300, "code": ["x"]}]},
        {"events": "none", "texts": {"from": 1}},
        {"texts": [{"from": None, "text": None}, {"from": "+" * 300, "text": "\x00" * 5000}]},
    ],
)
def test_odd_values_break_nothing(hook: FlaskClient, database: Database, body: dict[str, Any]) -> None:
    assert gateway(hook, body).status_code == 200


def test_a_body_that_is_too_large_is_refused(hook: FlaskClient, database: Database) -> None:
    assert gateway(hook, b" " * (256 * 1024 + 1)).status_code == 413
    form = twilio_status("delivered", Body="x" * (256 * 1024))
    assert twilio(hook, "/hooks/twilio", form).status_code == 413


@pytest.mark.parametrize("path", ["twilio", "twilio/inbound", "twilio/x", "vonage", "vonage/inbound", "sms"])
def test_a_hook_without_its_secret_is_closed(center: Center, app: Flask, path: str) -> None:
    bare = replace(center, settings=replace(center.settings, sms_urls=(), hook_secrets=()))
    app.extensions["incident_center"] = bare
    answer = app.test_client().post(f"/hooks/{path}", json=vonage_signed({"a": "b"}, secret=VONAGE))
    assert (answer.status_code, answer.data) == (404, b"")
    assert app.test_client().get(f"/hooks/{path}").status_code in {404, 405}
