"""The database cannot be written to any more. Nothing goes on the wire without a stored intent, the lead sees that
nobody is at work, and once there is room again everything goes on by itself.
"""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, text

from incident_center import clock
from incident_center.db import Database
from incident_center.house import House
from incident_center.models import Delivery
from incident_center.web.console.board import WORKER_SILENT, Board, read_board
from tests.storms.children import publish_the_end
from tests.storms.conftest import Tell
from tests.storms.loops import Hang
from tests.storms.smtpd import Step
from tests.storms.storm import Child, nobody_missed, people, settled, storm_over, wait_until

pytestmark = [pytest.mark.storm, pytest.mark.timeout(600)]

PEOPLE = 300
FULL_FOR = 4.0
_TABLES = ("deliveries", "chunks", "worker_beats")


def test_a_full_disk_stops_the_wire_and_loses_nobody(
    database_url: str, database_kind: str, house: House, tmp_path: Path, tell: Tell
) -> None:
    with storm_over(database_url, tmp_path, sms=False, lease=2.0, resend_after=1.0) as storm:
        people(storm.database, by_email=PEOPLE)
        _watch_the_room(storm.database)
        storm.nursery.warm_up()
        storm.forget()
        storm.smtp.decide = lambda step, _: Hang(0.02) if step is Step.STORED else None
        with storm.database.transaction() as session:
            update_id = publish_the_end(session, house)
        worker = storm.nursery.start("run")
        wait_until(lambda: len(storm.smtp.arrivals) >= 60, "nothing was sent")
        with _full_disk(storm.database, worker):
            time.sleep(1.0)  # what was marked before is sent
            stored = _stored(storm.database, update_id)
            marked = {reader for people in storm.look().values() for _, reader in people}
            sent = len(storm.smtp.arrivals)
            assert sent < PEOPLE, "the disk was full too late"
            time.sleep(FULL_FOR)
            assert len(storm.smtp.arrivals) == sent, "something was sent without a stored intent"
            assert set(storm.smtp.copies(update_id)) <= stored | marked
            board = _board(storm.database)
            assert board.unwatched, "the lead is not told that nobody is at work"
            # On SQLite it is the worker alone that may not write.
            assert board.unwritable is not storm.database.is_sqlite, "the lead is not told why"
        wait_until(lambda: not _board(storm.database).unwatched, "the worker gives no sign of life")
        back = time.monotonic()
        wait_until(lambda: settled(storm.database, update_id), "the worker did not go on")
        resumed = time.monotonic() - back
        worker.kill(signal.SIGTERM)
        assert worker.wait(40) == 0
        heard = nobody_missed(storm.database, update_id, storm.arrived())
    tell(
        f"disk full on {database_kind}",
        full_for=f"{FULL_FOR:g} s",
        sent_meanwhile=0,
        missed=0,
        repeated=heard.repeated,
        resumed_after=f"{resumed:.1f} s",
    )


@contextmanager
def _full_disk(database: Database, worker: Child) -> Iterator[None]:
    """SQLite: the worker may write to no file, as when there is no room. PostgreSQL: the server says so."""
    if database.is_sqlite:
        _, most = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (0, most))
        yield
        resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (most, most))
        return
    _say(database, "RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'")
    yield
    _say(database, _ROOM)


_ROOM = "RETURN NEW"


def _watch_the_room(database: Database) -> None:
    """PostgreSQL: before anybody is at work, because triggers come and go with locks on whole tables, and what follows
    would wait for the workers in a ring."""
    if database.is_sqlite:
        return
    _say(database, _ROOM)
    with database.transaction() as session:
        for table in _TABLES:
            session.execute(
                text(
                    f"CREATE TRIGGER room BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION room()"
                )
            )


def _say(database: Database, what: str) -> None:
    with database.transaction() as session:
        session.execute(
            text(
                f"CREATE OR REPLACE FUNCTION room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {what}; END $$"
            )
        )


def _board(database: Database) -> Board:
    """What the board says in three quarters of a minute, if nothing changes: workers here tell twice a second."""
    with database.reading() as session:
        return read_board(session, database, now=clock.now() + WORKER_SILENT - timedelta(seconds=2))


def _stored(database: Database, update_id: int) -> set[int]:
    with database.reading() as session:
        return set(session.scalars(select(Delivery.subscriber_id).where(Delivery.update_id == update_id)))
