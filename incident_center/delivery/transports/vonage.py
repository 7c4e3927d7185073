"""Vonage's SMS API: one request, answered with one entry for each part of a long message."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from incident_center.delivery.outcome import Letter, Outcome, scrub
from incident_center.delivery.transports.http_answers import by_status, json_object, said_nothing
from incident_center.delivery.transports.http_line import HttpAnswer, HttpRequest, HttpServer
from incident_center.delivery.transports.http_sms import VALID_SECONDS, ReceiptUrls, phone
from incident_center.playbooks.sms import count_sms

VONAGE_SERVER = HttpServer("rest.nexmo.com")
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_REFERENCE_MAX = 100  # Vonage's limit for client-ref

# developer.vonage.com/en/api-errors/sms: about this recipient or this text.
_GIVEN_UP = {
    "3": "Vonage: a value of this message is invalid, most often the number",
    "6": "Vonage: this number has no route",
    "7": "Vonage: this number is barred",
    "12": "Vonage: the text is too long",
    "33": "Vonage: this number is out of service",
}
_NUMBER_IS_GONE = "33"  # the one code that says so; the number may soon be somebody else's
_PROVIDERS_OWN = {
    "1": "Vonage: too many messages a second",
    "4": "Vonage refuses the key or the secret",
    "5": "Vonage: an error of their own",
    "8": "Vonage: the account is barred",
    "9": "Vonage: the account has no credit left",
    "10": "Vonage: too many connections",
    "15": "Vonage refuses the sender",
    "29": "Vonage: a trial account sends to registered numbers only",
}


@dataclass(frozen=True, kw_only=True)
class VonageApi:
    """`sender`: a number without plus, or a name of up to 11 letters and digits."""

    key: str = field(repr=False)
    secret: str = field(repr=False)
    sender: str
    clock: Callable[[], datetime]
    server: HttpServer = VONAGE_SERVER
    receipts: ReceiptUrls | None = None
    schema: str = "vonage"

    def request(self, letter: Letter) -> HttpRequest:
        """Raises ValueError for a recipient that is no phone number."""
        fields = {
            "api_key": self.key,
            "api_secret": self.secret,
            "from": self.sender,
            "to": phone(letter).lstrip("+"),
            "text": letter.text,
            "ttl": str(VALID_SECONDS * 1000),
        }
        if count_sms(letter.text).encoding == "ucs2":
            fields["type"] = "unicode"  # or the letters beyond GSM-7 arrive as question marks
        if self.receipts is not None:
            fields["callback"], reference = self.receipts.of(letter)
            fields["status-report-req"] = "1"
            if len(reference) <= _REFERENCE_MAX:
                fields["client-ref"] = reference
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        return HttpRequest("/sms/json", headers, urlencode(fields).encode())

    def outcome(self, answer: HttpAnswer) -> Outcome:
        if not 200 <= answer.status < 300:
            return by_status(answer, now=self.clock())
        parts = json_object(answer.body).get("messages")
        if not isinstance(parts, list) or not parts or not all(isinstance(part, dict) for part in parts):
            return said_nothing(answer)
        taken = [part for part in parts if str(part.get("status")) == "0"]
        refused = [part for part in parts if str(part.get("status")) != "0"]
        if taken and refused:
            words = "the provider took some parts of the message and refused others"
            return Outcome(state="unknown", code=_code(refused[0]), detail=words, provider_ref=_id(taken[0]))
        return _refusal(refused[0]) if refused else _acceptance(answer, taken[0])


def _acceptance(answer: HttpAnswer, part: dict[str, Any]) -> Outcome:
    identity = _id(part)
    if identity is None:
        return said_nothing(answer)
    return Outcome(state="accepted", code=str(answer.status), provider_ref=identity)


def _refusal(part: dict[str, Any]) -> Outcome:
    status = str(part.get("status"))
    if status in _GIVEN_UP:
        return Outcome(
            state="failed",
            code=_code(part),
            detail=_GIVEN_UP[status],
            suppress=status == _NUMBER_IS_GONE,
        )
    if not status.isdigit():
        return Outcome(state="unknown", code="200 no-status", detail="the provider's answer makes no sense")
    words = _PROVIDERS_OWN.get(status) or scrub(str(part.get("error-text") or "")) or "the provider refused"
    return Outcome(state="retry", code=_code(part), detail=words, provider_wide=True)


def _code(part: dict[str, Any]) -> str:
    return f"200 {scrub(str(part.get('status')))[:16]}"


def _id(part: dict[str, Any]) -> str | None:
    identity = part.get("message-id")
    return identity if isinstance(identity, str) and _ID.fullmatch(identity) else None
