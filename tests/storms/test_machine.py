"""Everything that happens to a fan-out, in any order: a short walk in every run of the tests, a long one in storms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from incident_center.house import House
from tests.storms.conftest import Tell
from tests.storms.counts import COUNTS
from tests.storms.machine import Machine
from tests.support.databases import Templates

CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


@pytest.mark.one_database
def test_a_fan_out_keeps_its_promises_whatever_happens(
    database_kind: str, templates: Templates, house: House, tmp_path: Path
) -> None:
    _walk(database_kind, templates, house, tmp_path, examples=6, steps=16)


@pytest.mark.storm
@pytest.mark.timeout(3600)
def test_a_fan_out_keeps_its_promises_whatever_happens_for_long(
    database_kind: str, templates: Templates, house: House, tmp_path: Path, tell: Tell
) -> None:
    steps = _walk(
        database_kind,
        templates,
        house,
        tmp_path,
        examples=COUNTS.machine_examples,
        steps=COUNTS.machine_steps,
    )
    tell(f"state machine on {database_kind}", examples=COUNTS.machine_examples, steps_at_most=steps)


def _walk(kind: str, templates: Templates, house: House, folder: Path, *, examples: int, steps: int) -> int:
    numbers = iter(range(10**9))

    @contextmanager
    def fresh() -> Iterator[str]:
        own = folder / f"run-{next(numbers)}"
        own.mkdir()
        with templates.url(kind, own) as url:
            yield url

    walk = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=CHECKS,
        # No shrinking: each try is a whole story of transactions, and minutes would pass. The blob tells it again.
        phases=[Phase.generate],
        database=None,
        print_blob=True,
    )
    machine: Any = partial(Machine, fresh, house)  # the library takes any factory, its annotation a class
    run_state_machine_as_test(machine, settings=walk)
    return examples * steps
