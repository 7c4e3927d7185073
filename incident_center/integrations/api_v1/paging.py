"""Keyset pages: a cursor is opaque to callers and names the last row that they saw."""

from __future__ import annotations

import base64
import binascii
import re

from incident_center.errors import Flaw, Refused

_KEY = re.compile(r"after:(?P<id>[0-9]{1,19})", re.ASCII)
_BIGGEST = 2**63 - 1  # deliveries count in 64 bits


def cursor_after(row_id: int) -> str:
    return base64.urlsafe_b64encode(f"after:{row_id}".encode()).decode().rstrip("=")


def read_cursor(cursor: str | None) -> int | None:
    """The id of the last row seen; None for the first page. Raises Refused for what we did not hand out."""
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    found = _KEY.fullmatch(text)
    if found is None or not 0 < int(found["id"]) <= _BIGGEST:
        raise Refused(
            Flaw("cursor", "unknown", "Take the cursor from the 'next' of the page before, unchanged.")
        )
    return int(found["id"])
