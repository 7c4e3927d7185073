"""All measurements by one command: peers and ours in the same run, as JSON and as tables.

    python -m benchmarks [--size small|medium|full] [--only local distant million sms overtaking] [--out FILE]

docs/benchmarks.md says what is measured and how to read it. Ends with 1 when a part failed: a message was lost, an
outcome is missing, a worker told of an error. A promise that was not kept is said in the table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import text

from benchmarks.installation import POSTGRESQL, Installations, installations
from benchmarks.overtaking import overtaking
from benchmarks.peers.runs import sample
from benchmarks.relay import program
from benchmarks.report import LAST, markdown
from benchmarks.scenarios import Bench, Result, a_million, distant_relay, local_relay, sms
from benchmarks.sizes import SIZES

PARTS: dict[str, Callable[[Bench], Result]] = {
    "local": local_relay,
    "distant": distant_relay,
    "million": a_million,
    "sms": sms,
    "overtaking": overtaking,
}


def measure(bench: Bench, names: list[str], keep: Callable[[dict[str, Result]], None]) -> dict[str, Result]:
    """Each part's result. One that fails says so and ends no other; what is there is kept after each."""
    results: dict[str, Result] = {}
    for name in names:
        bench.say(name)
        begin = time.perf_counter()
        try:
            results[name] = PARTS[name](bench)
        except Exception as error:  # noqa: BLE001 (an hour of other parts must not be lost with it; the exit code tells)
            traceback.print_exc()
            results[name] = {"failed": f"{type(error).__name__}: {error}".splitlines()[0]}
        results[name]["took_seconds"] = round(time.perf_counter() - begin, 1)
        bench.made.forget()
        keep(results)
    return results


def machine(made: Installations) -> dict[str, Any]:
    """What the figures depend on."""
    processor = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    with made.fresh(POSTGRESQL, 0) as installation, installation.database.reading() as session:
        told = {
            name: session.execute(text(f"SHOW {name}")).scalar_one()
            for name in ("server_version", "fsync", "synchronous_commit", "full_page_writes")
        }
    return {
        "cores": os.cpu_count(),
        "processor": processor[0] if processor else platform.machine(),
        "python": platform.python_version(),
        "postgresql": ", ".join([told.pop("server_version"), *(f"{k} {v}" for k, v in told.items())]),
        "load_before": os.getloadavg(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", type=Path, default=LAST, help=f"default: {LAST}")
    asked = parser.parse_args()
    program("smtp-source")  # says at once what is missing, not after a million people
    run: dict[str, Any] = {"begun": datetime.now(UTC).isoformat(timespec="seconds"), "size": asked.size}

    def keep(results: dict[str, Result]) -> None:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(json.dumps(run | {"results": results}, indent=1) + "\n", encoding="utf-8")

    with tempfile.TemporaryDirectory() as scratch, installations(Path(scratch)) as made:
        folder = Path(scratch)
        run["machine"] = machine(made)
        letters = sample(made, folder)
        run["message_bytes"] = letters.mean_bytes
        bench = Bench(made=made, folder=folder, size=SIZES[asked.size], sample=letters, say=_say)
        results = measure(bench, asked.only, keep)
    print(markdown(run | {"results": results}))
    sys.exit(any("failed" in result for result in results.values()))


def _say(words: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S}  {words}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
