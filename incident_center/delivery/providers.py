"""From configured URLs to couriers. Odd options are refused at start, by setting, position and name.

Apprise takes options in a URL that make it lose or multiply messages in silence: `optional` turns every
refusal into success, `redirect` follows a 302 as a GET and calls that success, `overflow=split` makes three
SMS of one, `cc` adds recipients. None of them may stand in a configured URL.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import formataddr, parseaddr
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from incident_center import clock
from incident_center.config import Settings
from incident_center.delivery.courier import Courier, MailboxCourier, SmtpCourier, StockCourier
from incident_center.delivery.letters import header, message_id, quoted, raw_email, wire_address
from incident_center.delivery.mailbox import MailboxStore, mailbox_path
from incident_center.delivery.outcome import Letter, Outcome
from incident_center.delivery.team import StaffChannel, staff_entry
from incident_center.delivery.transports.smtp_server import DOT_TIMEOUT, SmtpServer
from incident_center.delivery.transports.stock import (
    StaffUrl,
    StockPlugin,
    Teller,
    UnusablePlugin,
    option_names,
    quiet_logger,
)
from incident_center.states import Channel

MAILBOX = "demo-mailbox"
_OWN = frozenset({"smtp", "smtps"})
_CANNOT_TELL = frozenset({"mailto", "mailtos"})
_ALWAYS_SUCCESS = frozenset({"smpp", "smpps"})
_FORBIDDEN = frozenset({"retry", "wait", "optional", "verify", "redirect", "overflow", "to", "cc", "bcc"})
_FORBIDDEN_FOR_STAFF = frozenset({"retry", "wait", "optional", "verify", "redirect"})
_SMTP_OPTIONS = frozenset({"from", "name", "tls", "helo", "dot_timeout", "timeout"})
_TLS = {"auto", "required", "none"}
_NAMES = {
    Channel.EMAIL: "INCIDENT_CENTER_EMAIL_URLS",
    Channel.SMS: "INCIDENT_CENTER_SMS_URLS",
    None: "INCIDENT_CENTER_STAFF_URLS",
}
# What each channel's service must at least be able to do; e-mail services that Apprise has.
_EMAIL_SCHEMAS = frozenset(
    [
        "mailgun",
        "sendgrid",
        "ses",
        "postmark",
        "brevo",
        "resend",
        "mailersend",
        "smtp2go",
        "sparkpost",
        "o365",
        "azure",
        "outlook",
        "groundmail",
        "sendpulse",
        "lauther",
    ]
)


@dataclass
class Providers:
    """The couriers of one worker, first preferred."""

    by_channel: dict[Channel, list[Courier]] = field(default_factory=dict)
    staff: list[StaffChannel] = field(default_factory=list)

    def close(self) -> None:
        for couriers in self.by_channel.values():
            for courier in couriers:
                courier.close()

    def abort(self) -> None:
        """From another thread: no courier waits any longer."""
        for couriers in self.by_channel.values():
            for courier in couriers:
                courier.abort()


def check_settings(settings: Settings) -> list[str]:
    """What is wrong with the configured providers, one sentence each; nothing is sent and no secret
    repeated."""
    problems = []
    for channel, urls in (
        (Channel.EMAIL, settings.email_urls),
        (Channel.SMS, settings.sms_urls),
        (None, settings.staff_urls),
    ):
        for position, url in enumerate(urls, start=1):
            try:
                _make(settings, channel, position, url, now=clock.now)
            except UnusablePlugin as problem:
                problems.append(f"{_NAMES[channel]}, entry {position} ({_schema(url)}://): {problem}")
    if not settings.email_urls and not settings.sms_urls:
        problems.append(
            f"{_NAMES[Channel.EMAIL]}: is missing, and so is {_NAMES[Channel.SMS]}; without a provider no customer"
            " can be written to"
        )
    return problems


def build_providers(settings: Settings, *, now: Callable[[], datetime] = clock.now) -> Providers:
    """The couriers of one worker. Raises UnusablePlugin for what `check_settings` would have refused."""
    quiet_logger()
    providers = Providers()
    for channel, urls in ((Channel.EMAIL, settings.email_urls), (Channel.SMS, settings.sms_urls)):
        made = [_make(settings, channel, place, url, now=now) for place, url in enumerate(urls, start=1)]
        providers.by_channel[channel] = [courier for courier in made if not isinstance(courier, StaffChannel)]
    for place, url in enumerate(settings.staff_urls, start=1):
        told = _make(settings, None, place, url, now=now)
        if isinstance(told, StaffChannel):
            providers.staff.append(told)
    return providers


def _make(
    settings: Settings, channel: Channel | None, position: int, url: str, *, now: Callable[[], datetime]
) -> Courier | StaffChannel:
    schema = _schema(url)
    name = f"{channel.value if channel else 'staff'} {position} {schema}"
    if channel is None:
        return _staff(settings, name, url, now=now)
    if schema == MAILBOX:
        store = _mailbox(settings)
        return MailboxCourier(
            name, store, now=now, from_line=_from_line(settings.company, "demo@example.com")
        )
    _refuse_options(url, _FORBIDDEN)
    if schema in _OWN:
        if channel is not Channel.EMAIL:
            raise UnusablePlugin("is an e-mail provider; it belongs into " + _NAMES[Channel.EMAIL])
        return SmtpCourier(name, smtp_server(settings, url))
    if schema in _CANNOT_TELL:
        raise UnusablePlugin(
            f"cannot tell a refused message from an accepted one; write {schema.replace('mailto', 'smtp')}://"
            "user:password@host:port?from=address instead"
        )
    if schema in _ALWAYS_SUCCESS:
        raise UnusablePlugin(
            "cannot tell a refused message from an accepted one; use the operator's HTTP service"
        )
    if channel is Channel.SMS and schema in _EMAIL_SCHEMAS:
        raise UnusablePlugin("is an e-mail provider; it belongs into " + _NAMES[Channel.EMAIL])
    if channel is Channel.EMAIL and schema not in _EMAIL_SCHEMAS:
        raise UnusablePlugin("is not an e-mail provider that Apprise has; use smtp:// or smtps://")
    return StockCourier(name, StockPlugin(url, channel))


def _schema(url: str) -> str:
    return url.partition("://")[0].rpartition("=")[2].lower()


def _mailbox(settings: Settings) -> MailboxStore:
    if not (settings.demo or settings.testing):
        raise UnusablePlugin("sends nothing; it is for the demo alone")
    return MailboxStore(mailbox_path(settings.data_dir))


def _refuse_options(url: str, forbidden: frozenset[str]) -> None:
    for option in (*_options(urlsplit(url)), *option_names(url)):
        if option.strip().lstrip("+-:") in forbidden:
            raise UnusablePlugin(f"must not carry the option “{option}”; delivery decides that itself")


def _options(parts: SplitResult) -> dict[str, str]:
    return {key.lower(): value for key, value in parse_qsl(parts.query, keep_blank_values=True)}


def smtp_server(settings: Settings, url: str, *, more: frozenset[str] = frozenset()) -> SmtpServer:
    """Reads smtp(s)://user:pass@host:port?from=… ; `more` are options that the caller reads itself.

    Options: from (needed), name (the sender's name, the company by default), tls (auto, required, none;
    smtp only), helo, timeout and dot_timeout in seconds. Raises UnusablePlugin.
    """
    parts = urlsplit(url)
    options = _options(parts)
    for option in options.keys() - _SMTP_OPTIONS - more:
        raise UnusablePlugin(f"has an unknown option “{option}”; known: {', '.join(sorted(_SMTP_OPTIONS))}")
    try:
        port = parts.port
    except ValueError as error:
        raise UnusablePlugin("has no usable port") from error
    if not parts.hostname:
        raise UnusablePlugin("names no host")
    secure = parts.scheme.lower() == "smtps"
    name, sender = parseaddr(options.get("from", ""))
    try:
        sender = wire_address(sender)
    except ValueError as error:
        raise UnusablePlugin("needs ?from= with the sender's address") from error
    tls = options.get("tls", "auto")
    if tls not in _TLS or (secure and "tls" in options):
        raise UnusablePlugin("has an odd tls option: auto, required or none, and for smtp:// only")
    user = unquote(parts.username) if parts.username else None
    return SmtpServer(
        host=parts.hostname,
        port=port or (465 if secure else 587 if user else 25),
        user=user,
        password=unquote(parts.password) if parts.password else None,
        tls="implicit" if secure else tls,
        sender=sender,
        sender_line=_from_line(options.get("name") or name or settings.company, sender),
        helo=options.get("helo") or sender.rpartition("@")[2],
        dot_timeout=_seconds(options, "dot_timeout", DOT_TIMEOUT),
        command_timeout=_seconds(options, "timeout", SmtpServer.command_timeout),
        connect_timeout=min(_seconds(options, "timeout", 60.0), SmtpServer.connect_timeout),
    )


def _from_line(name: str, address: str) -> bytes:
    if not name.isprintable():
        raise UnusablePlugin("has a sender's name that cannot stand in a header")
    return b"From: " + formataddr((name, address)).encode()


def _seconds(options: dict[str, str], name: str, default: float) -> float:
    try:
        value = float(options.get(name, default))
    except ValueError as error:
        raise UnusablePlugin(f"has an odd {name}; it is in seconds") from error
    if not 0.05 <= value <= 3600:
        raise UnusablePlugin(f"has an odd {name}; it is in seconds, at most 3600")
    return value


def _staff(settings: Settings, name: str, url: str, *, now: Callable[[], datetime]) -> StaffChannel:
    group, url = staff_entry(url)
    schema = _schema(url)
    if schema == MAILBOX:
        return StaffChannel(name, _mailbox_teller(_mailbox(settings), now=now), group)
    _refuse_options(url, _FORBIDDEN_FOR_STAFF)
    if schema in _OWN:
        return StaffChannel(name, _mail_teller(settings, name, url, now=now), group)
    return StaffChannel(name, StaffUrl(url).tell, group)


def _mailbox_teller(store: MailboxStore, *, now: Callable[[], datetime]) -> Teller:
    def tell(subject: str, text: str) -> Outcome:
        store.add(channel="staff", to="crisis team", subject=subject, text=text, at=now())
        return Outcome(state="accepted", code="250")

    return tell


def _mail_teller(settings: Settings, name: str, url: str, *, now: Callable[[], datetime]) -> Teller:
    """smtp(s)://…?from=…&to=…: one plain e-mail to the team's own address."""
    courier = SmtpCourier(name, smtp_server(settings, url, more=frozenset({"to"})))
    try:
        to = wire_address(_options(urlsplit(url)).get("to", ""))
    except ValueError as error:
        raise UnusablePlugin("needs ?to= with the team's address") from error

    def tell(subject: str, text: str) -> Outcome:
        at = now()
        identity = message_id(settings.public_url, kind="staff", about=int(at.microsecond), reader=0, at=at)
        raw = raw_email(
            to=to,
            subject=header("Subject", " ".join(subject.split())),
            message_id=identity,
            date=at,
            headers={},
            text=quoted(text),
            html=None,
        )
        letter = Letter(
            key=0, channel=Channel.EMAIL, to=to, message_id=identity, subject=subject, text=text, raw=raw
        )
        outcome = courier.send([letter], lambda: True)[0]
        courier.close()
        return outcome or Outcome(state="unknown", code="crash")

    return tell
