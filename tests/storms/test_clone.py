"""A copied database must not write to customers: not from another folder, not as another database on the server."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from incident_center import clock
from incident_center.db import Database
from incident_center.delivery import installation
from incident_center.delivery.questions import progress
from incident_center.house import House
from tests.builders import LEAD, a_subscriber
from tests.storms.children import publish_the_end
from tests.storms.conftest import Tell
from tests.storms.storm import Storm, storm_over, wait_until
from tests.support.databases import Templates
from tests.support.postgres import PostgresServer

pytestmark = [pytest.mark.storm, pytest.mark.timeout(300)]

PEOPLE = 40
HELD_FOR = 2.0


def test_a_copy_sends_nothing_until_a_lead_confirms_it(
    database_url: str, database_kind: str, house: House, tmp_path: Path, tell: Tell, templates: Templates
) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    with storm_over(database_url, tmp_path / "first", sms=False) as storm:
        with storm.database.transaction() as session:
            for number in range(PEOPLE):
                a_subscriber(session, email=f"reader-{number}@example.com")
        assert _sent(storm, _publish(storm, house)) == PEOPLE
    with (
        _copy(database_url, tmp_path, templates.server) as copied,
        storm_over(copied, tmp_path / "second", sms=False) as storm,
    ):
        update_id = _publish(storm, house)
        worker = storm.nursery.start("run")
        wait_until(lambda: _held(storm.database), "the copy takes itself for the original")
        time.sleep(HELD_FOR)
        assert storm.smtp.arrivals == []
        with storm.database.transaction() as session:
            installation.confirm(session, by=LEAD, now=clock.now())
        after = _publish(storm, house)
        wait_until(lambda: _is_sent(storm, after), "nothing is sent although a lead has confirmed")
        worker.kill(signal.SIGTERM)
        assert worker.wait(40) == 0
        assert {one.update_id for one in storm.smtp.arrivals} == {after}, "news of before the confirmation"
        assert len(storm.smtp.arrivals) == PEOPLE
        assert not storm.smtp.copies(update_id)
    tell(f"copied database on {database_kind}", sent_while_held=0, sent_after_confirmation=PEOPLE)


@contextmanager
def _copy(url: str, folder: Path, server: PostgresServer) -> Iterator[str]:
    """The same rows in another place, as a restored backup or a clone for a test system."""
    if url.startswith("sqlite"):
        source = Path(url.removeprefix("sqlite:///"))
        target = folder / "elsewhere.db"
        target.write_bytes(source.read_bytes())
        yield f"sqlite:///{target}"
        return
    name = url.partition("@/")[2].partition("?")[0]
    copied = server.create(f"{name}_copy", template=name)
    try:
        yield copied
    finally:
        server.drop(f"{name}_copy")


def _publish(storm: Storm, house: House) -> int:
    with storm.database.transaction() as session:
        return publish_the_end(session, house)


def _sent(storm: Storm, update_id: int) -> int:
    storm.work()
    assert _is_sent(storm, update_id)
    return len(storm.smtp.arrivals)


def _is_sent(storm: Storm, update_id: int) -> bool:
    with storm.database.reading() as session:
        return progress(session, update_id).finished


def _held(database: Database) -> bool:
    with database.reading() as session:
        return installation.is_held(session)
