"""The providers: their payloads in their documented shape, and their signatures, made from the documentation and not
by our own code."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import datetime
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from flask.testing import FlaskClient

from tests.builders import NOW
from tests.receipts.cast import NUMBER, PUBLIC_URL

AUTH_TOKEN = "0123456789abcdef0123456789abcdef"
VONAGE, GATEWAY = "vonage-signature-secret-0001", "gateway-secret-of-32-characters!"
POSTMARK, MAILGUN = "postmark:a-long-password-of-ours", "key-3ax6xnjp29jd6fds4gc373sgvjxteol0"
TOPIC = "arn:aws:sns:eu-central-1:123456789012:mail-events"
SECRETS = (
    ("vonage", VONAGE),
    ("sms", "an-older-secret-of-the-gateway"),
    ("sms", GATEWAY),
    ("postmark", POSTMARK),
    ("mailgun", MAILGUN),
    ("ses", TOPIC),
)
CERTIFICATE_URL = (
    "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-01d088a6f77103d0fe307c0069e40ed6.pem"
)


class Reply(Protocol):
    """What of a werkzeug TestResponse is looked at."""

    status_code: int
    data: bytes
    json: Any


def twilio_signature(path: str, form: dict[str, str], token: str = AUTH_TOKEN, base: str = PUBLIC_URL) -> str:
    said = base + path + "".join(f"{name}{form[name]}" for name in sorted(form))
    return base64.b64encode(hmac.new(token.encode(), said.encode(), hashlib.sha1).digest()).decode()


def twilio(hook: FlaskClient, path: str, form: dict[str, str], signature: str | None = None) -> Any:
    signature = twilio_signature(path, form) if signature is None else signature
    # What a proxy inside makes of the address: the signature is over the one outside.
    return hook.post(
        path, data=form, headers={"X-Twilio-Signature": signature}, base_url="http://10.0.0.3:8000"
    )


def twilio_status(status: str, code: str = "", **parts: str) -> dict[str, str]:
    form = {
        "AccountSid": "AC" + "1" * 32,
        "ApiVersion": "2010-04-01",
        "From": "+15005550006",
        "MessageSid": NUMBER,
        "MessageStatus": status,
        "SmsSid": NUMBER,
        "SmsStatus": status,
        "To": "+12125550123",
    }
    return form | ({"ErrorCode": code} if code else {}) | parts


def twilio_text(words: str, sender: str = "+12125550123", **parts: str) -> dict[str, str]:
    return {
        "AccountSid": "AC" + "1" * 32,
        "ApiVersion": "2010-04-01",
        "Body": words,
        "From": sender,
        "FromCountry": "US",
        "MessageSid": "SM" + hashlib.md5(f"{words}{sender}".encode()).hexdigest(),
        "NumMedia": "0",
        "NumSegments": "1",
        "SmsStatus": "received",
        "To": "+15005550006",
    } | parts


def vonage_receipt(status: str, code: str = "0", **parts: str) -> dict[str, str]:
    return {
        "api-key": "abcd1234",
        "client-ref": "",
        "err-code": code,
        "message-timestamp": "2026-11-20 12:59:58",
        "messageId": NUMBER,
        "msisdn": "12125550123",
        "network-code": "310004",
        "nonce": "aaaaaaaa-bbbb-cccc-dddd-0123456789ab",
        "price": "0.03330000",
        "scts": "2611201259",
        "status": status,
        "timestamp": str(int(NOW.timestamp())),
        "to": "Example Pay",
    } | parts


def vonage_signed(fields: dict[str, str], secret: str = VONAGE, kind: str = "sha256") -> dict[str, str]:
    said = "".join(f"&{name}={fields[name].replace('&', '_').replace('=', '_')}" for name in sorted(fields))
    return fields | {"sig": hmac.new(secret.encode(), said.encode(), kind).hexdigest().upper()}


def vonage_jwt(body: bytes, secret: str = VONAGE, head: dict[str, str] | None = None, **claims: Any) -> str:
    given = {
        "iat": int(NOW.timestamp()),
        "jti": "c5ba8f24-1a14-4c10-bfdf-3fbe8ce511b5",
        "iss": "Vonage",
        "payload_hash": hashlib.sha256(body).hexdigest(),
        "api_key": "a1b2c3d",
        "application_id": "aaaaaaaa-bbbb-cccc-dddd-0123456789ab",
    }
    parts = (head or {"alg": "HS256", "typ": "JWT"}, given | claims)
    said = ".".join(_url64(json.dumps(part).encode()) for part in parts)
    return f"Bearer {said}.{_url64(hmac.new(secret.encode(), said.encode(), 'sha256').digest())}"


def gateway(
    hook: FlaskClient, body: bytes | dict[str, Any], secret: str = GATEWAY, at: datetime = NOW
) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    stamp = str(int(at.timestamp()))
    made = hmac.new(secret.encode(), stamp.encode() + b"." + raw, "sha256").hexdigest()
    headers = {"X-Signature-Timestamp": stamp, "X-Signature": made, "Content-Type": "application/json"}
    return hook.post("/hooks/sms", data=raw, headers=headers)


def postmark(hook: FlaskClient, body: Any, login: str = POSTMARK) -> Any:
    told = base64.b64encode(login.encode()).decode()
    return hook.post("/hooks/postmark", json=body, headers={"Authorization": f"Basic {told}"})


def postmark_event(kind: str, letter: str, **parts: Any) -> dict[str, Any]:
    common = {
        "RecordType": kind,
        "MessageID": "883953f4-6105-42a2-a16a-77a8eac79483",
        "Metadata": {"letter": letter.strip("<>")},
        "MessageStream": "outbound",
        "ServerID": 23,
        "Tag": "",
    }
    own: dict[str, dict[str, Any]] = {
        "Delivery": {
            "Recipient": "o'brien+payout@example.com",
            "DeliveredAt": "2026-11-20T12:59:33.1234567-00:00",
            "Details": "Test delivery webhook details",
        },
        "Bounce": {
            "ID": 4323372036854775807,
            "Type": "HardBounce",
            "TypeCode": 1,
            "Name": "Hard bounce",
            "Description": "The server was unable to deliver your message (ex: unknown user, mailbox not found).",
            "Details": "smtp;550 5.1.1 The email account that you tried to reach does not exist.",
            "Email": "o'brien+payout@example.com",
            "From": "status@example.com",
            "BouncedAt": "2026-11-20T12:59:41.2735393+01:00",
            "DumpAvailable": True,
            "Inactive": True,
            "CanActivate": True,
            "Subject": "Delayed: payouts",
        },
        "SpamComplaint": {
            "ID": 42,
            "Type": "SpamComplaint",
            "TypeCode": 100001,
            "Email": "o'brien+payout@example.com",
            "BouncedAt": "2026-11-20T12:59:41Z",
        },
        "SubscriptionChange": {
            "Recipient": "o'brien+payout@example.com",
            "Origin": "Recipient",
            "SuppressSending": True,
            "SuppressionReason": "ManualSuppression",
            "ChangedAt": "2026-11-20T12:59:50Z",
        },
    }
    return common | own.get(kind, {}) | parts


def mailgun(
    hook: FlaskClient,
    event: dict[str, Any],
    *,
    token: str = "a8ce0edb2dd8301dee6c2405235584e45aa91d1e9f979f3de0",
    at: datetime = NOW,
    key: str = MAILGUN,
) -> Any:
    stamp = str(int(at.timestamp()))
    made = hmac.new(key.encode(), f"{stamp}{token}".encode(), "sha256").hexdigest()
    signature = {"timestamp": stamp, "token": token, "signature": made}
    return hook.post("/hooks/mailgun", json={"signature": signature, "event-data": event})


def mailgun_event(event: str, letter: str, **parts: Any) -> dict[str, Any]:
    return {
        "event": event,
        "id": "CPgfbmQMTCKtHW6uIWtuVe",
        "timestamp": NOW.timestamp() - 20.5,
        "log-level": "info",
        "recipient": "o'brien+payout@example.com",
        "message": {
            "headers": {"message-id": letter.strip("<>"), "subject": "Delayed: payouts"},
            "size": 111,
        },
        "user-variables": {"letter": letter.strip("<>")},
        "tags": [],
    } | parts


def ses_event(kind: str, letter: str, *, key: str = "notificationType", **parts: Any) -> dict[str, Any]:
    reader = "o'brien+payout@example.com"
    mail = {
        "timestamp": "2026-11-20T12:57:05.000Z",
        "messageId": "0000014644fe5ef6-9a483358-9170-4cb4-a269-f5dcdf415321-000000",
        "source": "status@example.com",
        "destination": [reader],
        "headersTruncated": False,
        "headers": [{"name": "From", "value": "status@example.com"}, {"name": "Message-ID", "value": letter}],
        "commonHeaders": {"from": ["status@example.com"], "messageId": letter, "subject": "Delayed: payouts"},
    }
    own: dict[str, dict[str, Any]] = {
        "Bounce": {
            "bounce": {
                "bounceType": "Permanent",
                "bounceSubType": "General",
                "bouncedRecipients": [
                    {
                        "emailAddress": reader,
                        "action": "failed",
                        "status": "5.1.1",
                        "diagnosticCode": f"smtp; 550 5.1.1 <{reader}>... User",
                    }
                ],
                "timestamp": "2026-11-20T12:57:07.237Z",
                "feedbackId": "00000138111222aa-33322211-cccc-cccc-cccc-ddddaaaa068a-000000",
            }
        },
        "Complaint": {
            "complaint": {
                "complainedRecipients": [{"emailAddress": reader}],
                "complaintFeedbackType": "abuse",
                "timestamp": "2026-11-20T12:58:00.000Z",
                "feedbackId": "000001378603177f-18c07c78-fa81-4a58-9dd1-fedc3cb8f49a-000000",
            }
        },
        "Delivery": {
            "delivery": {
                "timestamp": "2026-11-20T12:57:06.123Z",
                "processingTimeMillis": 546,
                "recipients": [reader],
                "smtpResponse": "250 ok:  Message 64111812 accepted",
            }
        },
    }
    return {key: kind, "mail": mail} | own.get(kind, {}) | parts


def sns(
    key: RSAPrivateKey, message: dict[str, Any] | str, *, version: str = "2", **parts: str
) -> dict[str, str]:
    """A message as Amazon SNS signs it: the names and values in their documented order, a line each."""
    fields = {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Message": message if isinstance(message, str) else json.dumps(message),
        "Timestamp": "2026-11-20T12:59:59.000Z",
        "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE_URL,
    } | parts
    names = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    said = "".join(f"{name}\n{fields[name]}\n" for name in names if name in fields)
    made = key.sign(said.encode(), PKCS1v15(), SHA256() if version == "2" else SHA1())
    return fields | {"Signature": base64.b64encode(made).decode()}


def sns_subscription(key: RSAPrivateKey, **parts: str) -> dict[str, str]:
    url = f"https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37"
    given = {"Type": "SubscriptionConfirmation", "Token": "2336412f37", "SubscribeURL": url} | parts
    return sns(key, f"You have chosen to subscribe to the topic {TOPIC}.", **given)


def _url64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
