"""A real Chromium, the distribution's own, and a demo that it visits."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

STARTS_WITHIN = 60.0
expect.set_options(timeout=20_000)  # a machine with much else to do takes longer than its five seconds


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip(
            "needs Chromium; install your distribution's package, for example: apt-get install chromium"
        )
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    quiet += ["--disable-background-networking", "--disable-component-update"]
    return {"executable_path": chromium, "headless": True, "args": quiet}


class Demo:
    """`incident-center demo` in a process of its own; `said` holds what it printed."""

    def __init__(self, data_dir: Path) -> None:
        command = [
            sys.executable,
            "-m",
            "incident_center",
            "demo",
            "--port",
            "0",
            "--data-dir",
            str(data_dir),
        ]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("INCIDENT_CENTER_")}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        self.said: dict[str, str] = {}
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._ready.wait(STARTS_WITHIN):
            self.end()
            raise AssertionError(f"the demo did not start; it said {self.said}")

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.fullmatch(r"([a-z][a-z -]*): (.*)", line.rstrip("\n")):
                self.said[found[1]] = found[2]
            if line.startswith("listens on:"):
                self._ready.set()

    @property
    def url(self) -> str:
        return self.said["url"].rstrip("/")

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(40)
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@pytest.fixture
def demo(browser_type_launch_args: dict[str, Any], tmp_path: Path) -> Iterator[Demo]:
    """Chromium is asked for first: without it nothing is started."""
    running = Demo(tmp_path / "demo")
    yield running
    assert running.end() == 0
