"""What a command_status of SMPP 3.4 (§5.1.3) means for one message."""

from __future__ import annotations

from incident_center.delivery.outcome import Outcome

_GIVEN_UP = {
    0x01: "the text is too long for the server",
    0x0B: "the server does not know this number",
    0x65: "the server refuses this message for good",
}
# It would refuse everybody now: it is busy, or does not like us.
_PROVIDER_WIDE = {
    0x03: "the server does not know the command",
    0x04: "the session is not bound",
    0x05: "the account is already bound; allow one bind for each worker",
    0x08: "the server has an error of its own",
    0x0A: "the server refuses the sender",
    0x0D: "the server refuses the login",
    0x0E: "the server refuses the password",
    0x0F: "the server does not know the account",
    0x14: "the server's queue is full",
    0x48: "the server refuses the kind of sender",
    0x49: "the server refuses the kind of sender",
    0x50: "the server refuses numbers in international form",
    0x51: "the server refuses numbers in international form",
    0x53: "the server refuses the system type; set ?system_type=",
    0x58: "the server takes no more messages a second; set ?rate=",
    0x62: "the server refuses the validity period",
}


def refused(status: int) -> Outcome:
    """For every status but 0. An unknown one is tried again: it may be an operator's word for "busy"."""
    code = f"SMPP 0x{status:02X}"
    if status in _GIVEN_UP:
        return Outcome(state="failed", code=code, detail=_GIVEN_UP[status])
    words = _PROVIDER_WIDE.get(status, "the server refused the message")
    return Outcome(state="retry", code=code, detail=words, provider_wide=status in _PROVIDER_WIDE)
