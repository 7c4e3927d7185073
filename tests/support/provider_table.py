"""The tables of docs/providers.md, made from the code and from what the tests try.

`python -m tests.support.provider_table` writes them. Each stock service stands here with a URL that the tests send
through (tests/delivery/test_sms_stock.py); a service that Apprise gains and nobody has tried fails that test.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from apprise.manager_plugins import NotificationManager

from incident_center.delivery.outcome import Outcome
from incident_center.delivery.transports.http_line import HttpAnswer
from incident_center.delivery.transports.references import METADATA
from incident_center.delivery.transports.sms_url import twilio_api, vonage_api
from incident_center.delivery.transports.stock import read_failure

PAGE = Path(__file__).parent.parent.parent / "docs" / "providers.md"
BEGIN, END = "<!-- made by python -m tests.support.provider_table -->", "<!-- until here -->"

_K20, _K32, _K40 = "k" * 20, "a" * 32, "k" * 40
STOCK_SMS = {
    "46elks": "46elks://user:password@15555550100",
    "atalk": f"atalk://user@{_K20}",
    "bulksms": "bulksms://user:password@",
    "bulkvs": "bulkvs://user:password@15555550100",
    "burstsms": f"burstsms://{_K20}:{_K20}@15555550100",
    "clickatell": f"clickatell://{_K20}",
    "clicksend": "clicksend://user:password@",
    "cm": "cm://Example@a1b2c3d4-1234-1234-1234-1234567890ab",
    "d7sms": f"d7sms://{_K20}@",
    "eight00com": f"eight00com://{_K20}@15555550100",
    "evolution": f"evolution://{_K20}@127.0.0.1/instance",
    "exotel": f"exotel://sid:{_K20}@15555550100",
    "gupshup": f"gupshup://app:{_K20}@15555550100",
    "httpsms": f"httpsms://{_K20}@15555550100",
    "infobip": f"infobip://15555550100@{_K20}",
    "kaleyra": f"kaleyra://{_K20}:{_K20}@15555550100",
    "kavenegar": f"kavenegar://{_K20}",
    "msg91": f"msg91://{_K20}@{_K20}",
    "msgbird": f"msgbird://{'k' * 25}/15555550100",
    "notifyre": f"notifyre://{_K20}/",
    "octopush": f"octopush://user@pay.example/{_K20}",
    "plivo": f"plivo://{'A' * 25}@{_K40}/15555550100",
    "ringc": f"ringc://15555550100:{_K20}@client/secret",
    "serwersms": "serwersms://user:password@Sender",
    "seven": f"seven://{_K20}",
    "signal": "signal://127.0.0.1/15555550100",
    "sinch": f"sinch://{_K32}:{_K32}@15555550100",
    "smsc": "smsc://user:password@",
    "smseagle": "smseagle://token@127.0.0.1",
    "smsmgr": f"smsmgr://{_K20}@",
    "smstunnel": f"smstunnel://{_K20}",
    "sns": f"sns://{'A' * 20}/{_K40}/eu-central-1",
    "telesign": f"telesign://a1b2c3d4-1234-1234-1234-1234567890ab:{_K40}@",
    "telnyx": f"telnyx://{_K20}@15555550100",
    "threema": f"threema://*ABCDEFG@{'k' * 16}",
    "whapi": f"whapi://{_K20}",
    "whatsapp": f"whatsapp://{_K20}@15555550100",
}
STOCK_EMAIL = {
    "azure": f"azure://status@pay.example/tenant/{_K20}/{_K20}",
    "brevo": f"brevo://{_K20}:status@pay.example",
    "groundmail": f"groundmail://{_K20}:status@pay.example",
    "mailersend": f"mailersend://{_K20}:status@pay.example",
    "mailgun": f"mailgun://status@pay.example/{_K32}-{'a' * 8}-{'a' * 8}",
    "o365": f"o365://status@pay.example/tenant/{_K20}/{_K20}",
    "postmark": f"postmark://{_K20}:status@pay.example",
    "resend": f"resend://{_K20}:status@pay.example",
    "sendgrid": f"sendgrid://{_K20}:status@pay.example",
    "sendpulse": f"sendpulse://status@pay.example/{_K20}/{_K20}",
    "ses": f"ses://status@pay.example/{'A' * 20}/{_K40}/eu-central-1",
    "smtp2go": f"smtp2go://status@pay.example/api-{_K20}",
    "sparkpost": f"sparkpost://status@pay.example/{_K40}",
}
# Apprise has them, customers' messages do not go there; with the reason.
REFUSED = {
    "dingtalk": "posts into a group",
    "voipms": "takes numbers of North America alone, in a form of its own",
    "mobilemessage": "rewrites the number, so that it cannot be read back",
}
_SHOWN = {
    _K20: "KEY",
    _K32: "KEY",
    _K40: "SECRET",
    "k" * 25: "KEY",
    "A" * 25: "ID",
    "A" * 20: "ID",
    "k" * 16: "SECRET",
}

_OWN = (
    # provider, example, phases, message's number, receipts, Retry-After, validity, stub
    (
        "Any mail server",
        "smtp(s)://user:password@host:port?from=status@pay.example",
        "each step; after the final dot only the answer",
        "queue id",
        "bounce mails; with `metadata=` the webhooks of SES, Postmark, Mailgun",
        "–",
        "–",
        "an SMTP server that fails at each step",
    ),
    (
        "Twilio",
        "twilio://ACCOUNT_SID:AUTH_TOKEN@+15555550100",
        "not sent, refused, accepted, unknown",
        "message SID",
        "status callbacks",
        "yes",
        "15 minutes",
        "a TLS gateway with Twilio's answers",
    ),
    (
        "Vonage",
        "vonage://KEY:SECRET@ExamplePay",
        "not sent, refused, accepted, unknown; each part",
        "message-id",
        "delivery receipts",
        "yes",
        "15 minutes",
        "a TLS gateway with Vonage's answers",
    ),
    (
        "Any SMSC (SMPP 3.4)",
        "smpp(s)://user:password@host:port/+15555550100",
        "not sent, refused, accepted, unknown; each segment",
        "message_id",
        "on the session",
        "–",
        "15 minutes",
        "a message centre built on smpplib",
    ),
)
_HEADER = "| service | example | tells apart | its own number | receipts | Retry-After | validity | tested against |"


def notification_manager() -> Any:
    """Apprise's list of services; the library has not annotated it."""
    manager: Any = NotificationManager
    return manager()


