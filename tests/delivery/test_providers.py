"""Settings that would lose or multiply messages in silence are refused at start, by name, without secrets."""

from __future__ import annotations

from dataclasses import replace
from email.header import decode_header, make_header

import pytest

from incident_center.config import Settings
from incident_center.delivery.limits import ProviderLimits, take_limits
from incident_center.delivery.providers import build_providers, check_settings
from incident_center.delivery.sms_couriers import HttpSmsCourier
from incident_center.delivery.transports.sms_url import smpp_server
from incident_center.delivery.transports.smtp_url import smtp_server
from incident_center.delivery.transports.stock import UnusablePlugin
from incident_center.delivery.transports.twilio import TwilioApi
from incident_center.delivery.transports.vonage import VonageApi
from incident_center.states import Channel

pytestmark = pytest.mark.one_database

GOOD_SMTP = "smtps://user:s3cr3t@mail.example.com?from=status@pay.example"
GOOD_SMS = "smseagle://s3cr3t@127.0.0.1"


def problems(
    settings: Settings, *, email: str = GOOD_SMTP, sms: str = GOOD_SMS, staff: str = ""
) -> list[str]:
    found = check_settings(
        replace(
            settings,
            testing=False,
            email_urls=tuple(email.split()),
            sms_urls=tuple(sms.split()),
            staff_urls=tuple(staff.split()),
        )
    )
    assert "s3cr3t" not in " ".join(found)
    return found


def test_good_settings_have_no_problem(settings: Settings) -> None:
    assert (
        problems(settings, staff="json://127.0.0.1 smtp://127.0.0.1?from=a@b.example&to=crisis@b.example")
        == []
    )


def test_an_installation_that_can_reach_nobody_is_refused(settings: Settings) -> None:
    (problem,) = problems(settings, email="", sms="")
    assert "INCIDENT_CENTER_EMAIL_URLS" in problem


@pytest.mark.parametrize(
    "option",
    ["retry", "wait", "optional", "verify", "redirect", "overflow", "to", "cc", "bcc", "CC", "Optional"],
)
def test_options_that_lose_or_multiply_messages_are_refused_by_name(settings: Settings, option: str) -> None:
    for found in (
        problems(settings, email=f"{GOOD_SMTP} {GOOD_SMTP}&{option}=yes"),
        problems(settings, sms=f"{GOOD_SMS} {GOOD_SMS}?{option}=yes"),
    ):
        (problem,) = found
        assert ", entry 2 (" in problem
        assert f"“{option.lower()}”" in problem


@pytest.mark.parametrize(
    "hidden",
    ["?x=1;optional=yes", "?x=1#&optional=yes", "?%20optional=yes", "?%6fptional=yes", "?+optional=yes"],
)
def test_an_option_that_only_the_library_would_see_is_refused_too(settings: Settings, hidden: str) -> None:
    for found in (
        problems(settings, sms=GOOD_SMS + hidden),
        problems(settings, staff=f"json://127.0.0.1{hidden}"),
    ):
        (problem,) = found
        assert "optional”" in problem


