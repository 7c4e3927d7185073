"""What e-mail providers post: verified, applied once, garbage refused politely."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from incident_center.center import Center
from incident_center.db import Database
from incident_center.delivery.sns import Fetch, Sns, fetch, is_amazon
from incident_center.delivery.transports.references import letter_reference
from incident_center.integrations.receipts.ses import EXTENSION
from incident_center.logs import configure_logging
from incident_center.models import Delivery, Subscriber
from incident_center.states import DeliveryState, SubscriberState
from tests.builders import NOW
from tests.receipts.cast import letter_of, reasons, the_row
from tests.receipts.conftest import Amazon
from tests.receipts.senders import (
    CERTIFICATE_URL,
    mailgun,
    mailgun_event,
    postmark,
    postmark_event,
    ses_event,
    sns,
    sns_subscription,
)

pytestmark = pytest.mark.one_database
S = DeliveryState


def row_now(database: Database) -> Delivery:
    with database.reading() as session:
        return the_row(session)


def noting(asked: list[str], answer: bytes | None) -> Fetch:
    """A network that notes which address is asked, and answers the same to each."""

    def fetch(url: str) -> bytes | None:
        asked.append(url)
        return answer

    return fetch


def told(database: Database) -> tuple[DeliveryState, list[str]]:
    with database.reading() as session:
        return the_row(session).state, reasons(session)


@pytest.mark.parametrize(
    ("kind", "parts", "state", "reason"),
    [
        ("Delivery", {}, S.DELIVERED, []),
        ("Bounce", {}, S.BOUNCED, ["bounce"]),
        ("Bounce", {"Type": "BadEmailAddress", "TypeCode": 100000}, S.BOUNCED, ["bounce"]),
        ("Bounce", {"Type": "SoftBounce", "TypeCode": 4096}, S.BOUNCED, []),
        ("Bounce", {"Type": "Blocked", "TypeCode": 100006}, S.BOUNCED, []),
        ("Bounce", {"Type": "Transient", "TypeCode": 2}, S.ACCEPTED, []),
        ("Bounce", {"Type": "SpamComplaint", "TypeCode": 100001}, S.COMPLAINED, ["complaint"]),
        ("SpamComplaint", {}, S.COMPLAINED, ["complaint"]),
        ("SubscriptionChange", {}, S.ACCEPTED, ["unsubscribed"]),
        ("SubscriptionChange", {"SuppressionReason": "HardBounce"}, S.BOUNCED, ["bounce"]),
        ("SubscriptionChange", {"SuppressSending": False}, S.ACCEPTED, []),
        ("Bounce", {"Email": "somebody.else@example.com"}, S.BOUNCED, []),
        ("Open", {}, S.ACCEPTED, []),
    ],
)
def test_postmarks_events(
    hook: FlaskClient,
    letter: Delivery,
    database: Database,
    kind: str,
    parts: dict[str, Any],
    state: DeliveryState,
    reason: list[str],
) -> None:
    event = postmark_event(kind, letter_of(letter), **parts)
    for _ in range(2):
        assert postmark(hook, event).status_code == 204
    assert told(database) == (state, reason)


def test_postmarks_login_is_looked_at(hook: FlaskClient, letter: Delivery, database: Database) -> None:
    event = postmark_event("SpamComplaint", letter_of(letter))
    for login in ("postmark:another-password", ":", ""):
        answer = postmark(hook, event, login)
        assert (answer.status_code, answer.data) == (401, b"")
    for header in ("", "Basic", "Basic ???", "Bearer abc"):
        assert hook.post("/hooks/postmark", json=event, headers={"Authorization": header}).status_code == 401
    assert told(database) == (S.ACCEPTED, [])


GONE = {
    "delivery-status": {"code": 550, "message": "5.1.1 no such user", "description": "", "attempt-no": 1},
    "severity": "permanent",
    "reason": "bounce",
}


@pytest.mark.parametrize(
    ("event", "parts", "state", "reason"),
    [
        ("delivered", {"delivery-status": {"code": 250, "message": "OK"}}, S.DELIVERED, []),
        ("failed", GONE, S.BOUNCED, ["bounce"]),
        ("failed", GONE | {"delivery-status": {"code": 550, "message": "5.7.1 policy"}}, S.BOUNCED, []),
        ("failed", GONE | {"severity": "temporary", "reason": "generic"}, S.ACCEPTED, []),
        ("failed", {"severity": "permanent", "reason": "suppress-bounce"}, S.BOUNCED, ["bounce"]),
        ("failed", {"severity": "permanent", "reason": "suppress-unsubscribe"}, S.BOUNCED, ["unsubscribed"]),
        ("complained", {}, S.COMPLAINED, ["complaint"]),
        ("unsubscribed", {}, S.ACCEPTED, ["unsubscribed"]),
        ("delivered", {"user-variables": {}}, S.DELIVERED, []),
        ("opened", {}, S.ACCEPTED, []),
    ],
)
def test_mailguns_events(
    hook: FlaskClient,
    letter: Delivery,
    database: Database,
    event: str,
    parts: dict[str, Any],
    state: DeliveryState,
    reason: list[str],
) -> None:
    said = mailgun_event(event, letter_of(letter), **parts)
    for _ in range(2):
        assert mailgun(hook, said).status_code == 204
    assert told(database) == (state, reason)


def test_mailguns_token_counts_once(hook: FlaskClient, letter: Delivery, database: Database) -> None:
    """The signature says nothing about the event: whoever has seen one must not sign their own with it."""
    assert mailgun(hook, mailgun_event("opened", letter_of(letter))).status_code == 204
    forged = mailgun_event("complained", letter_of(letter), id="forged")
    assert mailgun(hook, forged).status_code == 204
    assert told(database) == (S.ACCEPTED, [])
    assert mailgun(hook, forged, token="another-token").status_code == 204
    assert told(database) == (S.COMPLAINED, ["complaint"])


def test_mailguns_signature_is_looked_at(hook: FlaskClient, letter: Delivery, database: Database) -> None:
    event = mailgun_event("complained", letter_of(letter))
    assert mailgun(hook, event, key="key-of-somebody-else").status_code == 403
    assert mailgun(hook, event, token="").status_code == 403
    assert mailgun(hook, event, at=NOW - timedelta(hours=13)).status_code == 403
    assert mailgun(hook, event, at=NOW + timedelta(hours=1)).status_code == 403
    assert told(database) == (S.ACCEPTED, [])
    assert mailgun(hook, event, at=NOW - timedelta(hours=8)).status_code == 204
    assert told(database) == (S.COMPLAINED, ["complaint"])


TRANSIENT = {
    "bounce": {
        "bounceType": "Transient",
        "bounceSubType": "MailboxFull",
        "bouncedRecipients": [{"emailAddress": "o'brien+payout@example.com"}],
        "timestamp": "2026-11-20T12:57:07.237Z",
        "feedbackId": "1",
    }
}
NOT_SPAM = {
    "complaint": {
        "complaintFeedbackType": "not-spam",
        "complainedRecipients": [{"emailAddress": "o'brien+payout@example.com"}],
    }
}


@pytest.mark.parametrize(
    ("kind", "parts", "state", "reason"),
    [
        ("Bounce", {}, S.BOUNCED, ["bounce"]),
        ("Bounce", TRANSIENT, S.BOUNCED, []),
        ("Complaint", {}, S.COMPLAINED, ["complaint"]),
        ("Complaint", NOT_SPAM, S.ACCEPTED, []),
        ("Delivery", {}, S.DELIVERED, []),
        ("DeliveryDelay", {}, S.ACCEPTED, []),
        ("Reject", {"reject": {"reason": "Bad content"}}, S.BOUNCED, []),
        ("Click", {}, S.ACCEPTED, []),
    ],
)
@pytest.mark.parametrize("form", ["notificationType", "eventType"])
def test_amazons_events_in_both_formats(
    hook: FlaskClient,
    letter: Delivery,
    database: Database,
    amazon: Amazon,
    kind: str,
    parts: dict[str, Any],
    state: DeliveryState,
    reason: list[str],
    form: str,
) -> None:
    event = ses_event(kind, letter_of(letter), key=form, **parts)
    if form == "eventType":  # event publishing gives tags and may leave the headers out
        event["mail"]["tags"] = {
            "letter": [letter_reference(letter_of(letter))],
            "ses:caller-identity": ["x"],
        }
        del event["mail"]["headers"], event["mail"]["commonHeaders"]
    version = "1" if form == "notificationType" else "2"
    for _ in range(2):
        body = sns(amazon.key, event, version=version)
        assert hook.post("/hooks/ses", json=body, content_type="text/plain; charset=UTF-8").status_code == 204
    assert told(database) == (state, reason)
    assert amazon.fetched == [CERTIFICATE_URL], "the certificate is fetched once"


def test_an_amazon_message_with_a_subject_is_signed_with_it(
    hook: FlaskClient, letter: Delivery, database: Database, amazon: Amazon
) -> None:
    event = sns(amazon.key, ses_event("Delivery", letter_of(letter)), Subject="Amazon SES Email Event")
    assert hook.post("/hooks/ses", json=event).status_code == 204
    assert told(database) == (S.DELIVERED, [])


FORGED: list[tuple[dict[str, str], int]] = [
    ({"Message": '{"notificationType": "Complaint"}'}, 1),
    ({"Timestamp": "2026-11-20T13:00:00.000Z"}, 1),
    ({"Signature": "AAAA"}, 1),
    ({"Signature": "no base 64"}, 1),
    ({"SignatureVersion": "3"}, 0),
    ({"Type": "Gossip"}, 0),
    ({"TopicArn": "arn:aws:sns:eu-central-1:123456789012:somebody-elses"}, 0),
    ({"SigningCertURL": "https://sns.eu-central-1.amazonaws.com.evil.example/x.pem"}, 0),
    ({"SigningCertURL": "http://sns.eu-central-1.amazonaws.com/x.pem"}, 0),
    ({"SigningCertURL": "https://evil@sns.eu-central-1.amazonaws.com/x.pem"}, 0),
    ({"SigningCertURL": "https://sns.eu-central-1.amazonaws.com:8443/x.pem"}, 0),
    ({"SigningCertURL": "https://sns.eu-central-1.amazonaws.com/?Action=Publish&x=.pem"}, 0),
    ({"SigningCertURL": "https://s3.eu-central-1.amazonaws.com/bucket/x.pem"}, 0),
    ({"SigningCertURL": "https://["}, 0),
]


def test_amazons_signature_is_looked_at(
    app: Flask, hook: FlaskClient, letter: Delivery, database: Database, amazon: Amazon
) -> None:
    event = sns(amazon.key, ses_event("Bounce", letter_of(letter)))
    for parts, fetches in FORGED:
        asked: list[str] = []
        app.extensions[EXTENSION] = Sns(noting(asked, amazon.certificate))
        answer = hook.post("/hooks/ses", json=event | parts)
        assert (answer.status_code, answer.data) == (403, b""), parts
        assert len(asked) == fetches, parts
    assert told(database) == (S.ACCEPTED, [])
    assert hook.post("/hooks/ses", json=event).status_code == 204
    assert told(database) == (S.BOUNCED, ["bounce"])


def test_an_old_certificate_signs_nothing(
    hook: FlaskClient, letter: Delivery, amazon: Amazon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("incident_center.clock.now", lambda: NOW + timedelta(days=31))
    assert (
        hook.post("/hooks/ses", json=sns(amazon.key, ses_event("Bounce", letter_of(letter)))).status_code
        == 403
    )


@pytest.mark.parametrize("answer", [None, b"", b"<html>", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_no_certificate_no_trust(app: Flask, letter: Delivery, amazon: Amazon, answer: bytes | None) -> None:
    app.extensions[EXTENSION] = Sns(lambda _url: answer)
    message = sns(amazon.key, ses_event("Bounce", letter_of(letter)))
    assert app.test_client().post("/hooks/ses", json=message).status_code == 403


def test_a_subscription_of_our_topic_is_confirmed(hook: FlaskClient, amazon: Amazon) -> None:
    message = sns_subscription(amazon.key)
    assert hook.post("/hooks/ses", json=message).status_code == 204
    assert amazon.fetched == [CERTIFICATE_URL, message["SubscribeURL"]]


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ({"TopicArn": "arn:aws:sns:eu-central-1:123456789012:somebody-elses"}, 403),
        ({"SubscribeURL": "https://sns.eu-central-1.amazonaws.com.evil.example/"}, 503),
        ({"SubscribeURL": "http://169.254.169.254/latest/meta-data"}, 503),
    ],
)
def test_no_other_subscription_is_confirmed(
    hook: FlaskClient, amazon: Amazon, parts: dict[str, str], status: int
) -> None:
    assert hook.post("/hooks/ses", json=sns_subscription(amazon.key, **parts)).status_code == status
    assert amazon.fetched in ([], [CERTIFICATE_URL])


def test_only_amazons_addresses_are_asked() -> None:
    """Without a network: anything else is refused before a socket is opened."""
    assert is_amazon("https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-1.pem")
    for url in (
        "https://sns.amazonaws.com/x.pem",
        "https://sns.x.amazonaws.com\n.evil/",
        "//sns.x.amazonaws.com",
    ):
        assert fetch(url) is None


def test_a_letter_that_was_refused_for_now_and_delivered_at_last(
    hook: FlaskClient, letter: Delivery, database: Database
) -> None:
    """Late, twice, in any order, from two providers."""
    late = mailgun_event("failed", letter_of(letter), severity="temporary", reason="generic")
    assert postmark(hook, postmark_event("Delivery", letter_of(letter))).status_code == 204
    assert mailgun(hook, late).status_code == 204
    assert told(database) == (S.DELIVERED, [])
    with database.reading() as session:
        assert session.scalars(select(Subscriber.state)).one() is SubscriberState.CONFIRMED


GARBAGE = [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000]


@pytest.mark.parametrize("body", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_the_senders_fault(hook: FlaskClient, amazon: Amazon, body: bytes) -> None:
    login = "Basic cG9zdG1hcms6YS1sb25nLXBhc3N3b3JkLW9mLW91cnM="
    assert hook.post("/hooks/postmark", data=body, headers={"Authorization": login}).status_code == 400
    assert hook.post("/hooks/mailgun", data=body).status_code == 400
    assert hook.post("/hooks/ses", data=body).status_code == 400
    assert hook.post("/hooks/ses", json=sns(amazon.key, body.decode("latin-1") or " ")).status_code == 400


@pytest.mark.parametrize("odd", [None, "\x00\ud800", {"letter": ["x"]}, -1e308, "0001-01-01T00:00+14:00"])
def test_odd_values_break_nothing(
    hook: FlaskClient, letter: Delivery, database: Database, amazon: Amazon, odd: Any
) -> None:
    """Each field of each provider in turn."""
    name = letter_of(letter)
    for event in (postmark_event(kind, name) for kind in ("Delivery", "Bounce", "SubscriptionChange")):
        for field in event:
            assert postmark(hook, event | {field: odd}).status_code in {204, 400}
    said = mailgun_event("failed", name, **GONE)
    for number, field in enumerate(said):
        assert mailgun(hook, said | {field: odd}, token=f"{number}").status_code in {204, 400}
    for kind in ("Bounce", "Complaint", "Delivery"):
        whole = ses_event(kind, name)
        for field in ("mail", kind.lower()):
            assert hook.post("/hooks/ses", json=sns(amazon.key, whole | {field: odd})).status_code == 204
            for inner in whole[field]:
                event = whole | {field: whole[field] | {inner: odd}}
                assert hook.post("/hooks/ses", json=sns(amazon.key, event)).status_code == 204


@pytest.mark.parametrize("path", ["postmark", "mailgun", "ses"])
def test_a_hook_without_its_secret_is_closed(center: Center, app: Flask, path: str) -> None:
    closed = replace(center, settings=replace(center.settings, hook_secrets=()))
    app.extensions["incident_center"] = closed
    answer = app.test_client().post(f"/hooks/{path}", json={"Type": "Notification"})
    assert (answer.status_code, answer.data) == (404, b"")


def test_logs_hold_neither_addresses_nor_secrets(
    hook: FlaskClient, letter: Delivery, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging()
    try:
        postmark(hook, postmark_event("Bounce", letter_of(letter)))
        mailgun(hook, mailgun_event("failed", letter_of(letter), **GONE), key="key-of-somebody-else")
    finally:
        configure_logging(quiet=True)
    said = "".join(capsys.readouterr())
    assert "/hooks/postmark" in said
    assert "/hooks/mailgun" in said
    assert "brien" not in said
    assert letter_of(letter).strip("<>") not in said
    assert "password" not in said
