"""Real worker processes, started by the product's own command, and how much memory they use."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from benchmarks.installation import COMPANY, PUBLIC_URL, SECRET, Installation
from benchmarks.relay import ROOT, wait_until
from incident_center.config import PREFIX

START_SECONDS = 60.0
STOP_SECONDS = 40.0  # a worker promises 30
_TAIL_LINES = 15
_KILOBYTES = re.compile(r"^(VmHWM|VmRSS):\s+(\d+) kB", re.MULTILINE)


@dataclass
class Memory:
    """Megabytes of one worker: the peak that the system has seen, and samples (seconds, megabytes)."""

    peak_mb: float = 0.0
    samples: list[tuple[float, float]] = field(default_factory=list)


class Workers:
    """`number` workers of an installation; they are ready when the block is entered.

    Loading the libraries takes a worker about two seconds, which is no part of any rate: a worker that runs has
    loaded them long before the crisis.
    """

    def __init__(self, installation: Installation, number: int, email_url: str) -> None:
        self._installation, self._number, self._email_url = installation, number, email_url
        self._log = installation.folder / "workers.log"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._begun = 0.0
        self.memory: list[Memory] = []

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._processes = [
                subprocess.Popen(
                    [sys.executable, "-m", "incident_center", "worker"],
                    cwd=self._installation.folder,
                    env=self._environment(),
                    stdout=log,
                    stderr=log,
                )
                for _ in range(self._number)
            ]
        self.memory = [Memory() for _ in self._processes]
        try:
            wait_until(
                self._all_alive, seconds=START_SECONDS, every=0.05, problem="the workers did not start"
            )
        except BaseException:
            self._kill()
            raise
        time.sleep(0.5)  # from the first sign of life to the first idle round
        self._begun = time.perf_counter()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """SIGTERM, and an orderly end is insisted on: one that hangs or fails has not delivered in order."""
        if kind is not None:
            self._kill()
            print(f"the workers said:\n{self._told()}", file=sys.stderr)
            return
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        try:
            codes = [process.wait(timeout=STOP_SECONDS) for process in self._processes]
        finally:
            self._kill()
        if any(codes):
            raise RuntimeError(f"workers ended with {codes}\n{self._told()}")
        self._refuse_errors()

    def check(self) -> None:
        """Raises when a worker has died or told of an error: what it measures then is no delivery."""
        dead = [process.pid for process in self._processes if process.poll() is not None]
        if dead:
            raise RuntimeError(f"worker {dead} ended by itself\n{self._told()}")
        self._refuse_errors()

    def sample(self) -> None:
        """Notes each worker's memory now."""
        seconds = round(time.perf_counter() - self._begun, 2)
        for process, memory in zip(self._processes, self.memory, strict=True):
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
            now = {name: int(kilobytes) / 1024 for name, kilobytes in _KILOBYTES.findall(status)}
            memory.peak_mb = round(now.get("VmHWM", 0.0), 1)
            memory.samples.append((seconds, round(now.get("VmRSS", 0.0), 1)))

    def _environment(self) -> dict[str, str]:
        """Ours without its settings: a worker refuses names that it does not know."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        given = {
            "DATABASE_URL": self._installation.url,
            "DATA_DIR": str(self._installation.folder),
            "SECRET_KEY": SECRET,
            "PUBLIC_URL": PUBLIC_URL,
            "COMPANY": COMPANY,
            "EMAIL_URLS": self._email_url,
        }
        return kept | {PREFIX + name: value for name, value in given.items()} | {"PYTHONPATH": str(ROOT)}

    def _all_alive(self) -> bool:
        self.check()
        return self._installation.workers_seen() >= self._number

    def _refuse_errors(self) -> None:
        if b'"level": "error"' in self._log.read_bytes():
            raise RuntimeError(f"a worker tells of an error\n{self._told()}")

    def _told(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-_TAIL_LINES:])

    def _kill(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait(timeout=10)
