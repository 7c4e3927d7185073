"""When to try again: pure rules."""

from __future__ import annotations

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
    """Rests a provider whose errors pile up: 15 s, then twice as long each time, 5 minutes at most."""

    FAILURES = 5
    SHORT, LONG = timedelta(seconds=15), timedelta(minutes=5)

    def __init__(self) -> None:
        self._failures = 0
        self._rests = 0
        self._until: datetime | None = None

    def resting(self, now: datetime) -> bool:
        return self._until is not None and now < self._until

    @property
    def probing(self) -> bool:
        """It has rested and not answered well since: try it with one letter, not with fifty."""
        return self._rests > 0

    def worked(self) -> None:
        self._failures = self._rests = 0
        self._until = None

    def failed(self, now: datetime, *, at_once: bool = False) -> None:
        """One refusal that was not about a recipient; `at_once` when it could not even be reached."""
        self._failures += 1
        if at_once or self._rests or self._failures >= self.FAILURES:
            self._until = now + min(self.SHORT * 2**self._rests, self.LONG)
            self._rests = min(self._rests + 1, 10)
            self._failures = 0
