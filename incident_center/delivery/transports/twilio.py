"""Twilio's Messages API: one message, one request, one message SID."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlencode

from incident_center.delivery.outcome import Letter, Outcome, scrub
from incident_center.delivery.transports.http_answers import by_status, json_object, said_nothing
from incident_center.delivery.transports.http_line import HttpAnswer, HttpRequest, HttpServer
from incident_center.delivery.transports.http_sms import VALID_SECONDS, ReceiptUrls, phone

TWILIO_SERVER = HttpServer("api.twilio.com")
_SID = re.compile(r"[A-Za-z0-9_-]{1,64}")

# Codes that are about this recipient or this text (twilio.com/docs/api/errors). Trying again would not help, and
# another provider would say the same. Nobody is suppressed for them, because none says that the number does not
# exist: a landline may be ported, a STOP (21610) holds for one sender, is taken back by START, and reaches us as a
# text of its own; a country that is switched off (21408) is switched on in the account.
_GIVEN_UP = {
    21211: "Twilio: this is no valid number",
    21214: "Twilio: this number cannot be reached",
    21217: "Twilio: this is no valid number",
    21265: "Twilio: a short code takes no texts",
    21266: "Twilio: sender and recipient are the same number",
    21408: "Twilio: the account may not send to this country; allow it in the account's Geo Permissions",
    21602: "Twilio: the text is empty",
    21604: "Twilio: the number is missing",
    21610: "Twilio: this number has sent STOP",
    21612: "Twilio: this number cannot be reached from this sender",
    21614: "Twilio: this is no mobile number",
    21617: "Twilio: the text is too long",
    21635: "Twilio: this is a landline",
    30006: "Twilio: this is a landline or a number out of reach",
}
_TOO_FAST = frozenset({14107, 20429, 21611, 30022})
_ENDED_BADLY = frozenset({"failed", "undelivered", "canceled"})


@dataclass(frozen=True, kw_only=True)
class TwilioApi:
    """`sender`: a number in E.164 form, a short code, a name, or a Messaging Service's SID (MG…)."""

    account: str
    key: str = field(repr=False)  # the account's SID, or an API key's (SK…)
    secret: str = field(repr=False)
    sender: str
    clock: Callable[[], datetime]
    server: HttpServer = TWILIO_SERVER
    receipts: ReceiptUrls | None = None
    schema: str = "twilio"

    def request(self, letter: Letter) -> HttpRequest:
        """Raises ValueError for a recipient that is no phone number."""
        fields = {"To": phone(letter), "Body": letter.text, "ValidityPeriod": str(VALID_SECONDS)}
        fields["MessagingServiceSid" if self.sender.startswith("MG") else "From"] = self.sender
        if self.receipts is not None:
            fields["StatusCallback"] = self.receipts.of(letter)[0]
        login = b64encode(f"{self.key}:{self.secret}".encode()).decode()
        headers = {
            "Authorization": f"Basic {login}",
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }
        path = f"/2010-04-01/Accounts/{self.account}/Messages.json"
        return HttpRequest(path, headers, urlencode(fields).encode())

    def outcome(self, answer: HttpAnswer) -> Outcome:
        said = json_object(answer.body)
        if 200 <= answer.status < 300:
            return _yes(answer, said.get("sid"), said.get("status"), said.get("error_code"))
        words = scrub(str(said.get("message") or ""))
        code = _number(said.get("code"))
        if code in _GIVEN_UP and 400 <= answer.status < 500:
            return Outcome(state="failed", code=f"{answer.status} {code}", detail=_GIVEN_UP[code])
        named = str(code) if code else ""
        if code in _TOO_FAST:  # under whatever status, Retry-After is heard
            answer = HttpAnswer(429, answer.retry_after, b"")
        return by_status(answer, now=self.clock(), code=named, words=words)


def _yes(answer: HttpAnswer, sid: object, status: object, code: object) -> Outcome:
    if not isinstance(sid, str) or not _SID.fullmatch(sid):
        return said_nothing(answer)
    if isinstance(status, str) and status in _ENDED_BADLY:
        number = _number(code)
        words = _GIVEN_UP.get(number, "Twilio took it and gave it up at once")
        named = f"{status} {number}" if number else status
        return Outcome(state="failed", code=named, detail=words, provider_ref=sid)
    return Outcome(state="accepted", code=str(answer.status), provider_ref=sid)


def _number(code: object) -> int:
    """A code of Twilio's; 0 for anything else that may stand in its place."""
    return code if isinstance(code, int) and 0 < code < 10**9 else 0
