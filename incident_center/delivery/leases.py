"""Keeps a lease alive while its people are on the wire: a final dot may take ten minutes, a lease lasts
one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TypeVar

import structlog
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from incident_center.db import Database
from incident_center.delivery.ledger import LEASE
from incident_center.delivery.sql import is_away

RENEW_EVERY = LEASE.total_seconds() / 3
_AWAY_SECONDS = 0.5
Value = TypeVar("Value")
Renew = Callable[[Session, datetime], bool]
_log = structlog.get_logger()


class Lease:
    """One lease that is being kept. `is_ours` is asked before every letter."""

    def __init__(
        self,
        renew: Renew,
        until: datetime,
        clock: Callable[[], datetime],
        halted: threading.Event | None = None,
    ) -> None:
        self._renew, self._until, self._clock = renew, until, clock
        self._halted = halted or threading.Event()
        self._lost = False

    def is_ours(self) -> bool:
        """False once it may have run out, for a worker that was asleep must not go on sending, and once the
        worker is told to end."""
        return not self._lost and not self._halted.is_set() and self._clock() < self._until

    def may_wait(self) -> bool:
        """Whether outcomes that cannot be written now may wait: until the worker is told to end, and then for as
        long as the lease stands."""
        return not self._halted.is_set() or (not self._lost and self._clock() < self._until)

    def give_up(self) -> None:
        """What is still on its way to the wire does not go there."""
        self._lost = True

    def renewed(self, since: datetime) -> None:
        """A settlement has prolonged it from `since` on, unless it had run out: a worker that was asleep must not send
        the rest of what it had marked, somebody else has taken those people over."""
        if self._clock() < self._until:
            self._until = max(self._until, since + LEASE)

    def prolong(self, database: Database) -> None:
        until = self._clock() + LEASE
        try:
            with database.transaction() as session:
                kept = self._renew(session, until)
        except SQLAlchemyError:
            return  # the database is away: the lease stands until it runs out
        if kept:
            self._until = until
        else:
            self._lost = True


def surely(
    write: Callable[[], Value], lease: Lease, *, sleep: Callable[[float], object] = time.sleep
) -> Value:
    """Writes outcomes, again and again while the database is away.

    They are known here and nowhere else: given up, these people would be unknown and written to twice. Late is
    no harm: where nobody has taken them over it is as good as in time, and otherwise it still saves second copies.
    Nor is a commit whose answer was lost: the write finds its own rows and leaves them. What the database refuses
    it would refuse for ever, so that is raised.
    """
    warned = False
    while True:
        try:
            return write()
        except DBAPIError as error:
            if not is_away(error) or not lease.may_wait():
                raise
            if not warned:
                _log.warning("outcomes_wait_for_the_database", why=type(error.orig).__name__)
            warned = True
            sleep(_AWAY_SECONDS)


class LeaseKeeper:
    """One small thread a worker; it sleeps unless something is on the wire for longer than a third of a
    lease."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database, self._clock = database, clock
        self._held: list[Lease] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self.halted = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None

    @contextmanager
    def hold(self, renew: Renew, *, since: datetime) -> Iterator[Lease]:
        """Keeps a lease that was taken at `since`, for as long as the block lasts."""
        lease = self.keep(renew, since=since)
        try:
            yield lease
        finally:
            self.drop(lease)

    def keep(self, renew: Renew, *, since: datetime) -> Lease:
        """Keeps a lease until it is dropped. It was taken at `since`, the moment that the database was told: the commit
        may have taken its time, and nobody may believe in a lease for longer than the others do."""
        lease = Lease(renew, since + LEASE, self._clock, self.halted)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)
            self._thread.start()
        with self._lock:
            self._held.append(lease)
        return lease

    def drop(self, lease: Lease) -> None:
        """A renewal that is under way ends before this returns, so before the outcome is written."""
        with self._lock:
            if lease in self._held:
                self._held.remove(lease)

    def stop(self) -> None:
        self._stopped = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
            self._thread = None
        self._stopped = False
        self._wake.clear()

    def _run(self) -> None:
        seen: list[Lease] = []
        while not self._wake.wait(RENEW_EVERY) and not self._stopped:
            with self._lock:
                # Renewed from its second sighting on: a wave of milliseconds never costs a write.
                for lease in self._held:
                    if any(lease is one for one in seen):
                        self._prolong(lease)
                seen = list(self._held)

    def _prolong(self, lease: Lease) -> None:
        try:
            lease.prolong(self._database)
        except Exception:  # noqa: BLE001 (whatever it is, the other leases are kept)
            _log.exception("lease_not_prolonged")
