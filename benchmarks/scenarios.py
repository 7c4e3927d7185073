"""What is measured, one function for each part. Each answers plain values for the JSON file."""

from __future__ import annotations

import importlib
import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.delivery import Run, deliver
from benchmarks.distance import Distance
from benchmarks.installation import KINDS, Installation, Installations
from benchmarks.peers.runs import Sample, peer_rate, smtp_source, source_rate
from benchmarks.relay import Relay
from benchmarks.sizes import Size

Result = dict[str, Any]
ROUND_TRIP = 0.010
# Database, connections in all, workers that share them.
DISTANT = tuple((kind, *shared) for kind in KINDS for shared in ((10, 1), (20, 2)))
SOURCE, SOURCE_SMALL = "smtp-source", "smtp-source, small messages"
SMTPLIB, APPRISE = "smtplib, one kept connection", "Apprise, mailto:// for each"
POST_OFFICE, POST_OFFICE_TUNED = "django-post-office", "django-post-office, batches of 1,000, 10 threads"
_SMALL_BYTES = 300
_CARRY_CONNECTIONS = 400
_CARRY_MESSAGES = 20_000
_FEW = 100
_WARM_UP = 5


@dataclass(frozen=True)
class Bench:
    """What every part needs."""

    made: Installations
    folder: Path
    size: Size
    sample: Sample
    say: Callable[[str], None]


def ours(database: str, workers: int) -> str:
    return f"Incident Center, {database}, {workers} worker{'s' * (workers > 1)}"


def local_relay(bench: Bench) -> Result:
    """Everybody in turn, round after round, first one then another at the head: whatever else the machine does
    meets all of them alike."""
    runs: list[Run] = []
    contestants = _contestants(bench, runs)
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(bench.size.rounds):
        names = list(contestants)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            rates[name].append(round(contestants[name](), 1))
            bench.say(f"round {number + 1}: {name}: {rates[name][-1]:,.0f}/s")
    return {"people": bench.size.local, "rates": rates, "runs": [asdict(run) for run in runs]}


def _contestants(bench: Bench, runs: list[Run]) -> dict[str, Callable[[], float]]:
    size, folder, sample = bench.size, bench.folder, bench.sample
    source = partial(source_rate, folder, size.source)
    peer = partial(peer_rate, folder=folder, messages=sample.folder)
    contestants: dict[str, Callable[[], float]] = {
        SOURCE: partial(source, length=sample.source_length),
        SOURCE_SMALL: partial(source, length=_SMALL_BYTES),
        SMTPLIB: partial(peer, "kept_smtplib", count=size.smtplib),
        APPRISE: partial(peer, "stock_apprise", count=size.apprise),
        POST_OFFICE: partial(peer, "post_office", count=size.post_office),
        POST_OFFICE_TUNED: partial(peer, "post_office", count=size.post_office, more=("1000", "10")),
    }
    for kind in KINDS:
        for workers in (1, 2):
            contestants[ours(kind, workers)] = partial(_our_rate, bench, runs, kind, workers)
    return contestants


def _our_rate(bench: Bench, runs: list[Run], kind: str, workers: int) -> float:
    with bench.made.fresh(kind, bench.size.local) as installation, Relay(bench.folder) as relay:
        runs.append(deliver(installation, relay, relay.address, workers=workers))
    return runs[-1].rate


def distant_relay(bench: Bench) -> Result:
    """10 ms from the relay. With pipelining a message costs one round trip in the steady state."""
    told: Result = {"round_trip_ms": ROUND_TRIP * 1000, "runs": []}
    with Relay(bench.folder) as relay, Distance(relay.port, round_trip=ROUND_TRIP) as distance:
        told["measured_round_trip_ms"] = round(distance.round_trip() * 1000, 2)
        # What the proxy can carry must not be what limits us; smtp-source waits for each answer, hence so many.
        seconds = smtp_source(
            distance.address, _CARRY_MESSAGES, length=_SMALL_BYTES, connections=_CARRY_CONNECTIONS
        )
        told["proxy_carries"] = round(_CARRY_MESSAGES / seconds, 1)
    for number in range(bench.size.rounds):
        for kind, connections, workers in DISTANT:
            run = _distant_run(bench, kind, connections, workers)
            told["runs"].append(run)
            rates = f"{run['rate']:,.0f}/s of {run['bound']:,.0f}/s"
            bench.say(f"round {number + 1}: {kind}, {connections} connections: {rates}")
    return told


def _distant_run(bench: Bench, kind: str, connections: int, workers: int) -> Result:
    with (
        bench.made.fresh(kind, bench.size.distant) as installation,
        Relay(bench.folder) as relay,
        Distance(relay.port, round_trip=ROUND_TRIP) as distance,
    ):
        run = deliver(installation, relay, distance.address, workers=workers, connections=connections)
    bound = connections / ROUND_TRIP
    return {"connections": connections, "bound": bound, "part": round(run.rate / bound, 3)} | asdict(run)


def rounds_of(part: Result) -> Iterator[tuple[str, int, int, list[Result]]]:
    """What was measured 10 ms away, by database, connections and workers: a run a round."""
    for chosen in DISTANT:
        its = [run for run in part["runs"] if (run["database"], run["connections"], run["workers"]) == chosen]
        yield *chosen, its


def a_million(bench: Bench) -> Result:
    """A big audience between two rounds of one a tenth its size: time, memory, the first message, and what publishing
    costs. smtp-source is asked before and after each: within minutes a shared machine is quicker or slower for all."""
    told: Result = {"source_messages": bench.size.source, "databases": {}}
    small, big = bench.size.many
    for kind in KINDS:
        source = partial(_source_seconds, bench)
        runs, seconds, published = [], [source()], {}
        for people in (small, big, small):
            with bench.made.fresh(kind, people) as installation, Relay(bench.folder) as relay:
                run = deliver(installation, relay, relay.address, workers=2)
                if people == big:
                    with bench.made.fresh(kind, _FEW) as few:
                        published = compare_publishing(few, installation, bench.size.published)
            runs.append(asdict(run))
            seconds.append(source())
            bench.say(
                f"{kind}: {people:,} people in {run.last_outcome:.1f} s, at most {max(run.peak_mb):.0f} MB"
            )
        told["databases"][kind] = {"runs": runs, "publishing_ms": published, "source_seconds": seconds}
    return told


def _source_seconds(bench: Bench) -> float:
    rate = source_rate(bench.folder, bench.size.source, length=bench.sample.source_length)
    return round(bench.size.source / rate, 3)


def compare_publishing(few: Installation, many: Installation, rounds: int) -> Result:
    """Median milliseconds of publishing to a few and to many people, in turn, with the ledger of many filled."""
    taken: dict[str, list[float]] = {"few": [], "many": []}
    for number in range(_WARM_UP + rounds):
        pairs = [("few", few), ("many", many)]
        for name, installation in pairs if number % 2 else reversed(pairs):
            begin = time.perf_counter()
            installation.publish()
            if number >= _WARM_UP:
                taken[name].append((time.perf_counter() - begin) * 1000)
    medians = {name: round(statistics.median(times), 2) for name, times in taken.items()}
    return {"people": {"few": few.audience, "many": many.audience}, "medians": medians}


def sms(bench: Bench) -> Result:
    """Its own module measures it, on a stub that speaks HTTPS."""
    if importlib.util.find_spec("benchmarks.sms_speed") is None:
        return {"left_out": "there is no benchmarks/sms_speed.py"}
    measured: Result = importlib.import_module("benchmarks.sms_speed").measure(bench.size.sms)
    return measured
