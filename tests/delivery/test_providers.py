"""Settings that would lose or multiply messages in silence are refused at start, by name, without secrets."""

from __future__ import annotations

from dataclasses import replace
from email.header import decode_header, make_header

import pytest

from incident_center.config import Settings
from incident_center.delivery.providers import check_settings, smtp_server
from incident_center.delivery.transports.stock import UnusablePlugin

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
        ("email", "smtp://mail.example.com?from=a@b.example&tls=maybe", "tls"),
        ("email", "smtp://mail.example.com?from=a@b.example&dot_timeout=soon", "dot_timeout"),
        ("email", "demo-mailbox://email", "demo"),
        ("sms", GOOD_SMTP, "INCIDENT_CENTER_EMAIL_URLS"),
        ("sms", "mailto://user:s3cr3t@example.com", "write smtp://"),
        ("sms", "sendgrid://s3cr3t:a@b.example", "INCIDENT_CENTER_EMAIL_URLS"),
        ("sms", "smpp://user:s3cr3t@127.0.0.1/15555550100", "cannot tell"),
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
