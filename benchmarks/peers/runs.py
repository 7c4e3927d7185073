"""Runs the peers, each in a process of its own and against a relay of its own, and counts at the relay."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.delivery import smtp_url
from benchmarks.installation import SQLITE, Installations
from benchmarks.peers.letters import SENDER
from benchmarks.recorder import Recorder
from benchmarks.relay import ROOT, Relay, program, wait_until
from benchmarks.workers import Workers

SOURCE_CONNECTIONS = 10
_SAMPLES = 60
_PROBE_BYTES = 1000
_SOURCE_PATIENCE = 300.0  # seconds, for what takes a few: a benchmark that stands still says so


@dataclass(frozen=True)
class Sample:
    """Our own messages, for peers to send: a folder of some, and how big they are on the wire."""

    folder: Path
    mean_bytes: int
    source_length: int  # what smtp-source is told, so that its messages are as big with its own headers


def sample(made: Installations, folder: Path) -> Sample:
    """Lets a worker write to a few people and keeps what the relay got."""
    with made.fresh(SQLITE, _SAMPLES) as few, Recorder(folder, first=_SAMPLES) as recorder:
        with Workers(few, 1, smtp_url(recorder.address)):
            few.publish()
            wait_until(
                lambda: recorder.taken() >= _SAMPLES, seconds=60, every=0.1, problem="the sample did not come"
            )
        sizes = [arrival.size for arrival in recorder.arrivals()]
        kept = recorder.kept
    mean = round(sum(sizes) / len(sizes))
    return Sample(folder=kept, mean_bytes=mean, source_length=mean - _source_headers(folder))


def smtp_source(address: str, count: int, *, length: int, connections: int = SOURCE_CONNECTIONS) -> float:
    """Seconds that Postfix's sender takes, its start (some milliseconds) included."""
    options = ["-d", "-s", str(connections), "-m", str(count), "-l", str(length)]
    people = ["-f", SENDER, "-t", "reader@customers.example.com"]
    begin = time.perf_counter()
    subprocess.run([program("smtp-source"), *options, *people, address], check=True, timeout=_SOURCE_PATIENCE)
    return time.perf_counter() - begin


def source_rate(folder: Path, count: int, *, length: int) -> float:
    """Messages a second by smtp-source into a fresh relay."""
    with Relay(folder) as relay:
        seconds = smtp_source(relay.address, count, length=length)
        _must_have(relay, count)
    return count / seconds


def peer_rate(name: str, *, folder: Path, count: int, messages: Path, more: tuple[str, ...] = ()) -> float:
    """Messages a second by benchmarks.peers.`name` into a fresh relay, by its own clock."""
    with Relay(folder) as relay:
        words = [sys.executable, "-m", f"benchmarks.peers.{name}", str(relay.port), str(count), str(messages)]
        ended = subprocess.run([*words, *more], cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
        _must_have(relay, count)
    return count / float(ended.stdout.split()[-1])


def _must_have(relay: Relay, count: int) -> None:
    if (taken := relay.taken()) != count:
        raise RuntimeError(f"the relay has taken {taken:,} messages instead of {count:,}")


def _source_headers(folder: Path) -> int:
    """Bytes that smtp-source adds to the length that it is told."""
    with Recorder(folder) as recorder:
        smtp_source(recorder.address, 1, length=_PROBE_BYTES, connections=1)
        wait_until(lambda: recorder.taken() == 1, seconds=10, every=0.02, problem="smtp-source sent nothing")
        return recorder.arrivals()[0].size - _PROBE_BYTES
