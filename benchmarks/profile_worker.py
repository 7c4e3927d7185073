"""Where does a worker spend its time? One worker in this process under cProfile, writing to smtp-sink.

    python -m benchmarks.profile_worker [--people 20000] [--database SQLite|PostgreSQL] [--sort tottime|cumtime]
                                        [--lines 40] [--dump FILE]

The profiler itself costs about as much as what it watches: read the shares, not the seconds. Only the worker's
own thread is profiled.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.installation import KINDS, SQLITE, Installation, installations, settings
from benchmarks.relay import Relay, wait_for_progress
from incident_center.center import build_center
from incident_center.logs import configure_logging
from incident_center.worker import Worker

_PATIENCE = 30.0  # seconds without a single message


def profile(installation: Installation, relay: Relay) -> tuple[cProfile.Profile, float]:
    """The profile of one worker from publication to the last stored outcome, and the seconds it took."""
    url = f"smtp://{relay.address}?from=status@pay.example&tls=none"
    worker = Worker(build_center(settings(installation.url, installation.folder, email_urls=(url,))))
    update_id = installation.publish()
    watcher = threading.Thread(target=_stop_when_done, args=(worker, installation, relay, update_id))
    profiler = cProfile.Profile()
    begin = time.perf_counter()
    watcher.start()
    profiler.enable()
    worker.run()
    profiler.disable()
    seconds = time.perf_counter() - begin
    watcher.join()
    worker.center.database.dispose()
    if (told := relay.taken(), installation.stored(update_id)) != (installation.audience,) * 2:
        raise RuntimeError(f"relay and ledger have {told} of {installation.audience:,} messages")
    return profiler, seconds


def _stop_when_done(worker: Worker, installation: Installation, relay: Relay, update_id: int) -> None:
    """Watches the relay's count, which costs the worker nothing, and asks the ledger only at the end."""
    try:
        for reached in (relay.taken, lambda: installation.stored(update_id)):
            wait_for_progress(
                reached, goal=installation.audience, every=0.1, patience=_PATIENCE, problem="the worker"
            )
    finally:
        worker.stop.set()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--people", type=int, default=20_000)
    parser.add_argument("--database", choices=KINDS, default=SQLITE)
    parser.add_argument("--sort", choices=("tottime", "cumtime"), default="tottime")
    parser.add_argument("--lines", type=int, default=40)
    parser.add_argument("--dump", type=Path, help="keep the profile here, for pstats or snakeviz")
    asked = parser.parse_args()
    configure_logging(quiet=True)
    with (
        tempfile.TemporaryDirectory() as scratch,
        installations(Path(scratch)) as made,
        made.fresh(asked.database, asked.people) as installation,
        Relay(Path(scratch)) as relay,
    ):
        profiler, seconds = profile(installation, relay)
    print(f"{asked.database}: {asked.people:,} in {seconds:.1f} s under the profiler")
    stats = pstats.Stats(profiler)
    stats.sort_stats(asked.sort).print_stats(asked.lines)
    if asked.dump is not None:
        stats.dump_stats(asked.dump)


if __name__ == "__main__":
    main()
