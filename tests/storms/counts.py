"""How hard the storms blow, read in one place: STORMS=full for `make storms`, otherwise the reduced counts."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Counts:
    """`rounds` and the like are for both databases together where a test runs on both."""

    rounds: int  # of SIGKILL, with a hundred recipients each
    rolls: int  # of SIGTERM
    cuts: int  # connections cut at COMMIT
    restarts: int  # of the database
    real_lease: (
        float | None
    )  # seconds of the lease in the round with the real clock; None is the product's own
    machine_examples: int
    machine_steps: int
    addresses: int
    numbers: int
    crowd_seconds: float  # six writers and four workers


FULL = Counts(
    rounds=1000,
    rolls=50,
    cuts=100,
    restarts=10,
    real_lease=None,
    machine_examples=150,
    machine_steps=60,
    addresses=10_000,
    numbers=2000,
    crowd_seconds=120,
)
REDUCED = Counts(
    rounds=100,
    rolls=6,
    cuts=10,
    restarts=1,
    real_lease=3.0,
    machine_examples=15,
    machine_steps=25,
    addresses=1000,
    numbers=200,
    crowd_seconds=20,
)
IS_FULL = os.environ.get("STORMS", "") == "full"
COUNTS = FULL if IS_FULL else REDUCED
