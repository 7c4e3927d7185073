"""The relay that everybody sends to: Postfix's smtp-sink, which counts what it takes and throws it away."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parent.parent
START_SECONDS = 20.0
# smtp-sink writes "sess=… quit=… mesg=…" after each message, to whatever its standard output is.
_COUNTED = re.compile(rb"mesg=(\d+)[\r\n]")
_TAIL = 200
_ELSEWHERE = ("/usr/sbin", "/usr/lib/postfix/sbin", "/usr/local/sbin")
_CONNECTIONS_MAX = 512


class Missing(RuntimeError):
    """Something that the benchmark needs is not installed; the text says how to get it."""


def program(name: str) -> str:
    """Path of one of Postfix's test programs. Raises Missing."""
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(_ELSEWHERE))
    if found is None:
        raise Missing(f"{name} is missing; it comes with Postfix (Debian: apt-get install postfix)")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(done: Callable[[], bool], *, seconds: float, every: float, problem: str) -> float:
    """time.perf_counter() at the moment when `done` first said yes. Raises TimeoutError with the problem."""
    deadline = time.perf_counter() + seconds
    while not done():
        if time.perf_counter() > deadline:
            raise TimeoutError(problem)
        time.sleep(every)
    return time.perf_counter()


def wait_for_progress(
    reached: Callable[[], int], *, goal: int, every: float, patience: float, problem: str
) -> float:
    """time.perf_counter() when `reached` came to the goal. Raises TimeoutError when it stood still too long.

    What stands still is broken, whatever its size: a limit for the whole would have to know the machine's speed.
    """
    seen, moved = -1, time.perf_counter()
    while (now_at := reached()) < goal:
        if now_at != seen:
            seen, moved = now_at, time.perf_counter()
        if time.perf_counter() - moved > patience:
            raise TimeoutError(f"{problem}: stands at {now_at:,} of {goal:,} for {patience:.0f} s")
        time.sleep(every)
    return time.perf_counter()


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Served:
    """A server of ours in a process of its own, on a free port of this machine, for one measurement."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._process = self._begin()
        problem = f"{type(self).__name__} did not start"
        wait_until(lambda: answers(self.port), seconds=START_SECONDS, every=0.01, problem=problem)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _begin(self) -> subprocess.Popen[bytes]:
        raise NotImplementedError


class Relay(Served):
    """A fresh smtp-sink."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._counts = folder / f"sink-{self.port}"

    def _begin(self) -> subprocess.Popen[bytes]:
        command = [program("smtp-sink"), "-c", "-m", str(_CONNECTIONS_MAX)]
        if os.geteuid() == 0:
            command += ["-u", "nobody"]  # it refuses to serve as root
        with self._counts.open("wb") as counts:
            return subprocess.Popen([*command, self.address, str(_CONNECTIONS_MAX)], stdout=counts)

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._counts.unlink(missing_ok=True)

    def taken(self) -> int:
        """Messages whose final dot it has answered with 250."""
        with self._counts.open("rb") as counts:
            size = counts.seek(0, os.SEEK_END)
            counts.seek(max(0, size - _TAIL))
            found = _COUNTED.findall(counts.read())
        return int(found[-1]) if found else 0
