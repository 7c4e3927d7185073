"""How many segments an SMS costs (GSM 03.38), and the characters that make it cost more than it looks."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Literal

# 3GPP TS 23.038, table 6.2.1: the basic set. The escape character itself (0x1B) is left out.
GSM_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
# Table 6.2.1.1: each of these takes an escape before it, so two septets.
GSM_EXTENSION = frozenset("^{}\\[~]|€\f")

_GSM_SINGLE, _GSM_JOINED = 160, 153
_UCS2_SINGLE, _UCS2_JOINED = 70, 67

_EQUAL = {
    "'": "‘’‚‛‹›′`´ʼ",
    '"': "“”„‟«»″",
    "-": "‐‑‒–—―−•",
    "...": "…",
    " ": "\t\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000",
    "": "\u00ad\u200b\u2060\ufeff",
}
_TABLE = str.maketrans({odd: plain for plain, group in _EQUAL.items() for odd in group})


@dataclass(frozen=True, slots=True)
class SmsCount:
    """What a text costs as an SMS.

    `units` are septets (gsm7) or 16-bit units (ucs2); `left` is how many more fit into the last segment;
    `odd` names the characters that forced ucs2, in the order of their first appearance.
    """

    encoding: Literal["gsm7", "ucs2"]
    units: int
    segments: int
    left: int
    odd: tuple[str, ...]


def normalise_sms(text: str) -> str:
    """Typographic quotes, dashes, dots and spaces as their GSM-7 equals; letters stay what they are.

    Accents that were typed as two characters become one (NFC), so that a decomposed ä is found in GSM-7.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return unicodedata.normalize("NFC", lines.translate(_TABLE)).translate(_TABLE)


def count_sms(text: str) -> SmsCount:
    """Count `text` as it stands; call `normalise_sms` first for what will be sent."""
    odd = tuple(dict.fromkeys(c for c in text if c not in GSM_BASIC and c not in GSM_EXTENSION))
    if odd:
        sizes = [2 if ord(character) > 0xFFFF else 1 for character in text]
        segments, left = _pack(sizes, _UCS2_SINGLE, _UCS2_JOINED)
        return SmsCount("ucs2", sum(sizes), segments, left, odd)
    sizes = [2 if character in GSM_EXTENSION else 1 for character in text]
    segments, left = _pack(sizes, _GSM_SINGLE, _GSM_JOINED)
    return SmsCount("gsm7", sum(sizes), segments, left, ())


def _pack(sizes: list[int], single: int, joined: int) -> tuple[int, int]:
    """Segments and the room left in the last; a character of two units is never cut in two."""
    total = sum(sizes)
    if total <= single:
        return 1, single - total
    segments, left = 1, joined
    for size in sizes:
        if size > left:
            segments, left = segments + 1, joined
        left -= size
    return segments, left
