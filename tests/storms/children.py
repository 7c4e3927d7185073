"""What the nursery's children do: work until nothing is left, work until told to stop, publish.

They are the product's own: `Worker`, and the verbs of the incident room.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext

from incident_center import clock, worker
from incident_center.center import Center
from incident_center.config import Settings, asset_dir
from incident_center.db import Database
from incident_center.delivery import cutting
from incident_center.delivery.providers import build_providers
from incident_center.house import House, build_house
from incident_center.logs import configure_logging
from incident_center.states import Phase
from incident_center.worker import Worker, lanes_of
from tests.incidents.scenes import declared, published
from tests.storms.given import ENDS, Given
from tests.storms.points import Point, Trap

IDLE_ROUNDS = 3
LOCKED = "locked.txt"
_doors: list[Callable[[threading.Event, str, int], bool]] = []  # of the web process that children become


def settings_of(given: Given) -> Settings:
    return Settings(
        database_url=given.database_url,
        data_dir=Path(given.data_dir),
        secret_key="only-for-tests-" * 4,
        public_url="https://status.example.com",
        email_urls=(given.email_url,) if given.email_url else (),
        sms_urls=(given.sms_url,) if given.sms_url else (),
        playbooks_dir=asset_dir("playbooks"),
        templates_dir=asset_dir("templates"),
        migrations_dir=asset_dir("migrations"),
        company="Example Pay",
    )


def prepare(given: Given) -> Center:
    """What children inherit: loaded libraries, read playbooks."""
    configure_logging(quiet=True)
    cutting.CHUNK = given.chunk
    worker.IDLE_SECONDS = 0.02
    worker.TROUBLE_SECONDS = given.trouble_seconds
    worker.BEAT_EVERY = timedelta(seconds=0.5)
    house = build_house(settings_of(given))
    build_providers(house.settings).close()  # loads Apprise's plugins
    database = Database(house.settings.database_url)
    event.listen(database.engine, "handle_error", partial(_note_locked, Path(given.data_dir)))
    center = Center(settings=house.settings, database=database, house=house)
    if given.web:
        from tests.storms.visitors import open_doors  # noqa: PLC0415 (Flask is loaded by those who need it)

        _doors.append(open_doors(center))
    return center


def warm_up(center: Center) -> None:
    """One fan-out by the nursery itself: children inherit the SQL that it has compiled, a second of CPU each.

    No connection is left open: it must not be shared by a fork.
    """
    _publish(center)
    _until_idle(Worker(center))
    center.database.dispose()


def run(center: Center, command: dict[str, Any]) -> int:
    """The exit status of the child that does as it is told."""
    if command.get("point"):
        Trap(Point(command["point"]), command["nth"]).set()
    match command["do"]:
        case "work":
            _until_idle(Worker(center))
        case "run":
            _until_told(Worker(center, lanes=lanes_of(center.settings)))
        case "publish":
            _publish(center)
        case "write":
            return _write(command["token"], seed=command["nth"])
        case other:
            raise ValueError(other)
    return 0


def _until_idle(working: Worker) -> None:
    idle = 0
    while idle < IDLE_ROUNDS:
        idle = 0 if working.round() else idle + 1
    working.engine.release()


def _until_told(working: Worker) -> None:
    """As `incident-center worker` does it."""
    _listen_for_the_end(working.stop)
    working.run()


def _write(token: str, *, seed: int) -> int:
    """A web process that writes until it is told to stop: people are enrolled, outages declared and ended.

    3 when anybody was answered with an error of ours.
    """
    told = threading.Event()
    _listen_for_the_end(told)
    return 0 if _doors[0](told, token, seed) else 3


def _listen_for_the_end(told: threading.Event) -> None:
    for name in ENDS:
        signal.signal(name, lambda *_: told.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDS)


def _note_locked(folder: Path, context: ExceptionContext) -> None:
    """Whoever is told "database is locked" leaves a line for the test."""
    if "locked" in str(context.original_exception):
        with (folder / LOCKED).open("a", encoding="utf-8") as file:
            file.write(f"{os.getpid()} {context.statement}\n")


def _publish(center: Center) -> None:
    with center.database.transaction() as session:
        publish_the_end(session, center.house)


def publish_the_end(session: Any, house: House) -> int:
    """An incident that is over when it is told of: it promises nothing, so only this goes out. The update's id."""
    incident = declared(session, house, now=clock.now())
    return published(session, house, incident, now=clock.now(), phase=Phase.RESOLVED).id