@pytest.mark.parametrize(
    ("kind", "url", "words"),
    [
        ("email", "mailto://user:s3cr3t@example.com", "write smtp://"),
        ("email", "nosuch://s3cr3t@example.com", "smtp:// or smtps://"),
        ("email", "smtp://mail.example.com", "?from="),
        ("email", "smtp://mail.example.com?from=nobody", "?from="),
        ("email", "smtp://mail.example.com:port?from=a@b.example", "port"),
        ("email", "smtp://?from=a@b.example", "host"),
        ("email", "smtp://mail.example.com?from=a@b.example&pool=9", "“pool”"),
        ("email", "smtp://mail.example.com?from=jürgen@b.example", "beyond ASCII"),
        ("email", "smtp://user:pa?s3cr3t@mail.example.com:25?from=a@b.example", "%3F"),
        ("email", "smtp://user:pa?s3cr3t&s3cr3t@mail.example.com?from=a@b.example", "%3F"),
        ("sms", "twilio://AC12345678:pa?s3cr3t@15555550100", "%3F"),
        ("sms", "smpp://user:pa?s3cr3t@127.0.0.1/15555550100", "%3F"),
        ("email", "smtp://mail.example.com?from=a@b.example&tls=maybe", "tls"),
        ("email", "smtp://mail.example.com?from=a@b.example&dot_timeout=soon", "dot_timeout"),
        ("email", "demo-mailbox://email", "demo"),
        ("sms", GOOD_SMTP, "INCIDENT_CENTER_EMAIL_URLS"),
        ("sms", "mailto://user:s3cr3t@example.com", "write smtp://"),
        ("sms", "sendgrid://s3cr3t:a@b.example", "INCIDENT_CENTER_EMAIL_URLS"),
        ("sms", "smpp://user:s3cr3t@127.0.0.1", "needs a sender"),
        ("sms", "smpp://user:s3cr3t@127.0.0.1/15555550100/+4915112345678", "already names a recipient"),
        ("sms", "smpp://user:s3cr3ts3cr3t@127.0.0.1/15555550100", "password 8"),
        ("sms", "smpp://user:s3cr3t@/15555550100", "names no host"),
        ("sms", "smpp://user:s3cr3t@127.0.0.1:port/15555550100", "port"),
        ("sms", "smpp://user@127.0.0.1/15555550100", "a user and a secret"),
        ("sms", "smpp://user:s3cr3t@127.0.0.1/15555550100?ids=octal", "odd ids"),
        ("sms", "twilio://AC12345678:s3cr3t@15555550100/15555550199", "already names a recipient"),
        ("sms", "twilio://12345678:s3cr3t@15555550100", "Account SID"),
        ("sms", "twilio://AC12345678:s3cr3t@", "needs a sender"),
        ("sms", "twilio://AC12345678:s3cr3t@w:15555550100", "needs a sender"),
        ("sms", "twilio://AC12345678:s3cr3t@15555550100?method=call", "no calls"),
        ("sms", "twilio://AC12345678:s3cr3t@15555550100?apikey=x", "apikey"),
        ("sms", "twilio://AC12345678:s3cr3t@15555550100?api=https://127.0.0.1", "“api”"),
        ("sms", "twilio://AC12345678:s3cr3t@15555550100?rate=1&rate=2", "twice"),
        ("sms", "vonage://key:s3cr3t@ExamplePayOut", "needs a sender"),
        ("sms", "vonage://key@ExamplePay", "a user and a secret"),
        ("sms", "vonage://key:s3cr3t@ExamplePay?rate=fast", "odd rate"),
        ("sms", "vonage://key:s3cr3t@ExamplePay?rate=0", "odd rate"),
        ("sms", "vonage://key:s3cr3t@ExamplePay?rate=1e3", "odd rate"),
        ("sms", "vonage://key:s3cr3t@ExamplePay?connections=0", "odd number of connections"),
        ("sms", GOOD_SMS + "?connections=2", "“connections”"),
        ("sms", GOOD_SMS + "?x=1;rate=2", "“rate”"),
        ("email", "smtp://mail.example.com?from=a@b.example&rate=many", "odd rate"),
        ("email", "twilio://AC12345678:s3cr3t@15555550100", "not an e-mail provider"),
        ("sms", "nosuch://s3cr3t@example.com", "no URL that Apprise knows"),
        ("sms", "smseagle://s3cr3t@127.0.0.1/+4915112345678", "already names a recipient"),
        ("sms", "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "phone numbers"),
        ("staff", "nosuch://s3cr3t", "compare it"),
        ("staff", "smtp://127.0.0.1?from=a@b.example", "?to="),
        ("staff", "json://127.0.0.1?optional=yes", "“optional”"),
    ],
)
def test_odd_urls_are_refused_with_what_to_do(settings: Settings, kind: str, url: str, words: str) -> None:
    given = {kind: url}
    (problem,) = problems(settings, **given)
    assert problem.startswith(f"INCIDENT_CENTER_{kind.upper()}_URLS, entry 1 ({url.partition(':')[0]}://):")
    assert words in problem
    assert "s3cr3t" not in problem


def test_an_smtp_url_is_read_with_its_defaults(settings: Settings) -> None:
    relay = smtp_server(settings, "smtp://relay.example.com?from=status@pay.example")
    assert (relay.port, relay.tls, relay.dot_timeout, relay.helo) == (25, "auto", 600.0, "pay.example")
    assert relay.sender_line == b"From: Example Pay <status@pay.example>"
    account = smtp_server(settings, "smtp://me%40x.example:p%40ss@mail.example.com?from=a@b.example&name=Zoë")
    assert (account.port, account.user, account.password) == (587, "me@x.example", "p@ss")
    assert account.sender_line.isascii()
    assert str(make_header(decode_header(account.sender_line.decode()))) == "From: Zoë <a@b.example>"
    secure = smtp_server(settings, "smtps://mail.example.com?from=a@b.example")
    assert (secure.port, secure.tls) == (465, "implicit")
    assert "p@ss" not in repr(account)


def test_a_sender_cannot_bring_headers_of_their_own(settings: Settings) -> None:
    with pytest.raises(UnusablePlugin):
        smtp_server(settings, "smtp://relay.example.com?from=a@b.example&name=x%0d%0aBcc:c@d.example")


A_KEY = "SK" + "1" * 32


@pytest.mark.parametrize(
    ("url", "key", "sender"),
    [
        ("twilio://AC12345678:s3cr3t@+15555550100", "AC12345678", "+15555550100"),
        ("twilio://AC12345678:s3cr3t@1-555-555-0100", "AC12345678", "+15555550100"),
        ("twilio://AC12345678:s3cr3t@88888", "AC12345678", "88888"),
        ("twilio://AC12345678:s3cr3t@ExamplePay", "AC12345678", "ExamplePay"),
        (f"twilio://AC12345678:s3cr3t@MG{'a' * 32}", "AC12345678", "MG" + "a" * 32),
        (f"twilio://AC12345678:s3cr3t@15555550100?apikey={A_KEY}", A_KEY, "+15555550100"),
        ("twilio://AC12345678:s3cr3t@_?from=%2B15555550100", "AC12345678", "+15555550100"),
        ("vonage://key:s3cr3t@ExamplePay", "key", "ExamplePay"),
        ("nexmo://key:s3cr3t@+15555550100/", "key", "15555550100"),
    ],
)
def test_an_sms_url_is_read_as_it_is_written(settings: Settings, url: str, key: str, sender: str) -> None:
    (courier,) = build_providers(replace(settings, testing=False, sms_urls=(url,))).by_channel[Channel.SMS]
    assert isinstance(courier, HttpSmsCourier)
    api = courier._handover._api
    assert isinstance(api, TwilioApi | VonageApi)
    assert (api.key, api.secret, api.sender) == (key, "s3cr3t", sender)
    assert (api.server.tls, api.server.port) == (True, 443)
    assert api.server.host == {"twilio": "api.twilio.com"}.get(api.schema, "rest.nexmo.com")


@pytest.mark.parametrize(
    ("url", "port", "sender", "tls"),
    [
        ("smpp://me:s3cr3t@smsc.example/+15555550100", 2775, "+15555550100", False),
        ("smpps://me:s3cr3t@smsc.example:9000/ExamplePay?system_type=OPS", 9000, "ExamplePay", True),
        ("smpps://me:s3cr3t@smsc.example/?from=88888", 3550, "88888", True),
    ],
)
def test_an_smpp_url_is_read_as_it_is_written(url: str, port: int, sender: str, tls: bool) -> None:
    server = smpp_server(url)
    assert (server.host, server.user, server.password) == ("smsc.example", "me", "s3cr3t")
    assert (server.port, server.sender, server.tls) == (port, sender, tls)
    assert "s3cr3t" not in repr(server)


@pytest.mark.parametrize(
    ("channel", "url", "limits"),
    [
        (Channel.EMAIL, GOOD_SMTP + "&rate=250", ProviderLimits(rate=250)),
        (Channel.EMAIL, GOOD_SMTP, ProviderLimits()),
        (Channel.SMS, GOOD_SMS + "?rate=0.5", ProviderLimits(rate=0.5)),
        (Channel.SMS, "vonage://a:b@Pay?Rate=30&connections=2", ProviderLimits(rate=30, connections=2)),
        (Channel.SMS, "smpp://a:b@127.0.0.1/Pay?rate=%35", ProviderLimits(rate=5)),
    ],
)
def test_a_url_says_how_fast_its_provider_may_be_asked(
    settings: Settings, channel: Channel, url: str, limits: ProviderLimits
) -> None:
    emails, texts = ((url,), ()) if channel is Channel.EMAIL else ((), (url,))
    providers = build_providers(replace(settings, email_urls=emails, sms_urls=texts))
    (courier,) = providers.by_channel[channel]
    assert courier.limits == limits


def test_limits_leave_nothing_of_themselves_in_the_url() -> None:
    known = {"rate", "connections"}
    url, limits = take_limits("x://u:p@h/a?one=1&rate=2&two=%26&connections=3", known=known)
    assert url == "x://u:p@h/a?one=1&two=%26"
    assert limits == ProviderLimits(rate=2, connections=3)
    assert take_limits("x://h?rate=2", known=known)[0] == "x://h"
    assert take_limits("x://h?connections=2", known={"rate"}) == ("x://h?connections=2", ProviderLimits())