def service_name(schema: str) -> str:
    return str(notification_manager()[schema].service_name)


def shown(url: str) -> str:
    for key, word in sorted(_SHOWN.items(), key=lambda pair: -len(pair[0])):  # a long one holds a short one
        url = url.replace(key, word)
    return url


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _stock(examples: dict[str, str], receipts: str) -> list[str]:
    rows = [
        (
            service_name(schema),
            f"`{shown(url)}`",
            "refused, accepted, unknown",
            "–",
            "over its SMTP only" if schema in METADATA else receipts,
            "–",
            "the service's own",
            "its own HTTP requests, answered here",
        )
        for schema, url in examples.items()
    ]
    return [_row(row) for row in sorted(rows, key=lambda row: row[0].lower())]


def providers() -> str:
    own = [_row((name, f"`{url}`", *rest)) for name, url, *rest in _OWN]
    return "\n".join(
        [_HEADER, "|---" * 8 + "|", *own, *_stock(STOCK_EMAIL, "–"), *_stock(STOCK_SMS, "signed JSON")]
    )


_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_STATUSES = (302, 400, 401, 403, 404, 408, 429, 500, 502, 503, 504)


def _word(outcome: Outcome) -> str:
    return outcome.state + (
        ", the provider rests" if outcome.provider_wide or outcome.state == "unknown" else ""
    )


def answers() -> str:
    """What an HTTP answer without more exact words means, asked of the code."""
    twilio = twilio_api(f"twilio://AC{_K32}:x@15555550100", clock=lambda: _NOW)
    vonage = vonage_api("vonage://x:x@Pay", clock=lambda: _NOW)
    rows = ["| answer | Twilio | Vonage | a stock plugin |", "|---|---|---|---|"]
    for status in _STATUSES:
        answer = HttpAnswer(status, None, b"")
        ours = [_word(api.outcome(answer)) for api in (twilio, vonage)]
        rows.append(_row([str(status), *ours, _word(read_failure([f"error={status}."]))]))
    empty = HttpAnswer(200, None, b"")
    rows.append(
        _row(
            [
                "200 that names no message",
                _word(twilio.outcome(empty)),
                _word(vonage.outcome(empty)),
                "accepted",
            ]
        )
    )
    return "\n".join(rows)


def made() -> Sequence[str]:
    """The tables, in the page's order."""
    return providers(), answers()


def filled(page: str) -> str:
    """The page with its tables as they are now."""
    parts = page.split(BEGIN)
    tables = made()
    if len(parts) != len(tables) + 1:
        raise ValueError(f"{PAGE} must hold {len(tables)} places for tables")
    rest = [part.partition(END)[2] for part in parts[1:]]
    return parts[0] + "".join(
        f"{BEGIN}\n\n{table}\n\n{END}{after}" for table, after in zip(tables, rest, strict=True)
    )


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
