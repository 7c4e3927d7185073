"""Every SMS and e-mail service of Apprise that may be configured: one recipient in, that one recipient on the wire.

What the plugins hand to the HTTP library is what is looked at; nothing leaves the process.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
import requests

from incident_center.delivery.outcome import Letter
from incident_center.delivery.providers import _EMAIL_SCHEMAS
from incident_center.delivery.transports.sms_url import OWN_SMS
from incident_center.delivery.transports.stock import StockPlugin, UnusablePlugin, _writes_to_phones
from incident_center.states import Channel
from tests.support.provider_table import REFUSED, STOCK_EMAIL, STOCK_SMS, notification_manager

pytestmark = pytest.mark.one_database

NUMBER, ADDRESS = "+4915112345678", "o'brien+payout@example.com"
SENDERS = {"15555550100", "status@pay.example", "user@pay.example"}
_NUMBERS = re.compile(r"(?<![\w-])\+?([0-9]{11,15})(?![\w-])")
_ADDRESSES = re.compile(r"[\w.+'-]+@[\w-]+\.[a-z]+")
# The plugin looks for its own word of success in the answer, so that a bare 200 is none.
WANTS_MORE_THAN_200 = {"whapi", "octopush"}


class Border:
    """Stands where requests would open a connection."""

    def __init__(self) -> None:
        self.status = 200
        self.sent: list[requests.PreparedRequest] = []

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:
        self.sent.append(request)
        answer = requests.Response()
        answer.status_code, answer.request, answer.url = self.status, request, request.url or ""
        body = {
            "access_token": "t",
            "expires_in": 3600,
            "success": True,
            "status": "success",
            "messages": [{"status": "0"}],
            "result": {"status": "ok", "message_id": "1"},
        }
        answer._content = json.dumps(body).encode()
        return answer


@pytest.fixture
def border(monkeypatch: pytest.MonkeyPatch) -> Border:
    border = Border()
    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", border.send)
    return border


def words(request: requests.PreparedRequest) -> Iterator[str]:
    """Every text in a request, as the provider would read it."""
    url = urlsplit(request.url or "")
    yield unquote(url.path)
    yield from (value for _, value in parse_qsl(url.query))
    body = request.body.decode() if isinstance(request.body, bytes) else str(request.body or "")
    try:
        yield from _texts(json.loads(body))
    except ValueError:
        if "form-data" in str(request.headers.get("Content-Type")):
            yield body
        for name, value in parse_qsl(body):
            yield value
            if name == "RawMessage.Data":
                yield b64decode(value).decode().partition("\n\n")[0]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    else:
        yield str(value)


def reached(border: Border, channel: Channel) -> set[str]:
    """The addresses and numbers that stand anywhere on the wire, but for the sender's."""
    pattern = _NUMBERS if channel is Channel.SMS else _ADDRESSES
    return {
        found.removeprefix("00")  # as some services write it
        for request in border.sent
        for text in words(request)
        for found in pattern.findall(text)
        if found not in SENDERS
    }


def send(url: str, channel: Channel) -> str:
    to = NUMBER if channel is Channel.SMS else ADDRESS
    letter = Letter(key=1, channel=channel, to=to, subject="Subject", text="words", html="<b>words</b>")
    return StockPlugin(url, channel).deliver(letter).state


CASES = [
    *((Channel.SMS, schema, url) for schema, url in STOCK_SMS.items()),
    *((Channel.EMAIL, schema, url) for schema, url in STOCK_EMAIL.items()),
]


@pytest.mark.parametrize(("channel", "schema", "url"), CASES, ids=[schema for _, schema, _ in CASES])
def test_one_recipient_in_is_that_one_recipient_on_the_wire(
    border: Border, channel: Channel, schema: str, url: str
) -> None:
    state = send(url, channel)
    assert state == ("retry" if schema in WANTS_MORE_THAN_200 else "accepted")
    expected = NUMBER.lstrip("+") if channel is Channel.SMS else ADDRESS
    assert reached(border, channel) == {expected}


@pytest.mark.parametrize("status", [302, 429, 500])
@pytest.mark.parametrize(("channel", "schema", "url"), CASES, ids=[schema for _, schema, _ in CASES])
def test_a_refusal_is_no_success(
    border: Border, channel: Channel, schema: str, url: str, status: int
) -> None:
    border.status = status
    assert send(url, channel) == ("unknown" if status == 500 else "retry")
    assert len(border.sent) == 1  # whether and when to try again is not the plugin's business


def test_every_service_that_apprise_has_was_tried() -> None:
    """A new version of Apprise may bring one more: give it a URL, or refuse it, and say why."""
    manager = notification_manager()
    phones = {name for name in manager.schemas() if _writes_to_phones(manager[name])}
    tried = {*STOCK_SMS, *REFUSED, *OWN_SMS}
    families = {manager[schema] for schema in tried if schema in manager.schemas()}
    assert {name for name in phones if name not in OWN_SMS and manager[name] not in families} == set()
    assert set(STOCK_EMAIL) == _EMAIL_SCHEMAS


@pytest.mark.parametrize(
    "url",
    [
        f"dingtalk://{'k' * 12}",
        "voipms://password:user@pay.example/15555550100",
        "mobilemessage://user:password@15555550100",
    ],
)
def test_a_service_that_cannot_be_given_one_chosen_number_is_refused(url: str) -> None:
    assert url.partition(":")[0] in REFUSED
    with pytest.raises(UnusablePlugin):
        StockPlugin(url, Channel.SMS)
