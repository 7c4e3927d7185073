"""Workers are told to end, or fall asleep, in mid fan-out, as every deployment and every busy host does it."""

from __future__ import annotations

import random
import signal
import sqlite3
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Row, func, select

from incident_center.db import Database
from incident_center.delivery.questions import progress
from incident_center.house import House
from incident_center.models import Chunk, Delivery
from incident_center.states import Channel, DeliveryState
from tests.storms.children import publish_the_end
from tests.storms.conftest import Tell
from tests.storms.counts import COUNTS
from tests.storms.loops import Hang, Run
from tests.storms.smtpd import Step
from tests.storms.storm import (
    MOST_IN_FLIGHT,
    Child,
    Heard,
    Storm,
    nobody_missed,
    people,
    storm_over,
    wait_until,
)

pytestmark = [pytest.mark.storm, pytest.mark.timeout(1800)]

ROLLS = max(2, COUNTS.rolls // 2)  # on each database
BY_EMAIL, BY_SMS = 600, 12
SLOWLY = Hang(0.02)  # each reply to a message: a fan-out lasts long enough to be interrupted
LEASE = 1.5


def test_rolling_restarts_miss_nobody_and_repeat_nothing(
    database_url: str, database_kind: str, house: House, tmp_path: Path, tell: Tell
) -> None:
    chance = random.Random()
    slowest = 0.0
    rolled = 0
    with storm_over(database_url, tmp_path) as storm:
        people(storm.database, by_email=BY_EMAIL, by_sms=BY_SMS)
        storm.nursery.warm_up()
        storm.smtp.decide = lambda step, _: SLOWLY if step is Step.STORED else None
        while rolled < ROLLS:
            storm.forget()
            update_id = _publish(storm.database, house)
            worker = storm.nursery.start("run")
            while not _done(storm.database, update_id):
                goal = len(storm.smtp.arrivals) + chance.randint(1, 120)
                if not _arrives(storm, update_id, goal):
                    break
                time.sleep(chance.random() * 0.02)
                asked = time.monotonic()
                worker.kill(signal.SIGTERM)
                following = storm.nursery.start("run") if chance.random() < 0.5 else None
                assert worker.wait(40) == 0
                slowest = max(slowest, time.monotonic() - asked)
                worker = following or storm.nursery.start("run")
                rolled += 1
            worker.kill(signal.SIGTERM)
            assert worker.wait(40) == 0
            assert nobody_missed(storm.database, update_id, storm.arrived()) == Heard()
    tell(f"SIGTERM on {database_kind}", rolls=rolled, missed=0, repeated=0, slowest_end=f"{slowest:.2f} s")


def test_workers_side_by_side_write_to_everybody_once(
    database_url: str, house: House, tmp_path: Path
) -> None:
    with storm_over(database_url, tmp_path) as storm:
        people(storm.database, by_email=BY_EMAIL, by_sms=BY_SMS)
        storm.nursery.warm_up()
        for _ in range(3):
            storm.forget()
            update_id = _publish(storm.database, house)
            workers = [storm.nursery.start("work") for _ in range(3)]
            assert [worker.wait() for worker in workers] == [0, 0, 0]
            assert nobody_missed(storm.database, update_id, storm.arrived()) == Heard()


def test_a_worker_that_slept_three_leases_changes_nothing_with_its_late_outcome(
    database_url: str, database_kind: str, house: House, tmp_path: Path, tell: Tell
) -> None:
    """It is stopped after the server has stored a letter; another worker takes its people over and settles them."""
    with storm_over(database_url, tmp_path, sms=False, lease=LEASE, resend_after=LEASE) as storm:
        people(storm.database, by_email=150)
        storm.nursery.warm_up()
        storm.forget()
        sleep = Sleep(storm.database, after=5)  # most of both waves are still to be written
        storm.smtp.decide = sleep.at_mail
        update_id = _publish(storm.database, house)
        sleeper = storm.nursery.start("run", before=sleep.aim)
        assert sleep.fell_asleep.wait(30)
        asleep_at = time.monotonic()
        doubtful = storm.look()[Channel.EMAIL]
        assert 0 < len(doubtful) <= MOST_IN_FLIGHT[Channel.EMAIL]
        other = storm.nursery.start("run")
        wait_until(lambda: _accepted(storm.database, update_id) == 150, "nobody took over", seconds=30)
        before, sent = _rows(storm.database, update_id), len(storm.smtp.arrivals)
        time.sleep(max(0.0, asleep_at + 3 * LEASE - time.monotonic()))
        sleeper.kill(signal.SIGCONT)
        time.sleep(1.0)
        for worker in (sleeper, other):
            worker.kill(signal.SIGTERM)
            assert worker.wait(40) == 0
        assert _rows(storm.database, update_id) == before, "the late outcome has changed the ledger"
        # It may have fallen asleep between its last look at the lease and the write that follows.
        assert len(storm.smtp.arrivals) - sent <= 1, "the sleeper went on sending"
        heard = nobody_missed(storm.database, update_id, storm.arrived())
        assert heard.flagged == {reader for _, reader in doubtful}
    tell(
        f"SIGSTOP on {database_kind}",
        leases_asleep=3,
        doubtful=len(doubtful),
        repeated=heard.repeated,
        changed_by_the_late_outcome=0,
    )


@dataclass
class Sleep:
    """The server's part: stops the victim once so many letters have been stored.

    Who is stopped while a thread of theirs writes keeps SQLite's only writer for as long, and nobody can take over
    from them: then it is stopped a moment later.
    """

    database: Database
    after: int
    victim: Child | None = None

    def __post_init__(self) -> None:
        self.fell_asleep = threading.Event()

    def aim(self, victim: Child) -> None:
        self.victim = victim

    def at_mail(self, step: Step, _: str) -> Run | None:
        if step is not Step.STORED or self.fell_asleep.is_set():
            return None
        self.after -= 1
        return Run(self._stop) if self.after == 0 else None

    def _stop(self) -> None:
        assert self.victim is not None
        self._put_to_sleep(self.victim)
        while not self._others_may_write():
            self.victim.kill(signal.SIGCONT)
            time.sleep(0.002)
            self._put_to_sleep(self.victim)
        self.fell_asleep.set()

    def _put_to_sleep(self, victim: Child) -> None:
        """Until the last of its threads stands still: one that is just running goes on for a moment."""
        victim.kill(signal.SIGSTOP)
        tasks = Path(f"/proc/{victim.pid}/task")
        while any(_state(task) != "T" for task in tasks.iterdir()):
            time.sleep(0.001)

    def _others_may_write(self) -> bool:
        if not self.database.is_sqlite:
            return True
        file = str(self.database.url.database)
        with closing(sqlite3.connect(file, timeout=0.1, isolation_level=None)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
        return True


def _state(task: Path) -> str:
    return (task / "stat").read_text().rpartition(")")[2].split()[0]


def _publish(database: Database, house: House) -> int:
    with database.transaction() as session:
        return publish_the_end(session, house)


def _done(database: Database, update_id: int) -> bool:
    with database.reading() as session:
        return progress(session, update_id).finished


def _arrives(storm: Storm, update_id: int, goal: int) -> bool:
    """False when everything was sent before so many had arrived."""
    while len(storm.smtp.arrivals) < goal:
        if _done(storm.database, update_id):
            return False
        time.sleep(0.005)
    return True


def _accepted(database: Database, update_id: int) -> int:
    with database.reading() as session:
        query = select(func.count()).where(
            Delivery.update_id == update_id, Delivery.state == DeliveryState.ACCEPTED
        )
        open_batches = session.scalar(select(func.count(Chunk.id)).where(Chunk.batch_at.is_not(None)))
        return 0 if open_batches else session.scalar(query) or 0


def _rows(database: Database, update_id: int) -> Sequence[Row[Any]]:
    with database.reading() as session:
        return session.execute(
            select(*Delivery.__table__.columns)
            .where(Delivery.update_id == update_id)
            .order_by(Delivery.subscriber_id)
        ).all()
