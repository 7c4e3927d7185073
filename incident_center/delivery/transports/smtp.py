"""SMTP, step by step: the only way to know on which side of the final dot a message was lost.

One kept connection, one message at a time. The rules of RFC 5321: until the final dot is sent, nothing was
accepted; once it is sent, only the server's reply can tell; the wait for it is ten minutes (§4.5.3.2.6).
"""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from incident_center.delivery.letters import wire_address
from incident_center.delivery.outcome import Letter, Outcome, scrub
from incident_center.delivery.transports.smtp_server import SmtpServer

# RFC 3463: bad mailbox, bad syntax, moved, null MX, disabled. Nothing else is the recipient's own fault for
# good.
_NOBODY_THERE = frozenset({"5.1.1", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})
_ENHANCED = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")
_QUEUED_AS = re.compile(r"(?:queued as|id=|Message accepted:)\s*<?([\w.@-]{4,100})", re.IGNORECASE)


class _Refused(Exception):
    """The letter ends here, with this outcome; `keep` says whether the connection can be used again."""

    def __init__(self, outcome: Outcome, *, keep: bool) -> None:
        super().__init__(outcome.code)
        self.outcome = outcome
        self.keep = keep


class SmtpConnection:
    """One kept connection; not for several threads. `deliver` never raises for what a server or a network
    does."""

    def __init__(
        self, server: SmtpServer, *, tls_context: Callable[[], ssl.SSLContext] | None = None
    ) -> None:
        self.server = server
        self._tls_context = tls_context or ssl.create_default_context
        self._tls: ssl.SSLContext | None = None
        self._smtp: smtplib.SMTP | None = None
        self._aborted = False

    def deliver(self, letter: Letter) -> Outcome:
        """Hands over one letter. A kept connection that the server has closed meanwhile is opened once
        more."""
        try:
            envelope = wire_address(letter.to)
        except ValueError as error:
            return Outcome(state="failed", code="address", detail=str(error))
        kept = self._smtp is not None
        outcome, reached = self._try(letter, envelope)
        if kept and not reached and not self._aborted:
            outcome, _ = self._try(letter, envelope)
        return outcome

    def close(self) -> None:
        """Says goodbye without waiting for an answer."""
        smtp, self._smtp = self._smtp, None
        if smtp is not None:
            with suppress(OSError, smtplib.SMTPException):
                smtp.putcmd("QUIT")
            smtp.close()

    def abort(self) -> None:
        """From another thread: whoever waits for the server waits no longer, and what was sent is unknown."""
        self._aborted = True
        sock = self._smtp.sock if self._smtp is not None else None
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _drop(self) -> None:
        smtp, self._smtp = self._smtp, None
        if smtp is not None:
            smtp.close()

    def _try(self, letter: Letter, envelope: str) -> tuple[Outcome, bool]:
        """The outcome, and whether the server answered the first command at all."""
        talk = _Conversation()
        try:
            smtp = self._smtp or self._open()
            self._hand_over(smtp, letter, envelope, talk)
        except _Refused as refused:
            if not refused.keep:
                self._drop()
            return refused.outcome, talk.answered
        except (OSError, smtplib.SMTPException, ValueError) as error:
            self._drop()
            return _lost(error, talk), talk.answered
        return talk.accepted or Outcome(state="unknown", code="no-reply"), True

    def _open(self) -> smtplib.SMTP:
        server = self.server
        try:
            smtp = self._connect()
            self._smtp = smtp
            _timeout(smtp, server.command_timeout)
            if smtp.sock is not None:
                # The dot goes out as a packet of its own; Nagle would hold it back for 40 ms.
                smtp.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._greet(smtp)
        except smtplib.SMTPResponseException as error:
            raise _Refused(_provider(error.smtp_code, error.smtp_error), keep=False) from error
        except ssl.SSLError as error:
            raise _Refused(_unreachable("tls", error), keep=False) from error
        except (OSError, smtplib.SMTPException, ValueError) as error:
            raise _Refused(_unreachable("connect", error), keep=False) from error
        return smtp

    def _connect(self) -> smtplib.SMTP:
        """Raises SMTPConnectError when the server greets with anything but 220."""
        server = self.server
        if server.tls == "implicit":
            return smtplib.SMTP_SSL(
                server.host,
                server.port,
                local_hostname=server.helo,
                timeout=server.connect_timeout,
                context=self._context(),
            )
        return smtplib.SMTP(
            server.host, server.port, local_hostname=server.helo, timeout=server.connect_timeout
        )

    def _greet(self, smtp: smtplib.SMTP) -> None:
        server = self.server
        smtp.ehlo_or_helo_if_needed()
        if server.tls in {"auto", "required"}:
            if smtp.has_extn("starttls"):
                smtp.starttls(context=self._context())
                smtp.ehlo()
            elif server.tls == "required" or server.user:
                words = "the server offers no STARTTLS; a password is not sent in the clear"
                raise _Refused(
                    Outcome(state="retry", code="tls", detail=words, provider_wide=True), keep=False
                )
        if server.user:
            smtp.login(server.user, server.password or "")

    def _context(self) -> ssl.SSLContext:
        """Built once: loading the system's certificates costs 25 ms."""
        if self._tls is None:
            self._tls = self._tls_context()
        return self._tls

    def _hand_over(self, smtp: smtplib.SMTP, letter: Letter, envelope: str, talk: _Conversation) -> None:
        options = _mail_options(smtp, self.server.sender, envelope, letter)
        code, words = smtp.docmd(f"MAIL FROM:<{self.server.sender}>{options}")
        talk.answered = code != 421  # a server that closes an idle connection has not looked at this letter
        if code != 250:
            self._refuse(smtp, _provider(code, words), code)
        code, words = smtp.docmd(f"RCPT TO:<{envelope}>")
        if code not in {250, 251}:
            self._refuse(smtp, recipient_refused(code, words), code)
        code, words = smtp.docmd("DATA")
        if code != 354:
            self._refuse(smtp, message_refused(code, words), code)
        self._send_body(smtp, letter, talk)

    def _send_body(self, smtp: smtplib.SMTP, letter: Letter, talk: _Conversation) -> None:
        smtp.send(self.server.sender_line + b"\r\n" + stuffed(letter.raw))
        talk.dot_sent = True  # from here on the server may have the message, whatever goes wrong
        _timeout(smtp, self.server.dot_timeout)
        smtp.send(b".\r\n")
        code, words = smtp.getreply()
        _timeout(smtp, self.server.command_timeout)
        if code != 250:
            talk.dot_sent = False  # a reply settles it
            outcome = message_refused(code, words)
            raise _Refused(outcome, keep=code != 421 and outcome.state != "unknown")
        talk.accepted = Outcome(state="accepted", code=str(code), provider_ref=_reference(words))

    def _refuse(self, smtp: smtplib.SMTP, outcome: Outcome, code: int) -> None:
        """Ends this letter; RSET makes the connection ready for the next, whatever comes of it."""
        keep = code > 0 and code != 421
        if keep:
            try:
                keep = smtp.docmd("RSET")[0] == 250
            except (OSError, smtplib.SMTPException):
                keep = False
        raise _Refused(outcome, keep=keep)


