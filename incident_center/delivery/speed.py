"""How fast updates go out, as one process has seen it: the difference between readings of the ledger. Pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from datetime import datetime, timedelta
from threading import Lock

WINDOW = timedelta(seconds=30)
APART = timedelta(seconds=1)  # readings that are closer together say nothing new
_UPDATES = 64


class Readings:
    """Remembers the last half minute of each update that somebody looks at. For several threads."""

    def __init__(self) -> None:
        self._seen: OrderedDict[int, deque[tuple[datetime, int]]] = OrderedDict()
        self._lock = Lock()

    def rate(self, update_id: int, number: int, *, at: datetime) -> float | None:
        """Notes that `number` people have been written to; people a second, None until two readings exist."""
        with self._lock:
            readings = self._seen.setdefault(update_id, deque())
            self._seen.move_to_end(update_id)
            while len(self._seen) > _UPDATES:
                self._seen.popitem(last=False)
            if readings and number < readings[-1][1]:
                readings.clear()  # people were made due again
            while readings and at - readings[0][0] > WINDOW:
                readings.popleft()
            earliest = readings[0] if readings else None
            if earliest is None or at - readings[-1][0] >= APART:
                readings.append((at, number))
            if earliest is None or at - earliest[0] < APART:
                return None
            return (number - earliest[1]) / (at - earliest[0]).total_seconds()


def seconds_left(waiting: int, rate: float | None) -> float | None:
    """How long the waiting people take; None while nothing moves."""
    return waiting / rate if rate and rate > 0 else None
