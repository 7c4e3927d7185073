"""A clock for tests that stand in front of the whole application; a conftest takes it by importing it."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from incident_center import clock
from tests.builders import NOW


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Callable[[timedelta], None]:
    """The clock stands at NOW; call it to move the hands."""
    at = [NOW]
    monkeypatch.setattr(clock, "now", lambda: at[0])

    def move(by: timedelta) -> None:
        at[0] += by

    return move
