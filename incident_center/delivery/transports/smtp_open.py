"""Opening a connection, step by step with the standard library: greeting, EHLO, STARTTLS, AUTH.

This happens once for many messages, in a thread of its own; whoever drives the connection afterwards gets its socket.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from incident_center.delivery.outcome import Outcome
from incident_center.delivery.transports.smtp_replies import provider_refused, unreachable
from incident_center.delivery.transports.smtp_server import SmtpServer


class NotOpened(Exception):
    """The provider cannot be used at the moment; the outcome says why."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.code)
        self.outcome = outcome


@dataclass(frozen=True)
class Opened:
    """A socket that waits for the first MAIL, not blocking, and what the server can do."""

    sock: socket.socket
    pipelining: bool = False
    smtputf8: bool = False
    size: int = 0  # the longest message that it takes; 0: it does not say

    def close(self) -> None:
        """Says goodbye without waiting for an answer."""
        with suppress(OSError):
            self.sock.send(b"QUIT\r\n")
        with suppress(OSError):
            self.sock.close()


class Opener:
    """Opens connections to one server. One verified TLS context for all of them: building one costs 25 ms."""

    def __init__(
        self, server: SmtpServer, *, tls_context: Callable[[], ssl.SSLContext] | None = None
    ) -> None:
        self._server = server
        self._make_context = tls_context or ssl.create_default_context
        self._context: ssl.SSLContext | None = None

    def open(self) -> Opened:
        """Waits for the server. Raises NotOpened for whatever a server or a network does."""
        smtp: smtplib.SMTP | None = None
        try:
            smtp = self._connect()
            _timeout(smtp, self._server.command_timeout)
            self._greet(smtp)
            return _taken_over(smtp)
        except BaseException as error:
            if smtp is not None:
                smtp.close()
            if isinstance(error, NotOpened):
                raise
            if isinstance(error, smtplib.SMTPResponseException):
                raise NotOpened(provider_refused(error.smtp_code, error.smtp_error)) from error
            if isinstance(error, ssl.SSLError):
                raise NotOpened(unreachable("tls", error)) from error
            if isinstance(error, (OSError, smtplib.SMTPException, ValueError)):
                raise NotOpened(unreachable("connect", error)) from error
            raise

    def _connect(self) -> smtplib.SMTP:
        """Raises SMTPConnectError when the server greets with anything but 220."""
        server = self._server
        if server.tls == "implicit":
            return smtplib.SMTP_SSL(
                server.host,
                server.port,
                local_hostname=server.helo,
                timeout=server.connect_timeout,
                context=self._tls(),
            )
        return smtplib.SMTP(
            server.host, server.port, local_hostname=server.helo, timeout=server.connect_timeout
        )

    def _greet(self, smtp: smtplib.SMTP) -> None:
        server = self._server
        smtp.ehlo_or_helo_if_needed()
        if server.tls in {"auto", "required"}:
            if smtp.has_extn("starttls"):
                smtp.starttls(context=self._tls())
                smtp.ehlo()
            elif server.tls == "required" or server.user:
                words = "the server offers no STARTTLS; a password is not sent in the clear"
                raise NotOpened(Outcome(state="retry", code="tls", detail=words, provider_wide=True))
        if server.user:
            smtp.login(server.user, server.password or "")

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = self._make_context()
        return self._context


def _timeout(smtp: smtplib.SMTP, seconds: float) -> None:
    if smtp.sock is not None:
        smtp.sock.settimeout(seconds)


def _taken_over(smtp: smtplib.SMTP) -> Opened:
    """Takes the socket out of smtplib. What a server said without being asked (421, as a rule) ends it here."""
    sock, file = smtp.sock, smtp.file
    if sock is None:
        raise OSError("the connection ended during the greeting")
    sock.settimeout(0)
    # Nagle would hold a short write back for 40 ms while the one before is on its way.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    unasked = b""
    if file is not None:
        with suppress(OSError):
            unasked = file.peek()
        file.close()
    if unasked:
        code = unasked[:3]
        raise smtplib.SMTPResponseException(int(code) if code.isdigit() else -1, unasked[4:].strip())
    smtp.sock = smtp.file = None
    return Opened(
        sock,
        pipelining=smtp.has_extn("pipelining"),
        smtputf8=smtp.has_extn("smtputf8"),
        size=_size(smtp.esmtp_features.get("size", "")),
    )


def _size(words: str) -> int:
    return int(words) if words.isascii() and words.isdigit() else 0