@dataclass
class _Conversation:
    """How far one letter has come."""

    answered: bool = False
    dot_sent: bool = False
    accepted: Outcome | None = None


def _lost(error: Exception, talk: _Conversation) -> Outcome:
    # smtplib turns a time-out into "Connection unexpectedly closed: timed out".
    kind = "timeout" if "timed out" in str(error) else "lost"
    if talk.dot_sent:
        words = "the connection ended after the message was sent and before the server's reply"
        return Outcome(state="unknown", code=f"{kind}-after-dot", detail=words)
    words = f"the connection ended before the message was complete ({type(error).__name__})"
    return Outcome(state="retry", code=kind, detail=words, provider_wide=True)


def _unreachable(code: str, error: Exception) -> Outcome:
    return Outcome(
        state="retry", code=code, detail=scrub(str(error)) or type(error).__name__, provider_wide=True
    )


def _text(words: bytes | str) -> str:
    return words.decode("utf-8", "replace") if isinstance(words, bytes) else words


def _code(code: int, words: str) -> str:
    found = _ENHANCED.search(words[:20])
    return f"{code} {found.group(1)}" if found else str(code)


def _provider(code: int, words: bytes | str) -> Outcome:
    """A refusal before any recipient was named: it concerns us, not a customer. Tried again, nobody is
    given up."""
    said = _text(words)
    return Outcome(state="retry", code=_code(code, said), detail=scrub(said), provider_wide=True)


def recipient_refused(code: int, words: bytes | str) -> Outcome:
    """What a reply to RCPT TO other than 250 means."""
    said = _text(words)
    named = _code(code, said)
    enhanced = named.partition(" ")[2]
    if code == 421 or not 400 <= code <= 599 or _is_policy(code, enhanced):
        return Outcome(state="retry", code=named, detail=scrub(said), provider_wide=True)
    if code < 500:
        return Outcome(state="retry", code=named, detail=scrub(said))
    return Outcome(state="failed", code=named, detail=scrub(said), suppress=enhanced in _NOBODY_THERE)


def message_refused(code: int, words: bytes | str) -> Outcome:
    """What a reply to DATA or to the final dot other than 250 means. It is never the recipient's fault."""
    said = _text(words)
    named = _code(code, said)
    if not 400 <= code <= 599:
        return Outcome(state="unknown", code=named, detail="the server's reply makes no sense")
    if code == 421 or _is_policy(code, named.partition(" ")[2]):
        return Outcome(state="retry", code=named, detail=scrub(said), provider_wide=True)
    return Outcome(state="retry" if code < 500 else "failed", code=named, detail=scrub(said))


def _is_policy(code: int, enhanced: str) -> bool:
    """Bad login or a policy of the provider: everybody would be refused, so nobody is given up for it."""
    return code in {530, 534, 535, 538} or enhanced.startswith("5.7.")


def _reference(words: bytes | str) -> str | None:
    found = _QUEUED_AS.search(_text(words))
    return found.group(1)[:200] if found else None


def _timeout(smtp: smtplib.SMTP, seconds: float) -> None:
    if smtp.sock is not None:
        smtp.sock.settimeout(seconds)


def stuffed(raw: bytes) -> bytes:
    """The message as DATA wants it: dots doubled at line starts, and a line end at the end."""
    if raw.startswith(b"."):
        raw = b"." + raw
    if b"\r\n." in raw:
        raw = raw.replace(b"\r\n.", b"\r\n..")
    return raw if raw.endswith(b"\r\n") else raw + b"\r\n"


def _mail_options(smtp: smtplib.SMTP, sender: str, envelope: str, letter: Letter) -> str:
    """SMTPUTF8 only for those who need it: an address whose local part or header line is not ASCII."""
    if sender.isascii() and envelope.isascii() and letter.raw.isascii():
        return ""
    if not smtp.has_extn("smtputf8"):
        words = "the server does not take addresses with letters beyond ASCII (SMTPUTF8)"
        raise _Refused(Outcome(state="failed", code="5.6.7", detail=words), keep=True)
    smtp.command_encoding = "utf-8"
    return " SMTPUTF8"
