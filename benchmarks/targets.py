"""What was promised, held against what a run has measured. All ratios are of one run."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.installation import KINDS, POSTGRESQL, SQLITE
from benchmarks.scenarios import (
    APPRISE,
    POST_OFFICE,
    POST_OFFICE_TUNED,
    SOURCE,
    Result,
    ours,
    rounds_of,
)

# Parts of smtp-source's rate: (database, workers) → at least.
_OF_SOURCE = {(SQLITE, 2): 0.65, (POSTGRESQL, 2): 0.6, (SQLITE, 1): 0.45, (POSTGRESQL, 1): 0.45}
_OF_APPRISE, _OF_POST_OFFICE = 300.0, 6.0
_OF_BOUND = 0.8
_SOURCES_PER_MILLION, _SOURCE_PART = 50, 0.6
_MEGABYTES, _GROWTH, _LINEAR = 150.0, 1.1, 1.1
_FIRST_SECONDS, _SETTLED_SECONDS = 1.0, 1.0
_PUBLISHING = 1.5
_LOG_BYTES = 150.0
_SMS = 10.0


@dataclass(frozen=True)
class Target:
    what: str
    bound: float
    at_least: bool  # else at most
    measured: float

    @property
    def met(self) -> bool:
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound


def targets(results: dict[str, Result]) -> list[Target]:
    """Those of the parts that have been measured."""
    checks = {
        "local": _local,
        "distant": _distant,
        "million": _million,
        "sms": _sms,
        "overtaking": _overtaking,
    }
    found: list[Target] = []
    for name, check in checks.items():
        if name in results and "failed" not in results[name]:
            found += check(results[name])
    return found


def ratio(rates: dict[str, list[float]], name: str, other: str) -> float:
    """Median over the rounds of one's rate as a multiple of the other's in the same round."""
    return statistics.median(one / two for one, two in zip(rates[name], rates[other], strict=True))


def _local(part: Result) -> Iterator[Target]:
    rates = part["rates"]
    for (kind, workers), bound in _OF_SOURCE.items():
        name = ours(kind, workers)
        yield Target(f"{name}: part of smtp-source", bound, True, ratio(rates, name, SOURCE))
    quicker = max((POST_OFFICE, POST_OFFICE_TUNED), key=lambda name: statistics.median(rates[name]))
    for name in (ours(kind, 2) for kind in KINDS):
        yield Target(f"{name}: times stock Apprise", _OF_APPRISE, True, ratio(rates, name, APPRISE))
        yield Target(f"{name}: times {quicker}", _OF_POST_OFFICE, True, ratio(rates, name, quicker))
    logged = [run["log_bytes"] for run in part["runs"] if run["database"] == POSTGRESQL]
    yield Target("PostgreSQL: WAL bytes a recipient", _LOG_BYTES, False, statistics.median(logged))


def _distant(part: Result) -> Iterator[Target]:
    for kind, connections, workers, runs in rounds_of(part):
        shared = f"{kind}, {connections} connections, {workers} worker{'s' * (workers > 1)}"
        what = f"10 ms away, {shared}: part of connections ÷ round trip"
        yield Target(what, _OF_BOUND, True, statistics.median(run["part"] for run in runs))


def _million(part: Result) -> Iterator[Target]:
    for kind, told in part["databases"].items():
        before, many, after = told["runs"]
        source = statistics.median(told["source_seconds"]) * 20_000 / part["source_messages"]
        # For a million 50 times what smtp-source needs for 20,000; for a smaller audience as much less.
        allowed = _SOURCES_PER_MILLION * source / _SOURCE_PART * many["people"] / 1_000_000
        people, tenth = f"{kind}, {many['people']:,} people", f"{before['people']:,}'s"
        yield Target(f"{people}: seconds", allowed, False, many["last_outcome"])
        yield Target(f"{people}: MB a worker", _MEGABYTES, False, max(many["peak_mb"]))
        growth = max(many["peak_mb"]) / max(before["peak_mb"])
        yield Target(f"{people}: memory as a multiple of {tenth}", _GROWTH, False, growth)
        few = statistics.mean(run["last_outcome"] / run["people"] for run in (before, after))
        linear = many["last_outcome"] / many["people"] / few
        yield Target(f"{people}: time a person as a multiple of {tenth}", _LINEAR, False, linear)
        yield Target(f"{people}: first message, seconds", _FIRST_SECONDS, False, many["first_message"])
        medians = told["publishing_ms"]["medians"]
        what = f"{people}: publishing as a multiple of 100's"
        yield Target(what, _PUBLISHING, False, medians["many"] / medians["few"])


def sms_providers(part: Result) -> dict[str, Result]:
    """Provider → {"ours", "stock", "ratio"}, as benchmarks/sms_speed.py measures them."""
    return {name: told for name, told in part.items() if isinstance(told, dict)}


def _sms(part: Result) -> Iterator[Target]:
    for name, told in sms_providers(part).items():
        yield Target(f"SMS by {name}: times stock Apprise", _SMS, True, told["ratio"])


def _overtaking(part: Result) -> Iterator[Target]:
    for run in part["runs"]:
        what = f"{run['database']}: seconds until the older update is settled"
        yield Target(what, _SETTLED_SECONDS, False, run["settled_seconds"])
        what = f"{run['database']}: people with the older after the newer"
        yield Target(what, 0, False, run["older_after_newer"])
