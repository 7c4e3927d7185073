"""A provider's rate, kept by all workers together: one row says up to when the rate is used up.

The generic cell rate algorithm: each letter moves `paced_until` on by 1/rate seconds, and nobody may move it
further ahead than the window. It is moved in the transaction that marks the people, so that a lost worker has
spent what it marked and no more; what nobody was found for is given back there.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from incident_center.delivery.sql import is_postgres
from incident_center.models import Provider

WINDOW = 1.0  # seconds' worth of letters that may go at once
LONGEST = 60.0  # seconds for which bulk waits at the most; a rate that is used up for longer was noted by a wrong clock


def allowed(until: datetime | None, *, rate: float, want: int, now: datetime) -> tuple[int, datetime]:
    """How many of `want` letters may go now, and the moment up to which the rate is then used up.

    `rate` is letters a second. At least one letter fits into an unused window, however slow the rate is.
    """
    window = max(WINDOW, 1.0 / rate)
    start = max(until or now, now)
    if start > _end(rate, now):
        start = now
    free = window - (start - now).total_seconds()
    number = max(0, min(want, math.floor(free * rate + 1e-6)))
    return number, start + timedelta(seconds=number / rate)


def take(session: Session, provider_id: int, *, rate: float, want: int, now: datetime) -> int:
    """Reserves letters for people who are about to be marked; answers for how many. 0: come back later."""
    number, then = allowed(_until(session, provider_id), rate=rate, want=want, now=now)
    if number:
        _move(session, provider_id, then)
    return number


def give_back(session: Session, provider_id: int, *, rate: float, number: int) -> None:
    """Letters of this transaction's `take` that nobody was found for."""
    until = _until(session, provider_id)
    if until is not None:
        _move(session, provider_id, until - timedelta(seconds=number / rate))


def charge(session: Session, provider_id: int, *, rate: float, number: int, now: datetime) -> None:
    """Counts letters that overtake bulk: they are never held back, bulk waits for them."""
    then = max(_until(session, provider_id) or now, now) + timedelta(seconds=number / rate)
    _move(session, provider_id, min(then, _end(rate, now)))


def _end(rate: float, now: datetime) -> datetime:
    return now + timedelta(seconds=LONGEST + max(WINDOW, 1.0 / rate))


def _until(session: Session, provider_id: int) -> datetime | None:
    query = select(Provider.paced_until).where(Provider.id == provider_id)
    return session.execute(query.with_for_update() if is_postgres(session) else query).scalar_one()


def _move(session: Session, provider_id: int, to: datetime) -> None:
    session.execute(update(Provider).where(Provider.id == provider_id).values(paced_until=to))
