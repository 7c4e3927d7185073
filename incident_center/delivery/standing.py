"""How things stand for one subscriber, as a welcome says it: the shapes, and what fits into an SMS."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from incident_center.playbooks import count_sms, normalise_sms

_MOST_SEGMENTS = 2
_SHORTEST = 30  # a headline in another script is never cut to nothing; it may cost a third segment


class State(StrEnum):
    """What is said: everything runs; planned work; something is wrong without words yet; open incidents."""

    ALL_WELL = "all_well"
    MAINTENANCE = "maintenance"
    CHECKING = "checking"
    OPEN = "open"


@dataclass(frozen=True)
class Part:
    """A heading with its sentences, all finished."""

    heading: str
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Matter:
    """An open incident in the reader's language and zone. `next_update` is a sentence, None when nothing is
    promised or the promise is overdue; `corrected` when part of it has turned out to be wrong."""

    headline: str
    parts: tuple[Part, ...]
    next_update: str | None
    corrected: bool


@dataclass(frozen=True)
class Standing:
    """True at `at` for a reader in `zone`. `matters` only when OPEN, newest first; `worked_on` (names of
    components) only in MAINTENANCE."""

    state: State
    at: datetime
    zone: str
    matters: tuple[Matter, ...] = ()
    worked_on: tuple[str, ...] = ()


def fitted(whole: str, say: Callable[[str], str]) -> str:
    """What `say` makes of `whole` as an SMS; `whole` is cut at a space if it would take more than two segments."""
    said = normalise_sms(say(whole))
    if count_sms(said).segments <= _MOST_SEGMENTS:
        return said

    def cut(length: int) -> str:
        return normalise_sms(say(f"{whole[:length].rstrip(' ,;:.-')}..."))

    room = bisect_right(range(len(whole)), _MOST_SEGMENTS, key=lambda length: count_sms(cut(length)).segments)
    room = max(room - 1, _SHORTEST)
    space = max(whole.rfind(" ", 0, room + 1), whole.rfind("\n", 0, room + 1))
    return cut(space if space > room // 2 else room)
