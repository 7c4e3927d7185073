"""A letter in the bytes that go over the wire: envelope and message, checked before anything is sent."""

from __future__ import annotations

import re
from typing import NamedTuple

from incident_center.delivery.letters import wire_address
from incident_center.delivery.outcome import Letter, Outcome
from incident_center.delivery.transports.references import METADATA
from incident_center.delivery.transports.smtp_open import Opened
from incident_center.delivery.transports.smtp_server import SmtpServer

DOT = b".\r\n"
DATA = b"DATA\r\n"
# Nearly all addresses; everything else takes the slower way through `wire_address`.
_PLAIN_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]+")


class Wire(NamedTuple):
    """One letter, ready to be sent: commands and message, each with its line ends."""

    mail: bytes
    rcpt: bytes
    body: bytes  # dots doubled, without the final one


class WireMaker:
    """Makes the bytes for one provider: its sender, its extra header, its signature."""

    def __init__(self, server: SmtpServer) -> None:
        self._sender = server.sender
        self._plain_mail = b"MAIL FROM:<" + server.sender.encode() + b">\r\n"
        self._utf8_mail = b"MAIL FROM:<" + server.sender.encode() + b"> SMTPUTF8\r\n"
        self._from_line = server.sender_line + b"\r\n"
        self._metadata = METADATA[server.metadata] if server.metadata else None
        self._signer = server.dkim
        self._as_it_is = self._metadata is None and self._signer is None

    def make(self, letter: Letter, able: Opened) -> Wire | Outcome:
        """An outcome says that this letter cannot be sent at all over a connection that is able to do this
        much."""
        to = letter.to
        if not _PLAIN_ADDRESS.fullmatch(to):
            try:
                to = wire_address(to)
            except ValueError as error:
                return Outcome(state="failed", code="address", detail=str(error))
        # SMTPUTF8 only for those who need it: an address whose local part or header line is not ASCII.
        plain = to.isascii() and letter.raw.isascii()
        if not plain and not able.smtputf8:
            words = "the server does not take addresses with letters beyond ASCII (SMTPUTF8)"
            return Outcome(state="failed", code="5.6.7", detail=words)
        if self._as_it_is:
            body = self._from_line + (letter.raw if letter.dotless else stuffed(letter.raw))
        else:
            body = self._signed(letter)
        if able.size and len(body) > able.size:
            words = f"the message is longer than the {able.size} bytes that the server takes"
            return Outcome(state="failed", code="552 5.3.4", detail=words)
        mail = self._plain_mail if plain else self._utf8_mail
        return Wire(mail, b"RCPT TO:<" + to.encode() + b">\r\n", body)

    def _signed(self, letter: Letter) -> bytes:
        message = self._from_line + letter.raw
        if self._metadata is not None:
            message = self._metadata(letter.message_id).encode() + b"\r\n" + message
        if self._signer is not None:
            message = self._signer.header(message) + message
        return stuffed(message)


def stuffed(raw: bytes) -> bytes:
    """The message as DATA wants it: dots doubled at line starts, and a line end at the end."""
    if raw.startswith(b"."):
        raw = b"." + raw
    if b"\r\n." in raw:
        raw = raw.replace(b"\r\n.", b"\r\n..")
    return raw if raw.endswith(b"\r\n") else raw + b"\r\n"
