"""Which letter a Message-ID names: the way back from `letters.message_id`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_FORM = re.compile(r"([a-z]{2,20})\.([0-9]{1,12})\.([0-9]{1,19})\.([0-9]{1,10})@([^\s<>@]{1,255})")
_BIGGEST, _BIGGEST_LONG = 2**31 - 1, 2**63 - 1


@dataclass(frozen=True)
class LetterId:
    """`about` is an update or a single message, `reader` its subscriber (0 for a single message); `second` is when it
    was published or made, in whole seconds since 1970."""

    kind: str
    second: int
    about: int
    reader: int


def read_letter_id(text: str, *, public_url: str) -> LetterId | None:
    """The letter that a Message-ID names, with or without angle brackets; None for one that is not ours."""
    found = _FORM.fullmatch(text.strip().removeprefix("<").removesuffix(">"))
    if found is None or found[5].lower() != (urlsplit(public_url).hostname or "localhost"):
        return None
    second, about, reader = (int(found[place]) for place in (2, 3, 4))
    if reader > _BIGGEST or about > (_BIGGEST if found[1] == "update" else _BIGGEST_LONG):
        return None  # the columns could not hold it
    return LetterId(found[1], second, about, reader)
