"""When to try again: pure rules."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

FIRST = timedelta(seconds=30)
LONGEST = timedelta(minutes=15)
SHORTEST = timedelta(seconds=1)
GIVE_UP_AFTER = timedelta(hours=4)
RESEND_UNKNOWN_AFTER = timedelta(seconds=60)  # time for a receipt, or for the provider to come to itself


def next_try(
    attempts: int,
    *,
    now: datetime,
    since: datetime,
    chance: float,
    retry_after: float | None = None,
) -> datetime | None:
    """When to try for the next time after `attempts` (1 or more) tries; None when it has gone on for 4 hours.

    Doubles from 30 s to 15 min. `chance`, from 0 to 1, spreads people over the second half of each wait, so
    that they do not all come back at once. A provider's Retry-After (seconds) is honoured within 1 s and 15
    min.
    """
    if retry_after is not None:
        wait = min(max(timedelta(seconds=min(retry_after, 86400)), SHORTEST), LONGEST)
    else:
        doubled = FIRST * 2 ** min(attempts - 1, 10)
        wait = min(doubled, LONGEST) * (0.5 + min(max(chance, 0.0), 1.0) / 2)
    at = now + wait
    return at if at <= since + GIVE_UP_AFTER else None


def parse_retry_after(value: str, *, now: datetime) -> float | None:
    """Seconds from a Retry-After header: a number or an HTTP date (RFC 9110 §10.2.3); None for anything
    else."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())


class Breaker:
    """When to rest a provider: errors in a row, or half of its last answers; 15 s, then twice as long each time.

    Pure: it knows no clock. `rests` counts the rests since the last good answer after one.
    """

    IN_A_ROW = 5
    WINDOW, AT_LEAST = 40, 20
    SHORT, LONG = timedelta(seconds=15), timedelta(minutes=5)

    def __init__(self) -> None:
        self.rests = 0
        self._in_a_row = 0
        self._answers: deque[bool] = deque(maxlen=self.WINDOW)

    def worked(self) -> None:
        self._in_a_row = 0
        self._answers.append(True)

    def failed(self, *, at_once: bool = False) -> timedelta | None:
        """One refusal that was not about a recipient; how long to rest, or None for going on.

        `at_once`: it could not even be reached, or it was being tried after a rest.
        """
        self._in_a_row += 1
        self._answers.append(False)
        bad = self._answers.count(False)
        often = len(self._answers) >= self.AT_LEAST and 2 * bad >= len(self._answers)
        if not (at_once or often or self._in_a_row >= self.IN_A_ROW):
            return None
        rest = min(self.SHORT * int(2 ** min(self.rests, 10)), self.LONG)
        self.rests = min(self.rests + 1, 10)
        self._in_a_row = 0
        self._answers.clear()
        return rest
