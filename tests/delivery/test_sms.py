"""SMS through one of Apprise's own plugins, against a gateway on this machine."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from incident_center.config import Settings
from incident_center.delivery.outcome import Letter, Outcome
from incident_center.delivery.providers import build_providers
from incident_center.delivery.transports.stock import StockPlugin, UnusablePlugin, read_failure
from incident_center.states import Channel, DeliveryState
from tests.builders import a_subscriber, mai
from tests.delivery.servers import Mailhost, SmsGateway
from tests.delivery.stories import Clock, Post, publish

NUMBER = "+4915112345678"


def send(gateway: SmsGateway, to: str = NUMBER, text: str = "Payouts are delayed.") -> Outcome:
    plugin = StockPlugin(gateway.url, Channel.SMS)
    return plugin.deliver(Letter(key=1, channel=Channel.SMS, to=to, text=text))


def test_a_text_arrives_as_one_message_whatever_its_length(gateway: SmsGateway) -> None:
    text = "Auszahlungen verzögern sich. " * 14
    assert send(gateway, text=text.strip()).state == "accepted"
    assert gateway.texts == [(NUMBER, text.strip())]


@pytest.mark.parametrize(
    ("status", "state", "provider_wide"),
    [
        (302, "retry", True),
        (400, "failed", False),
        (401, "retry", True),
        (403, "retry", True),
        (404, "retry", True),
        (405, "retry", True),
        (415, "retry", True),
        (429, "retry", True),
        (500, "unknown", False),
        (501, "retry", True),
        (502, "unknown", False),
        (503, "retry", True),
        (504, "unknown", False),
        (521, "retry", True),
        (599, "unknown", False),
    ],
)
def test_each_answer_of_a_gateway_is_told_apart(
    gateway: SmsGateway, status: int, state: str, provider_wide: bool
) -> None:
    gateway.answer = lambda _: (status, "no")
    outcome = send(gateway)
    assert (outcome.state, outcome.provider_wide, outcome.suppress) == (state, provider_wide, False)
    assert outcome.code == str(status)


def test_a_refusal_with_status_200_is_no_success(gateway: SmsGateway) -> None:
    gateway.answer = lambda _: (200, '{"result": {"status": "error: wrong number"}}')
    assert send(gateway).state == "retry"


def test_a_gateway_that_is_not_there_has_certainly_not_sent_it() -> None:
    plugin = StockPlugin("smseagle://token@127.0.0.1:9", Channel.SMS)
    outcome = plugin.deliver(Letter(key=1, channel=Channel.SMS, to=NUMBER, text="x"))
    assert (outcome.state, outcome.code, outcome.provider_wide) == ("retry", "connect", True)


def test_a_connection_that_ends_before_the_answer_is_unknown() -> None:
    lines = [
        "A Connection error occurred sending",
        "Socket Exception: ('Connection aborted.', RemoteDisconnected())",
    ]
    assert read_failure(lines).state == "unknown"
    assert read_failure([]).state == "unknown"
    timed_out = [
        "Socket Exception: HTTPSConnectionPool(host='x', port=443): Read timed out. (read timeout=30)"
    ]
    assert read_failure(timed_out).state == "unknown"


@pytest.mark.parametrize("code", [21211, 21610])
def test_a_number_that_twilio_will_not_serve_is_given_up(code: int) -> None:
    assert read_failure([f"Failed to send Twilio SMS notification to +49: error={code}."]).state == "failed"


def test_nothing_of_a_message_reaches_the_log(gateway: SmsGateway) -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setLevel(logging.DEBUG)
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        send(gateway, text="secret words")
        gateway.answer = lambda _: (500, "secret answer")
        send(gateway, text="secret words")
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
    assert "secret" not in written.getvalue()
    assert NUMBER.lstrip("+") not in written.getvalue()


# Any URL that Apprise's own tests would take; nothing is sent to these.
SMS_URLS = [
    f"twilio://AC{'a' * 32}:{'b' * 32}@15555550100",
    "vonage://abcdefgh:abcdefghijklmnop@15555550100",
    "sinch://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb@15555550100",
    "seven://abcdefghijklmnop",
    "46elks://user:password@15555550100",
    "cm://Example@a1b2c3d4-1234-1234-1234-1234567890ab",
    "infobip://15555550100@abcdefghijklmnop",
    "clicksend://user:password@",
    "bulksms://user:password@",
    f"plivo://{'A' * 25}@{'b' * 40}/15555550100",
    "telnyx://abcdefghijklmnop@15555550100",
    "msgbird://abcdefghijklmnopqrstuvwxy/15555550100",
    "httpsms://abcdefghij@15555550100",
    "smseagle://token@127.0.0.1",
    f"sns://{'A' * 20}/{'b' * 40}/eu-central-1",
]
EMAIL_URLS = [
    "sendgrid://abcdefghijklmnop-qrstuvwxyzabcdefghijklmnopq:status@pay.example",
    "mailgun://status@pay.example/0123456789abcdef0123456789abcdef-01234567-89abcdef",
    "postmark://0123abcd-0123-0123-0123-0123456789ab:status@pay.example",
    "brevo://abcdefgh-ijklmnop:status@pay.example",
    "resend://abcdefghijklm-nop:status@pay.example",
    "smtp2go://status@pay.example/api-0123456789abcdef",
    "sparkpost://status@pay.example/0123456789abcdef0123456789abcdef01234567",
    f"ses://status@pay.example/{'A' * 20}/{'b' * 40}/eu-central-1",
]


@pytest.mark.parametrize("url", SMS_URLS, ids=lambda url: url.partition(":")[0])
def test_every_sms_service_gets_exactly_the_stored_number(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    plugin = StockPlugin(url, Channel.SMS)
    aimed = aim(monkeypatch, plugin, Letter(key=1, channel=Channel.SMS, to=NUMBER, text="x"))
    assert NUMBER.lstrip("+") in aimed
    assert "447700900123" not in aimed
    assert plugin.service.request_rate_per_sec == 0
    assert plugin.service.redirects is False


@pytest.mark.parametrize("url", EMAIL_URLS, ids=lambda url: url.partition(":")[0])
def test_every_email_service_gets_exactly_the_stored_address(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    plugin = StockPlugin(url, Channel.EMAIL)
    letter = Letter(
        key=1, channel=Channel.EMAIL, to="o'brien+payout@example.com", subject="x", text="x", html="<b>x</b>"
    )
    aimed = aim(monkeypatch, plugin, letter)
    assert "o'brien+payout@example.com" in aimed
    assert "recipient.probe" not in aimed


def aim(monkeypatch: pytest.MonkeyPatch, plugin: StockPlugin, letter: Letter) -> str:
    """What the object holds as its recipients at the moment of sending, without sending."""
    seen: list[str] = []

    def instead(**_: Any) -> bool:
        seen.append(" ".join(str(value) for value in _targets(plugin)))
        return True

    monkeypatch.setattr(plugin.service, "send", instead)
    assert plugin.deliver(letter).state == "accepted"
    (aimed,) = seen
    assert _targets(plugin) == []
    return aimed


def _targets(plugin: StockPlugin) -> list[Any]:
    targets: list[Any] = getattr(plugin.service, plugin._attribute)
    return targets


@pytest.mark.parametrize(
    "url",
    [
        "smseagle://token@127.0.0.1/+4915112345678",
        f"twilio://AC{'a' * 32}:{'b' * 32}@15555550100/15555550199",
    ],
)
def test_a_url_that_names_a_recipient_is_refused(url: str) -> None:
    with pytest.raises(UnusablePlugin, match="already names a recipient"):
        StockPlugin(url, Channel.SMS)


def test_a_gateway_that_refuses_everybody_is_rested(
    open_post: Callable[..., Post], gateway: SmsGateway, clock: Clock
) -> None:
    post = open_post(sms=gateway.url)
    gateway.answer = lambda _: (503, "busy")
    with post.database.transaction() as session:
        for place in range(20):
            a_subscriber(session, phone=f"+4915112345{place:03}")
        publish(session, post.house)
    post.work()
    assert len(post.rows()) <= 6
    gateway.answer = lambda _: None
    clock.move(minutes=20)
    post.work()
    assert len(set(gateway.recipients())) == len(gateway.texts) == 20
    assert {row.state for row in post.rows()} == {DeliveryState.ACCEPTED}


def test_an_sms_whose_answer_was_lost_is_sent_again_once_and_flagged(
    open_post: Callable[..., Post], gateway: SmsGateway, clock: Clock
) -> None:
    post = open_post(sms=gateway.url)
    gateway.answer = lambda _: (504, "gateway time-out")
    with post.database.transaction() as session:
        mai(session)
        publish(session, post.house)
    post.work()
    assert post.row().state is DeliveryState.UNKNOWN
    clock.move(minutes=2)
    post.work()
    clock.move(minutes=30)
    post.work()
    assert (post.row().state, post.row().attempts, post.row().possibly_twice) == (
        DeliveryState.UNKNOWN,
        2,
        True,
    )


def test_one_channels_provider_does_not_hold_up_the_other(
    open_post: Callable[..., Post], smtp: Mailhost, clock: Clock
) -> None:
    post = open_post(email=smtp.url, sms="smseagle://token@127.0.0.1:9")
    with post.database.transaction() as session:
        mai(session), a_subscriber(session, email="reader@example.com")
        publish(session, post.house)
    post.work()
    assert smtp.recipients() == ["reader@example.com"]


def test_providers_are_built_in_the_order_of_the_settings(settings: Settings) -> None:
    both = replace(settings, sms_urls=("smseagle://one@127.0.0.1", "seven://abcdefghijklmnop"))
    names = [courier.name for courier in build_providers(both).by_channel[Channel.SMS]]
    assert names == ["sms 1 smseagle", "sms 2 seven"]
