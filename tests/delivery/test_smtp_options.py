"""What an SMTP URL may ask for besides a server: signatures, a reference for webhooks, how connections are kept."""

from __future__ import annotations

import importlib
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incident_center.config import Settings
from incident_center.delivery.courier import SmtpCourier
from incident_center.delivery.outcome import Letter
from incident_center.delivery.transports.references import letter_reference, read_letter_reference
from incident_center.delivery.transports.smtp_url import smtp_server
from incident_center.delivery.transports.stock import UnusablePlugin
from incident_center.states import Channel
from tests.delivery.rawhost import rawhost

pytestmark = pytest.mark.one_database

URL = "smtp://relay.example.com?from=status@pay.example"
IDENTITY = "<update.1795305600.12.345@status.example.com>"
RAW = (
    b"To: reader@example.com\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\nMessage-ID: "
    + IDENTITY.encode()
    + b"\r\n"
    b"List-Unsubscribe: <https://status.example.com/u/x>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    b"Subject: Payouts\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\nPayouts are delayed.\r\n.\r\n..two dots\r\n"
)
LETTER = Letter(key=1, channel=Channel.EMAIL, to="reader@example.com", message_id=IDENTITY, raw=RAW)


def arrived(settings: Settings, options: str) -> bytes:
    """The message as the server has it."""
    with rawhost() as host:
        courier = SmtpCourier("email 1 smtp", smtp_server(settings, host.url + options))
        (outcome,) = courier.send([LETTER], lambda: True)
        courier.close()
    assert outcome is not None
    assert outcome.state == "accepted"
    return host.mails[0].content


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dkim") / "mail.pem"
    subprocess.run(["openssl", "genrsa", "-out", str(path), "1024"], check=True, capture_output=True)
    return path


def public_record(key: Path) -> bytes:
    printed = subprocess.run(
        ["openssl", "rsa", "-in", str(key), "-pubout"], check=True, capture_output=True, text=True
    ).stdout
    return b"v=DKIM1; k=rsa; p=" + "".join(printed.splitlines()[1:-1]).encode()


@pytest.mark.parametrize("domain", ["", "mail.pay.example"])
def test_a_signature_holds_for_the_message_that_arrives(settings: Settings, key: Path, domain: str) -> None:
    dkim: Any = pytest.importorskip("dkim")
    content = arrived(settings, f"&dkim=s1:{quote(str(key))}" + (f"&dkim_domain={domain}" if domain else ""))
    asked: list[bytes] = []

    def dns(name: bytes, timeout: int = 5) -> bytes:
        asked.append(name)
        return public_record(key)

    assert dkim.verify(content, dnsfunc=dns)
    assert asked == [f"s1._domainkey.{domain or 'pay.example'}.".encode()]
    signed = content.partition(b"bh=")[0].lower()
    for name in (b"from", b"to", b"subject", b"message-id", b"list-unsubscribe", b"list-unsubscribe-post"):
        assert name in signed
    assert not dkim.verify(content.replace(b"Payouts are", b"Payouts aren't"), dnsfunc=dns)
    assert not dkim.verify(content.replace(b"One-Click", b"No-Click"), dnsfunc=dns)


def test_a_key_that_cannot_be_used_is_refused_at_start(settings: Settings, tmp_path: Path) -> None:
    pytest.importorskip("dkim")
    odd = tmp_path / "odd.pem"
    odd.write_text("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n")
    for option, words in (
        (f"dkim=s1:{odd}", "RSA key"),
        (f"dkim=s1:{tmp_path}/none.pem", "cannot be read"),
        ("dkim=s1", "selector:/path"),
        ("dkim_domain=pay.example", "without dkim="),
    ):
        with pytest.raises(UnusablePlugin, match=words):
            smtp_server(settings, f"{URL}&{option}")


def test_without_the_library_a_signature_is_refused_at_start(
    settings: Settings, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UnusablePlugin, match="dkimpy"):
        smtp_server(settings, f"{URL}&dkim=s1:{key}")


@pytest.mark.parametrize(
    ("provider", "line"),
    [
        ("postmark", "X-PM-Metadata-letter: update.1795305600.12.345@status.example.com"),
        ("mailgun", 'X-Mailgun-Variables: {"letter": "update.1795305600.12.345@status.example.com"}'),
        ("ses", "X-SES-MESSAGE-TAGS: letter=update_2e1795305600_2e12_2e345_40status_2eexample_2ecom"),
    ],
)
def test_a_providers_webhooks_can_repeat_our_reference(settings: Settings, provider: str, line: str) -> None:
    assert line not in arrived(settings, "").decode()
    head = arrived(settings, f"&metadata={provider}").decode().partition("\r\n\r\n")[0]
    assert head.split("\r\n").count(line) == 1


@given(
    st.text(st.characters(exclude_categories=["Cs"])).filter(
        lambda text: text.strip(" <>") == text == text.strip()
    )
)
def test_a_reference_comes_back_as_it_went(bare: str) -> None:
    reference = letter_reference(f"<{bare}>")
    assert all(character.isascii() and (character.isalnum() or character in "_-") for character in reference)
    assert read_letter_reference(reference) == bare


@pytest.mark.parametrize("text", ["_", "a_4", "a_zz", "ü", "_ff"])
def test_what_is_no_reference_of_ours_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_letter_reference(text)


def test_how_connections_are_kept_is_read_from_the_url(settings: Settings) -> None:
    usual = smtp_server(settings, URL)
    assert (usual.connections, usual.messages, usual.idle, usual.metadata, usual.dkim) == (
        10,
        1000,
        60.0,
        None,
        None,
    )
    own = smtp_server(settings, f"{URL}&connections=1000&messages=0&idle=5")
    assert (own.connections, own.messages, own.idle) == (1000, 0, 5.0)


@pytest.mark.parametrize(
    "option",
    ["connections=0", "connections=1001", "connections=many", "messages=-1", "idle=0", "metadata=mandrill"],
)
def test_odd_options_are_refused_by_name(settings: Settings, option: str) -> None:
    with pytest.raises(UnusablePlugin, match=option.partition("=")[0]):
        smtp_server(settings, f"{URL}&{option}")
