"""A text as SMPP segments: GSM-7 one octet each, or UCS-2; several segments are joined by a header (UDH).

No character is cut in two: neither an escape from its letter, nor the halves of an emoji.
"""

from __future__ import annotations

from dataclasses import dataclass

from incident_center.playbooks.sms import count_sms

GSM7, UCS2 = 0x00, 0x08
# 3GPP TS 23.038, table 6.2.1, in the order of its codes; ESC stands in for 0x1B, which is no letter.
_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = {
    "\f": 0x0A,
    "^": 0x14,
    "{": 0x28,
    "}": 0x29,
    "\\": 0x2F,
    "[": 0x3C,
    "~": 0x3D,
    "]": 0x3E,
    "|": 0x40,
    "€": 0x65,
}
_ESCAPE = 0x1B
_CODES = {letter: bytes([code]) for code, letter in enumerate(_BASIC) if code != _ESCAPE}
_CODES |= {letter: bytes([_ESCAPE, code]) for letter, code in _EXTENSION.items()}
_ESCAPED = {code: letter for letter, code in _EXTENSION.items()}
_ROOM = {GSM7: (160, 153), UCS2: (140, 134)}  # octets of a lone segment, and of one of several
_MOST_SEGMENTS = 255


@dataclass(frozen=True)
class Segments:
    """`joined`: each part begins with a header that joins them on the phone."""

    data_coding: int
    parts: tuple[bytes, ...]

    @property
    def joined(self) -> bool:
        return len(self.parts) > 1


def segments(text: str, *, reference: int) -> Segments:
    """The parts of one message. `reference` (0 to 255) tells the phone which parts belong together.

    Raises ValueError for a text of more than 255 parts.
    """
    coding = GSM7 if count_sms(text).encoding == "gsm7" else UCS2
    letters = [_CODES[letter] if coding == GSM7 else letter.encode("utf-16-be") for letter in text]
    single, room = _ROOM[coding]
    if sum(map(len, letters)) <= single:
        return Segments(coding, (b"".join(letters),))
    parts, part = [], b""
    for letter in letters:
        if len(part) + len(letter) > room:
            parts.append(part)
            part = b""
        part += letter
    parts.append(part)
    if len(parts) > _MOST_SEGMENTS:
        raise ValueError("is too long for SMS")
    head = bytes([5, 0, 3, reference, len(parts)])
    return Segments(coding, tuple(head + bytes([at]) + part for at, part in enumerate(parts, start=1)))


def text_of(octets: bytes, data_coding: int) -> str:
    """A text that somebody sent us; what cannot be read becomes a question mark, so that STOP is still found."""
    if data_coding == UCS2:
        return octets.decode("utf-16-be", "replace")
    if data_coding in {0x01, 0x03}:
        return octets.decode("latin-1")
    letters, escaped = [], False
    for code in octets:
        if escaped:
            letters.append(_ESCAPED.get(code, "?"))
            escaped = False
        elif code == _ESCAPE:
            escaped = True
        else:
            letters.append(_BASIC[code] if code < len(_BASIC) else "?")
    return "".join(letters)
