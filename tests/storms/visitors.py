"""What a web process is asked for in a storm: people are enrolled, outages declared and ended, pages read."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from incident_center import clock, create_app
from incident_center.center import Center
from tests.api.door import Door

_REFUSED = 400


def open_doors(center: Center) -> Callable[[threading.Event, str, int], bool]:
    """The application, and somebody who knocks at its API until told to stop."""
    app = create_app(center=center)
    app.config["API_RATE_LIMIT"] = "1000000 per minute"

    def visit(told: threading.Event, token: str, seed: int) -> bool:
        """False when an answer was an error of ours."""
        door, chance = Door(app.test_client(), token), random.Random(seed)
        number = 0
        while not told.wait(chance.random() * 0.03):
            number += 1
            for answer in _something(door, chance, f"{seed}-{number}"):
                if answer.status_code >= _REFUSED:
                    sys.stderr.write(
                        f"answered {answer.status_code}: {answer.get_data(as_text=True)[:200]}\n"
                    )
                    return False
        return True

    return visit


def _something(door: Door, chance: random.Random, name: str) -> list[Any]:
    if chance.random() < 0.9:
        person = {
            "channel": "email",
            "address": f"newcomer-{name}@example.com",
            "language": "en",
            "time_zone": "Europe/London",
        }
        return [door.post("/subscribers", person), door.get("/incidents")]
    declared = door.post(
        "/incidents",
        {
            "playbook": "payout-gateway-down",
            "components": [1],
            "impact": "major",
            "started_at": (clock.now() - timedelta(minutes=5)).isoformat(),
            "answers": {"scope": {"en": "SEPA payouts", "de": "SEPA-Auszahlungen"}},
        },
    )
    if declared.status_code != 201:
        return [declared]
    path = f"/incidents/{declared.json['id']}/updates"
    first = {
        "phase": "investigating",
        "next_update_by": (clock.now() + timedelta(minutes=30)).isoformat(),
    }
    return [declared, door.post(path, first), door.get("/components")]
