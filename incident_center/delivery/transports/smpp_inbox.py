"""What an SMSC tells us by itself: delivery receipts, and texts that customers send."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from incident_center.delivery.transports import smpp_pdu as pdu
from incident_center.delivery.transports.smpp_text import text_of

ReceiptState = Literal["delivered", "failed", "unknown"]
Text = tuple[str, str]  # number and words

_KIND, _TEXT, _RECEIPT = 0x3C, 0x00, 0x04  # bits of esm_class; the others say less than a receipt
_ID = re.compile(r"\bid:\s*(\S+)", re.IGNORECASE)
_STATE = re.compile(r"\bstat:\s*(\w+)", re.IGNORECASE)
_ERROR = re.compile(r"\berr:\s*(\w+)", re.IGNORECASE)
_NAMES = {
    1: "ENROUTE",
    2: "DELIVRD",
    3: "EXPIRED",
    4: "DELETED",
    5: "UNDELIV",
    6: "ACCEPTD",
    7: "UNKNOWN",
    8: "REJECTD",
}
_STATES: dict[str, ReceiptState] = {
    "DELIVRD": "delivered",
    "EXPIRED": "failed",
    "DELETED": "failed",
    "UNDELIV": "failed",
    "REJECTD": "failed",
    "UNKNOWN": "unknown",
}
_INTERNATIONAL = 1
_MOST = 10_000  # kept for the engine; beyond, the SMSC is asked to come back later


@dataclass(frozen=True)
class SmppReceipt:
    """What became of a message. `code` is the SMSC's word and error number; `at` is when it reached us, because
    the SMSC's own times carry no zone."""

    provider_ref: str
    state: ReceiptState
    code: str
    at: datetime


class SmppInbox:
    """Receipts and texts until the engine has written them down. Once `closed`, the SMSC keeps what it has."""

    def __init__(self, clock: Callable[[], datetime], *, hex_ids: bool) -> None:
        self._clock, self._hex_ids = clock, hex_ids
        self.receipts: deque[SmppReceipt] = deque()
        self.texts: deque[Text] = deque()
        self.closed = False

    def put(self, body: bytes) -> int:
        """Keeps what deliver_sm brings; answers the status for deliver_sm_resp."""
        if self.closed or len(self.receipts) + len(self.texts) >= _MOST:
            return pdu.TRY_LATER
        try:
            brought = pdu.read_deliver(body)
        except ValueError:
            return pdu.REJECTED
        kind = brought.esm_class & _KIND
        if kind == _RECEIPT:
            receipt = _receipt(brought, self._clock(), hex_ids=self._hex_ids)
            if receipt is not None:
                self.receipts.append(receipt)
        elif kind == _TEXT:
            self.texts.append((_number(brought.sender), text_of(brought.octets, brought.data_coding)))
        return pdu.OK


def _receipt(brought: pdu.Delivered, at: datetime, *, hex_ids: bool) -> SmppReceipt | None:
    """None for a receipt that names no message, or says only that it is on its way."""
    words = brought.octets.decode("latin-1")
    named = brought.extra.get(pdu.RECEIPTED_MESSAGE_ID, b"").partition(b"\0")[0].decode("latin-1")
    reference = _decimal(_found(_ID, words), named) if hex_ids else named or _found(_ID, words)
    number = brought.extra.get(pdu.MESSAGE_STATE, b"")
    stated = _NAMES.get(number[0], "") if number else _found(_STATE, words).upper()
    state = _STATES.get(stated)
    if not reference or state is None:
        return None
    code = f"{stated} {_found(_ERROR, words)}".strip()[:24]
    return SmppReceipt(reference[:200], state, code, at)


def _decimal(said: str, named: str) -> str:
    """The words count in decimal, with zeros in front; the parameter repeats the answer's hexadecimal."""
    return said.lstrip("0") if said.isdecimal() else pdu.from_hex(said or named)


def _found(pattern: re.Pattern[str], words: str) -> str:
    found = pattern.search(words)
    return found.group(1) if found else ""


def _number(sender: pdu.Address) -> str:
    """The number with its plus, as subscribers' numbers are kept."""
    digits = sender.digits.strip()
    international = sender.ton == _INTERNATIONAL or (sender.ton == 0 and not digits.startswith("0"))
    return f"+{digits}" if digits.isdigit() and international else digits
