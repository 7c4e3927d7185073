"""Workers in processes of their own, so that they can be killed. Their clocks may run ahead of the test's.

Argument: one JSON object with database_url, data_dir, email_url and sms_url. Each line on standard input, a
number of seconds, starts one worker whose clock is that much ahead. The answers are two lines: the worker's
process id, and its exit status once it has ended. Workers are forked, because loading the libraries takes
longer than a round.
"""

import json
import os
import sys
import traceback
from datetime import datetime, timedelta
from pathlib import Path

from incident_center import clock
from incident_center.config import Settings, asset_dir
from incident_center.db import Database
from incident_center.delivery import fanout
from incident_center.delivery.engine import Engine
from incident_center.delivery.providers import build_providers
from incident_center.house import House, build_house
from incident_center.states import Channel

CHUNK = 60  # small, so that workers that are killed leave several of them half done


def main() -> None:
    given = json.loads(sys.argv[1])
    fanout.CHUNK = CHUNK
    house = build_house(
        Settings(
            database_url=given["database_url"],
            data_dir=Path(given["data_dir"]),
            secret_key="only-for-tests-" * 4,
            public_url="https://status.example.com",
            email_urls=(given["email_url"],),
            sms_urls=(given["sms_url"],),
            playbooks_dir=asset_dir("playbooks"),
            templates_dir=asset_dir("templates"),
            migrations_dir=asset_dir("migrations"),
            company="Example Pay",
        )
    )
    build_providers(house.settings).close()  # loads Apprise's plugins, which the workers inherit
    for line in sys.stdin:
        worker = os.fork()
        if worker == 0:
            os._exit(run(house, ahead=timedelta(seconds=float(line))))
        say(worker)
        say(os.waitpid(worker, 0)[1])


def say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def run(house: House, *, ahead: timedelta) -> int:
    """One worker, until it finds nothing more to do; its exit status."""

    def now() -> datetime:
        return clock.now() + ahead

    try:
        engine = Engine(
            Database(house.settings.database_url), house, owner=f"worker {os.getpid()}", clock=now
        )
        idle = 0
        while idle < 3:
            found = engine.expand_once()
            for channel in Channel:
                found |= engine.deliver_once(channel)
            idle = 0 if found else idle + 1
        engine.release()
    except Exception:  # noqa: BLE001 (a child must end here and not run into its parent's loop)
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    main()
