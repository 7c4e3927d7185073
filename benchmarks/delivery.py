"""One measured fan-out, the whole path of the product: published by the verb, delivered by real workers, and
counted at both ends. A number that does not add up is an error, never a result."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from benchmarks.installation import POSTGRESQL, Installation
from benchmarks.relay import wait_for_progress, wait_until
from benchmarks.workers import Workers

PATIENCE = 60.0  # seconds without a single new message
_FIRST_SECONDS = 30.0
_LOOK_SECONDS = 0.02
_SAMPLE_SECONDS = 0.5


class Destination(Protocol):
    def taken(self) -> int: ...


@dataclass(frozen=True)
class Run:
    """Times in seconds. `rate` is what is compared: people divided by the time from the first message at the relay
    to the last outcome in the ledger. Bytes are per person."""

    database: str
    workers: int
    people: int
    rate: float
    publish_ms: float
    first_message: float  # from the moment when publishing was asked for
    last_message: float
    last_outcome: float
    rate_from_publish: float
    peak_mb: list[float]
    memory: list[list[tuple[float, float]]]
    log_bytes: float  # PostgreSQL's WAL
    database_bytes: float  # growth
    log_file_mb: float  # SQLite's -wal file at its largest


def smtp_url(address: str, connections: int | None = None) -> str:
    more = f"&connections={connections}" if connections else ""
    return f"smtp://{address}?from=status@pay.example&tls=none{more}"


def deliver(
    installation: Installation,
    relay: Destination,
    address: str,
    *,
    workers: int,
    connections: int | None = None,
) -> Run:
    """Publishes one update to everybody and waits for the last stored outcome. `address` leads to the relay.

    Raises when a worker fails, somebody is missed or told twice, or nothing moves for a minute.
    """
    people = installation.audience
    with Workers(installation, workers, smtp_url(address, connections)) as running:
        watch = _Watch(running, installation, relay)
        size, log = _size_at_rest(installation), installation.log_position()
        begin = time.perf_counter()
        update_id = installation.publish()
        published = time.perf_counter()
        first = wait_until(
            lambda: watch.look() > 0, seconds=_FIRST_SECONDS, every=0.002, problem="no message came"
        )
        wait = partial(wait_for_progress, goal=people, every=_LOOK_SECONDS, patience=PATIENCE)
        last = wait(watch.look, problem="the relay")
        stored = wait(lambda: installation.stored(update_id), problem="the ledger")
        log = installation.log_position() - log
        watch.look()
        running.sample()
    _must_add_up(installation, relay, update_id)
    return Run(
        database=installation.kind,
        workers=workers,
        people=people,
        rate=round(people / (stored - first), 1),
        publish_ms=round((published - begin) * 1000, 1),
        first_message=round(first - begin, 3),
        last_message=round(last - begin, 3),
        last_outcome=round(stored - begin, 3),
        rate_from_publish=round(people / (stored - begin), 1),
        peak_mb=[memory.peak_mb for memory in running.memory],
        memory=[memory.samples for memory in running.memory],
        log_bytes=round(log / people, 1),
        database_bytes=round((_size_at_rest(installation) - size) / people, 1),
        log_file_mb=round(watch.log_file / 1e6, 1),
    )


class _Watch:
    """Looks at the relay's count, and twice a second at the workers; costs next to nothing."""

    def __init__(self, workers: Workers, installation: Installation, relay: Destination) -> None:
        self._workers, self._installation, self._relay = workers, installation, relay
        self._sampled = 0.0
        self.log_file = 0

    def look(self) -> int:
        now = time.perf_counter()
        if now - self._sampled > _SAMPLE_SECONDS:
            self._sampled = now
            self._workers.check()
            self._workers.sample()
            if self._installation.kind != POSTGRESQL:
                self.log_file = max(self.log_file, self._installation.sizes()["log_file"])
        return self._relay.taken()


def _size_at_rest(installation: Installation) -> int:
    """Bytes of the database with nothing left in a log."""
    installation.settle()
    return installation.sizes()["database"]


def _must_add_up(installation: Installation, relay: Destination, update_id: int) -> None:
    """After the workers' orderly end nothing more can come: now both ends are counted."""
    outcomes, taken = installation.outcomes(update_id), relay.taken()
    if outcomes != {"accepted": installation.audience} or taken != installation.audience:
        raise RuntimeError(
            f"{installation.audience:,} people, {taken:,} messages at the relay, outcomes {dict(outcomes)}"
        )
