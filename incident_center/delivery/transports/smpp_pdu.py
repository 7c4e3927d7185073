"""SMPP 3.4 on the wire: the few messages that an SMS client says and hears.

Written here, and not taken from smpplib 2.2: that library connects over IPv4 alone, cannot verify a certificate
against a name, fails on a receipt with an operator's own parameters, and cuts letters in two between segments. The
tests hold these bytes against it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

GENERIC_NACK = 0x80000000
BIND_TRANSCEIVER, UNBIND, ENQUIRE_LINK = 0x09, 0x06, 0x15
SUBMIT_SM, DELIVER_SM = 0x04, 0x05
ANSWER = 0x80000000  # the bit that makes an answer of a request

OK, TRY_LATER, REJECTED, UNKNOWN_COMMAND = 0x00, 0x64, 0x66, 0x03
RECEIPTED_MESSAGE_ID, MESSAGE_PAYLOAD, MESSAGE_STATE = 0x001E, 0x0424, 0x0427
HAS_HEADER = 0x40  # esm_class: the text begins with a header (UDH)

_HEAD = struct.Struct(">LLLL")
_LONGEST = 128 * 1024  # a message_payload has 64 kB at most


@dataclass(frozen=True)
class Pdu:
    """One message of the protocol."""

    command: int
    sequence: int
    status: int = OK
    body: bytes = field(default=b"", repr=False)

    def pack(self) -> bytes:
        return _HEAD.pack(_HEAD.size + len(self.body), self.command, self.status, self.sequence) + self.body


def take_pdu(buffer: bytearray) -> Pdu | None:
    """The first whole message, taken out of the buffer. Raises ValueError for what cannot be SMPP."""
    if len(buffer) < _HEAD.size:
        return None
    length, command, status, sequence = _HEAD.unpack_from(buffer)
    if not _HEAD.size <= length <= _LONGEST:
        raise ValueError("the server does not speak SMPP")
    if len(buffer) < length:
        return None
    body = bytes(buffer[_HEAD.size : length])
    del buffer[:length]
    return Pdu(command, sequence, status, body)


def _text(value: str) -> bytes:
    return value.encode("ascii") + b"\0"


def bind_body(system_id: str, password: str, system_type: str) -> bytes:
    return _text(system_id) + _text(password) + _text(system_type) + b"\x34\0\0" + _text("")


@dataclass(frozen=True)
class Address:
    """A number or a name, with SMPP's words for what it is (type of number, numbering plan)."""

    digits: str
    ton: int
    npi: int

    def pack(self) -> bytes:
        return bytes([self.ton, self.npi]) + _text(self.digits)


@dataclass(frozen=True, kw_only=True)
class Submit:
    """What submit_sm says of one segment."""

    sender: Address
    to: Address
    octets: bytes
    data_coding: int
    joined: bool
    validity: str
    wants_receipt: bool

    def pack(self) -> bytes:
        head = _text("") + self.sender.pack() + self.to.pack()
        head += bytes([HAS_HEADER if self.joined else 0, 0, 0]) + _text("") + _text(self.validity)
        # Nothing replaced, no text of the server's own.
        return head + bytes([int(self.wants_receipt), 0, self.data_coding, 0, len(self.octets)]) + self.octets


@dataclass(frozen=True)
class Delivered:
    """What deliver_sm brings: a receipt, or a text that somebody sent."""

    sender: Address
    esm_class: int
    data_coding: int
    octets: bytes
    extra: dict[int, bytes]


def read_deliver(body: bytes) -> Delivered:
    """Raises ValueError for a body that ends too early."""
    reader = _Reader(body)
    reader.text()  # service type
    ton, npi = reader.octet(), reader.octet()
    sender = Address(reader.text(), ton, npi)
    reader.octet(), reader.octet(), reader.text()  # our own number
    esm_class = reader.octet()
    reader.octet(), reader.octet()  # protocol, priority
    reader.text(), reader.text()  # schedule, validity
    reader.octet(), reader.octet()  # registered, replace
    data_coding = reader.octet()
    reader.octet()  # the server's own text
    octets = reader.octets(reader.octet())
    extra = reader.extra()
    octets = octets or extra.get(MESSAGE_PAYLOAD, b"")
    if esm_class & HAS_HEADER and octets:
        octets = octets[octets[0] + 1 :]
    return Delivered(sender, esm_class, data_coding, octets, extra)


def message_id(body: bytes) -> str:
    """The identity in submit_sm_resp; empty when the server named none."""
    return body.partition(b"\0")[0].decode("latin-1").strip()


def from_hex(number: str) -> str:
    """A message's number in decimal; what is no number stays as it is."""
    try:
        return str(int(number[:64], 16))
    except ValueError:
        return number


class _Reader:
    def __init__(self, body: bytes) -> None:
        self._body, self._at = body, 0

    def octets(self, count: int) -> bytes:
        found = self._body[self._at : self._at + count]
        if len(found) < count:
            raise ValueError("the message ends too early")
        self._at += count
        return found

    def octet(self) -> int:
        return self.octets(1)[0]

    def text(self) -> str:
        end = self._body.find(b"\0", self._at)
        if end < 0:
            raise ValueError("the message ends too early")
        found = self._body[self._at : end]
        self._at = end + 1
        return found.decode("latin-1")

    def extra(self) -> dict[int, bytes]:
        """Optional parameters by their tag, known or not; one that is cut short ends them."""
        found = {}
        while self._at + 4 <= len(self._body):
            tag, length = struct.unpack(">HH", self.octets(4))
            try:
                found[tag] = self.octets(length)
            except ValueError:
                break
        return found
