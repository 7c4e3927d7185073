"""Keyset pages: a cursor is opaque to callers and names the last row that they saw."""

from __future__ import annotations

import base64
import binascii
import re

from incident_center.errors import Flaw, Refused

_KEY = re.compile(r"after:([0-9]{1,19}(?:-[0-9]{1,19})?)", re.ASCII)
_BIGGEST = 2**63 - 1


def cursor_after(*key: int) -> str:
    """`key` is the last row's, in the order of the page: one number or two."""
    text = "after:" + "-".join(map(str, key))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(cursor: str | None) -> int | None:
    """The id of the last row seen; None for the first page. Raises Refused for what we did not hand out."""
    return None if cursor is None else _read(cursor, parts=1)[0]


def read_pair(cursor: str | None) -> tuple[int, int]:
    """The same for rows with a key of two numbers; (0, 0) for the first page."""
    if cursor is None:
        return 0, 0
    first, second = _read(cursor, parts=2)
    return first, second


def _read(cursor: str, *, parts: int) -> list[int]:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    found = _KEY.fullmatch(text)
    key = [int(part) for part in found[1].split("-")] if found else []
    if len(key) != parts or not all(0 < part <= _BIGGEST for part in key):
        raise Refused(
            Flaw("cursor", "unknown", "Take the cursor from the 'next' of the page before, unchanged.")
        )
    return key
