"""Where to hand mail in, over how many connections, and how long to wait there."""

from __future__ import annotations

from dataclasses import dataclass, field

from incident_center.delivery.transports.smtp_dkim import DkimSigner

DOT_TIMEOUT = 600.0  # RFC 5321 §4.5.3.2.6
COMMAND_TIMEOUT = 60.0  # RFC 5321 asks for 300 s; a relay that needs more than 60 is rested
CONNECT_TIMEOUT = 15.0


@dataclass(frozen=True, kw_only=True)
class SmtpServer:
    """Where to hand mail in. `tls`: "implicit" (smtps), "auto" (STARTTLS where offered), "required",
    "none"."""

    host: str
    port: int
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: str = "auto"
    sender: str  # the envelope's and the From line's address
    sender_line: bytes  # the whole From line without its line end
    helo: str = "localhost"
    dot_timeout: float = DOT_TIMEOUT
    command_timeout: float = COMMAND_TIMEOUT
    connect_timeout: float = CONNECT_TIMEOUT
    connections: int = 10  # at most, side by side
    messages: int = 1000  # over one connection, then it is renewed; 0: any number
    idle: float = 60.0  # a connection that was silent for longer is not used again
    metadata: str | None = None  # a provider whose webhooks repeat our reference: postmark, mailgun, ses
    dkim: DkimSigner | None = field(default=None, repr=False)
