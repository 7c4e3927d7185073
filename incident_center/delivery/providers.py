"""From configured URLs to couriers. Odd options are refused at start, by setting, position and name.

Apprise takes options in a URL that make it lose or multiply messages in silence: `optional` turns every
refusal into success, `redirect` follows a 302 as a GET and calls that success, `overflow=split` makes three
SMS of one, `cc` adds recipients. None of them may stand in a configured URL.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from urllib.parse import urlsplit

from incident_center import clock
from incident_center.config import Settings
from incident_center.delivery.courier import Courier, MailboxCourier, SmtpCourier, StockCourier
from incident_center.delivery.letters import header, message_id, quoted, raw_email, wire_address
from incident_center.delivery.limits import ProviderLimits, take_limits
from incident_center.delivery.mailbox import MailboxStore, mailbox_path
from incident_center.delivery.outcome import Letter, Outcome
from incident_center.delivery.references import receipt_reference
from incident_center.delivery.sms_couriers import HttpSmsCourier, SmppCourier
from incident_center.delivery.team import StaffChannel, staff_entry
from incident_center.delivery.transports.http_sms import ReceiptUrls
from incident_center.delivery.transports.sms_url import OWN_SMS, SMPP, TWILIO, own_api, smpp_server
from incident_center.delivery.transports.smtp_url import from_line, smtp_server, url_options
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
_FORBIDDEN = frozenset({"retry", "wait", "optional", "verify", "redirect", "overflow", "to", "cc", "bcc"})
_FORBIDDEN_FOR_STAFF = frozenset({"retry", "wait", "optional", "verify", "redirect"})
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
        "groundmail",
        "sendpulse",
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
        return MailboxCourier(name, store, now=now, from_line=from_line(settings.company, "demo@example.com"))
    _refuse_options(url, _FORBIDDEN)
    _refuse_wrong_channel(channel, schema)
    known = {"rate"} if schema not in OWN_SMS else {"rate", "connections"}
    url, limits = take_limits(url, known=known)
    if schema in _OWN:
        server = smtp_server(settings, url)
        courier: Courier = SmtpCourier(name, server)
        if "connections" in url_options(urlsplit(url)):  # without it, each worker keeps a few
            limits = replace(limits, connections=server.connections)
    elif schema in OWN_SMS:
        courier = _own_sms(settings, name, url, limits, now=now)
    else:
        _refuse_limits(url)
        courier = StockCourier(name, StockPlugin(url, channel))
    courier.limits = limits
    return courier


def _refuse_wrong_channel(channel: Channel, schema: str) -> None:
    if schema in _CANNOT_TELL:
        raise UnusablePlugin(
            f"cannot tell a refused message from an accepted one; write {schema.replace('mailto', 'smtp')}://"
            "user:password@host:port?from=address instead"
        )
    if channel is Channel.SMS and schema in _EMAIL_SCHEMAS | _OWN:
        raise UnusablePlugin("is an e-mail provider; it belongs into " + _NAMES[Channel.EMAIL])
    if channel is Channel.EMAIL and schema not in _EMAIL_SCHEMAS | _OWN:
        raise UnusablePlugin("is not an e-mail provider that Apprise has; use smtp:// or smtps://")


def _own_sms(
    settings: Settings, name: str, url: str, limits: ProviderLimits, *, now: Callable[[], datetime]
) -> Courier:
    schema = _schema(url)
    if schema in SMPP:
        return SmppCourier(name, smpp_server(url), clock=now, limits=limits)
    stub = settings.testing or settings.demo
    api = own_api(schema, url, clock=now, stub=stub, receipts=_receipts(settings, schema))
    return HttpSmsCourier(name, api, limits=limits)


def _receipts(settings: Settings, schema: str) -> ReceiptUrls | None:
    """Where the provider reports to; None where it could not, or only in the clear."""
    if not settings.public_url.startswith("https://"):
        return None
    own = TWILIO if schema == TWILIO else "vonage"
    return ReceiptUrls(f"{settings.public_url}/hooks/{own}", partial(receipt_reference, settings.secret_key))


def _refuse_limits(url: str) -> None:
    """What the library would still read as one of our options, and we did not."""
    for option in option_names(url):
        if option.strip() in {"rate", "connections"}:
            raise UnusablePlugin(f"must not carry the option “{option}” there; write ?rate= or &rate=, once")


def _schema(url: str) -> str:
    return url.partition("://")[0].rpartition("=")[2].lower()


def _mailbox(settings: Settings) -> MailboxStore:
    if not (settings.demo or settings.testing):
        raise UnusablePlugin("sends nothing; it is for the demo alone")
    return MailboxStore(mailbox_path(settings.data_dir))


def _refuse_options(url: str, forbidden: frozenset[str]) -> None:
    for option in (*url_options(urlsplit(url)), *option_names(url)):
        if option.strip().lstrip("+-:") in forbidden:
            raise UnusablePlugin(f"must not carry the option “{option}”; delivery decides that itself")


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
        to = wire_address(url_options(urlsplit(url)).get("to", ""))
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
