"""How long bulk may keep its thread: docs/decisions/0020-bulk-keeps-its-turn.md."""

from __future__ import annotations

import time
from collections.abc import Callable

# How long bulk goes on before it asks whether single messages, retries or chunks of others wait for this thread.
BULK_SECONDS = 1.0
# How long it may go on when nobody does. To begin anew lets the wire run dry (docs/decisions/0020).
BULK_MOST = 5.0


class Turn:
    """The time that bulk has; not for several threads."""

    def __init__(self, nobody_waits: Callable[[], bool], most: float) -> None:
        self._nobody_waits = nobody_waits
        self._end = time.monotonic() + BULK_SECONDS
        self._last = time.monotonic() + most

    def goes_on(self) -> bool:
        """A second, and then another one as long as nobody else waits. Once it is over it is over: with some waves left
        out, bulk would only limp on."""
        now = time.monotonic()
        if self._end <= now < self._last:
            if self._nobody_waits():
                self._end = now + BULK_SECONDS
            else:
                self._last = now
        return now < min(self._end, self._last)
