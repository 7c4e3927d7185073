"""How many workers an audience needs, computed from what the benchmark has measured.

    python -m benchmarks.scaling [FILE] [--into docs/scaling.md]

Without --into the tables are printed. With it they replace what stands between the two marks in that document.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Any

from benchmarks.installation import POSTGRESQL
from benchmarks.report import table, tell
from benchmarks.scenarios import Result, ours
from incident_center.delivery.cutting import CHUNK, CHUNKS_A_STEP
from incident_center.delivery.ledger import BATCH, WAVES
from incident_center.states import Channel

AUDIENCES = (1_000_000, 10_000_000, 100_000_000)
MINUTES = (5, 15, 60)
GIGA = 1e9
# One process at a time cuts an audience: a step of delivery/cutting.py walks so many people in about 50 ms.
WALKED = CHUNK * CHUNKS_A_STEP / 0.05
WAVE = BATCH[Channel.EMAIL] // WAVES[Channel.EMAIL]  # people of one transaction
COMMITS = 1600  # a second, what one PostgreSQL is counted with; not measured here
LEDGER = COMMITS * WAVE


@dataclass(frozen=True)
class Measured:
    """On PostgreSQL, with relay and database on the same machine as the workers."""

    alone: float  # e-mails a second of one worker
    pair: float  # of two together
    log_bytes: float  # a person
    database_bytes: float
    message_bytes: int
    cores: int

    @property
    def each(self) -> float:
        """What one of several brings: what the second one added, and never more than the first alone.

        Raises ValueError when that was nothing: the cores were full, and what further ones bring was not seen.
        """
        if self.pair <= self.alone:
            raise ValueError("two workers were no quicker than one: these cores are too few to size from")
        return min(self.alone, self.pair - self.alone)


def measured(run: dict[str, Any]) -> Measured:
    part: Result = run["results"]["local"]
    runs = [one for one in part["runs"] if one["database"] == POSTGRESQL]
    return Measured(
        alone=statistics.median(part["rates"][ours(POSTGRESQL, 1)]),
        pair=statistics.median(part["rates"][ours(POSTGRESQL, 2)]),
        log_bytes=statistics.median(one["log_bytes"] for one in runs),
        database_bytes=statistics.median(one["database_bytes"] for one in runs),
        message_bytes=run["message_bytes"],
        cores=run["machine"]["cores"],
    )


def workers_for(people: int, minutes: int, of: Measured) -> int:
    """Processes that write to so many people within so many minutes; the first one brings more than the others."""
    rate = people / (minutes * 60)
    return max(1, 1 + math.ceil(max(0.0, rate - of.alone) / of.each))


def installations_for(people: int, minutes: int) -> int:
    """Audiences of their own, each with one database and one process that cuts."""
    return math.ceil(people / (minutes * 60) / min(WALKED, LEDGER))


def tables(run: dict[str, Any]) -> str:
    of = measured(run)
    rates = table(
        ("measured on " + run["begun"][:10], ""),
        [
            ("e-mails a second, one worker", f"{of.alone:,.0f}"),
            ("two workers together", f"{of.pair:,.0f}"),
            ("what each further one is counted with", f"{of.each:,.0f}"),
            ("PostgreSQL's log, bytes a person", f"{of.log_bytes:,.0f}"),
            ("ledger, bytes a person", f"{of.database_bytes:,.0f}"),
            ("a message, bytes", f"{of.message_bytes:,}"),
            ("cores for workers, relay and database together", of.cores),
            ("cutting, people a second (10,000 in about 50 ms: `delivery/cutting.py`)", f"{WALKED:,.0f}"),
            (
                f"ledger, people a second ({COMMITS:,} commits of {WAVE}: assumed, not measured)",
                f"{LEDGER:,}",
            ),
        ],
    )
    return f"{rates}\n\n{_sizes(of)}\n"


def _sizes(of: Measured) -> str:
    rows = []
    for people in AUDIENCES:
        for minutes in MINUTES:
            rate = people / (minutes * 60)
            parts = installations_for(people, minutes)
            rows.append(
                (
                    f"{people:,} people in {minutes} minutes",
                    f"{rate:,.0f}",
                    parts,
                    f"{workers_for(math.ceil(people / parts), minutes, of):,}",
                    f"{rate * of.log_bytes / 1e6:,.1f}",
                    f"{rate * of.message_bytes * 8 / GIGA:,.2f}",
                    f"{people * of.database_bytes / GIGA:,.1f}",
                )
            )
    titles = (
        "",
        "e-mails a second",
        "installations",
        "e-mail processes in each",
        "log, MB/s",
        "to the relays, Gbit/s",
        "ledger an update, GB",
    )
    return table(titles, rows)


def main() -> None:
    tell(tables, __doc__ or "")


if __name__ == "__main__":
    main()
