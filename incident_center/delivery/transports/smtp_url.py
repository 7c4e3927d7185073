"""smtp(s)://user:pass@host:port?from=… : what it may say, and what is refused with a sentence that helps."""

from __future__ import annotations

from email.utils import formataddr, parseaddr
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from incident_center.config import Settings
from incident_center.delivery.letters import wire_address
from incident_center.delivery.limits import MOST_CONNECTIONS
from incident_center.delivery.transports.references import METADATA
from incident_center.delivery.transports.smtp_dkim import DkimSigner, dkim_signer
from incident_center.delivery.transports.smtp_server import DOT_TIMEOUT, SmtpServer
from incident_center.delivery.transports.stock import UnusablePlugin, refuse_unknown

_OPTIONS = frozenset({"from", "name", "tls", "helo", "dot_timeout", "timeout"}) | frozenset(
    {"connections", "messages", "idle", "dkim", "dkim_domain", "metadata"}
)
_TLS = {"auto", "required", "none"}


def url_options(parts: SplitResult) -> dict[str, str]:
    return {key.lower(): value for key, value in parse_qsl(parts.query, keep_blank_values=True)}


def smtp_server(settings: Settings, url: str, *, more: frozenset[str] = frozenset()) -> SmtpServer:
    """Reads smtp(s)://user:pass@host:port?from=… ; `more` are options that the caller reads itself.

    Options: from (needed), name (the sender's name, the company by default), tls (auto, required, none;
    smtp only), helo, timeout and dot_timeout in seconds; connections (1 to 1000), messages over one connection
    (0: any number), idle (seconds after which a silent connection is not used again); dkim=selector:/path/to/key.pem
    and dkim_domain (the sender's by default); metadata=postmark|mailgun|ses (the provider's webhooks then repeat our
    reference). Raises UnusablePlugin.
    """
    parts = urlsplit(url)
    options = url_options(parts)
    refuse_unknown(options, _OPTIONS | more)
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
    if not sender.isascii():
        raise UnusablePlugin(
            "has a sender with letters beyond ASCII before the @; not every server takes such a one"
        )
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
        sender_line=from_line(options.get("name") or name or settings.company, sender),
        helo=options.get("helo") or sender.rpartition("@")[2],
        dot_timeout=_seconds(options, "dot_timeout", DOT_TIMEOUT),
        command_timeout=_seconds(options, "timeout", SmtpServer.command_timeout),
        connect_timeout=min(_seconds(options, "timeout", 60.0), SmtpServer.connect_timeout),
        connections=_number(options, "connections", SmtpServer.connections, low=1, high=MOST_CONNECTIONS),
        messages=_number(options, "messages", SmtpServer.messages, low=0, high=1_000_000),
        idle=_seconds(options, "idle", SmtpServer.idle),
        metadata=_metadata(options),
        dkim=_dkim(options, sender),
    )


def from_line(name: str, address: str) -> bytes:
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


def _number(options: dict[str, str], name: str, default: int, *, low: int, high: int) -> int:
    words = options.get(name, str(default))
    value = int(words) if words.isascii() and words.isdigit() and len(words) < 9 else -1
    if not low <= value <= high:
        raise UnusablePlugin(f"has an odd {name}; it is a number from {low} to {high}")
    return value


def _metadata(options: dict[str, str]) -> str | None:
    named = options.get("metadata")
    if named is not None and named not in METADATA:
        raise UnusablePlugin(f"has an odd metadata option; known: {', '.join(sorted(METADATA))}")
    return named


def _dkim(options: dict[str, str], sender: str) -> DkimSigner | None:
    if "dkim" in options:
        return dkim_signer(options["dkim"], options.get("dkim_domain") or sender.rpartition("@")[2])
    if "dkim_domain" in options:
        raise UnusablePlugin("has a dkim_domain without dkim=selector:/path/to/key.pem")
    return None
