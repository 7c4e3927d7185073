"""Keeps a lease alive while its people are on the wire: a final dot may take ten minutes, a lease lasts
one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from incident_center.db import Database
from incident_center.delivery.ledger import LEASE

RENEW_EVERY = LEASE.total_seconds() / 3
Renew = Callable[[Session, datetime], bool]


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


class LeaseKeeper:
    """One small thread a worker; it sleeps unless something is on the wire for longer than a third of a
    lease."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database, self._clock = database, clock
        self._current: Lease | None = None
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self.halted = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None

    @contextmanager
    def hold(self, renew: Renew) -> Iterator[Lease]:
        """Keeps a lease that was taken a moment ago, for as long as the block lasts."""
        lease = Lease(renew, self._clock() + LEASE, self._clock, self.halted)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)
            self._thread.start()
        self._current = lease
        try:
            yield lease
        finally:
            with self._lock:  # a renewal that is under way ends before the outcome is written
                self._current = None

    def stop(self) -> None:
        self._stopped = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
            self._thread = None
        self._stopped = False
        self._wake.clear()

    def _run(self) -> None:
        seen: Lease | None = None
        while not self._wake.wait(RENEW_EVERY) and not self._stopped:
            with self._lock:
                lease = self._current
                # Renewed from its second sighting on: a batch of milliseconds never costs a write.
                if lease is not None and lease is seen:
                    lease.prolong(self._database)
                seen = lease
