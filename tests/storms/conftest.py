"""Storms say what they have measured: one line each at the end of the run, whichever process ran them."""

from collections.abc import Callable
from typing import Any

import pytest

Tell = Callable[..., None]
MEASURED = "storm"


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """`tell("SIGKILL on sqlite", rounds=50, missed=0)` is one line at the end of the run."""

    def line(storm: str, **figures: object) -> None:
        said = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in figures.items())
        record_property(MEASURED, f"{storm}: {said}")

    return line


def pytest_terminal_summary(terminalreporter: Any) -> None:
    lines = [
        value
        for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
        for name, value in getattr(report, "user_properties", ())
        if name == MEASURED and report.when == "call"
    ]
    if lines:
        terminalreporter.section("measured")
        for line in sorted(lines):
            terminalreporter.write_line(line)
