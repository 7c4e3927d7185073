"""Workers are killed in mid fan-out, at random moments, round after round. Nobody is missed; whoever may
have got two copies is flagged; the ledger says what the servers have received.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select as select_rows

from incident_center import clock
from incident_center.db import Database
from incident_center.delivery.questions import ledger_check, progress
from incident_center.house import House
from incident_center.models import Delivery, Subscriber
from incident_center.states import DeliveryState
from tests.builders import a_subscriber
from tests.delivery.servers import Mailhost, SmsGateway, mailhost, sms_gateway
from tests.delivery.stories import publish

pytestmark = [pytest.mark.storm, pytest.mark.timeout(1500)]

ROUNDS = int(os.environ.get("STORM_ROUNDS", "20"))
BY_EMAIL, BY_SMS = 360, 24
KILLS = 3


class Storm:
    """Its servers, and workers that come and go, one at a time."""

    def __init__(self, database_url: str, folder: Path, smtp: Mailhost, gateway: SmsGateway) -> None:
        self.smtp, self.gateway = smtp, gateway
        given = {
            "database_url": database_url,
            "data_dir": str(folder),
            "email_url": f"smtp://127.0.0.1:{smtp.port}?from=status@pay.example",
            "sms_url": gateway.url,
        }
        self._nursery = subprocess.Popen(
            [sys.executable, "-m", "tests.storms.deliverer", json.dumps(given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def close(self) -> None:
        self._nursery.communicate(timeout=60)

    def forget(self) -> None:
        self.smtp.mails.clear()
        self.gateway.texts.clear()

    def arrived(self) -> Counter[str]:
        return Counter(self.smtp.recipients() + self.gateway.recipients())

    def run(self, *, ahead: float = 0, kill_after: tuple[int, float] | None = None) -> None:
        """One worker with its clock so far ahead; it is killed once (so many messages have arrived, and so
        many seconds gone by), or not at all."""
        worker = self._start(ahead)
        if kill_after is not None:
            arrivals, delay = kill_after
            goal = self._number() + arrivals
            while self._number() < goal and not self._has_ended():
                time.sleep(0.001)
            time.sleep(delay)
            if not self._has_ended():
                os.kill(worker, signal.SIGKILL)
        status = self._answer()
        assert status == 0 or (kill_after is not None and status == signal.SIGKILL)

    def _start(self, ahead: float) -> int:
        assert self._nursery.stdin is not None
        self._nursery.stdin.write(f"{ahead}\n".encode())
        self._nursery.stdin.flush()
        return self._answer()

    def _answer(self) -> int:
        assert self._nursery.stdout is not None
        return int(self._nursery.stdout.readline())

    def _has_ended(self) -> bool:
        assert self._nursery.stdout is not None
        return bool(select.select([self._nursery.stdout], [], [], 0)[0])

    def _number(self) -> int:
        return len(self.smtp.mails) + len(self.gateway.texts)


def test_killed_workers_miss_nobody_and_repeat_only_what_is_flagged(
    database_url: str, house: House, tmp_path: Path
) -> None:
    chance = (
        random.Random()
    )  # the moments of death are the operating system's too: a seed would repeat nothing
    database = Database(database_url)
    with database.transaction() as session:
        for number in range(BY_EMAIL):
            a_subscriber(session, email=f"reader-{number}@example.com")
        for number in range(BY_SMS):
            a_subscriber(session, phone=f"+4915112340{number:03}")
    flagged = 0
    with mailhost() as smtp, sms_gateway() as gateway:
        storm = Storm(database_url, tmp_path, smtp, gateway)
        for _ in range(ROUNDS):
            storm.forget()
            flagged += one_round(storm, database, house, chance)
        storm.close()
    database.dispose()
    # Otherwise nobody was ever killed with people on the wire, and this has tested nothing.
    assert flagged > 0


def test_workers_side_by_side_write_to_everybody_once(
    database_url: str, house: House, tmp_path: Path
) -> None:
    database = Database(database_url)
    with database.transaction() as session:
        for number in range(BY_EMAIL):
            a_subscriber(session, email=f"reader-{number}@example.com")
        for number in range(BY_SMS):
            a_subscriber(session, phone=f"+4915112340{number:03}")
    with mailhost() as smtp, sms_gateway() as gateway, ThreadPoolExecutor() as threads:
        storms = [Storm(database_url, tmp_path, smtp, gateway) for _ in range(3)]
        for _ in range(max(1, ROUNDS // 4)):
            storms[0].forget()
            with database.transaction() as session:
                update_id = publish(session, house, now=clock.now()).id
            for running in [threads.submit(storm.run) for storm in storms]:
                running.result()
            assert check(storms[0], database, update_id) == 0
        for storm in storms:
            storm.close()
    database.dispose()


def one_round(storm: Storm, database: Database, house: House, chance: random.Random) -> int:
    """Publishes, kills, recovers, checks; answers how many people were flagged."""
    with database.transaction() as session:
        update_id = publish(session, house, now=clock.now()).id
    for _ in range(KILLS):
        storm.run(kill_after=(chance.randint(0, 120), chance.random() * 0.02))
    storm.run()
    storm.run(ahead=70)  # leases have run out: what was on the wire is unknown
    storm.run(ahead=140)  # and is sent again
    return check(storm, database, update_id)


def check(storm: Storm, database: Database, update_id: int) -> int:
    arrived = storm.arrived()
    with database.reading() as session:
        people = {row.id: row.email or row.phone or "" for row in session.scalars(select_rows(Subscriber))}
        rows = session.scalars(select_rows(Delivery).where(Delivery.update_id == update_id)).all()
        assert ledger_check(session, update_id) == []
        seen = progress(session, update_id)
    assert {row.subscriber_id for row in rows} == people.keys()
    assert {row.state for row in rows} == {DeliveryState.ACCEPTED}
    assert (seen.audience, seen.finished) == (len(people), True)
    for row in rows:
        copies = arrived.pop(people[row.subscriber_id], 0)
        assert copies in ({1, 2} if row.possibly_twice else {1}), (row.subscriber_id, copies)
    assert not arrived
    assert all("Message-ID" in mail.message for mail in storm.smtp.mails)
    return seen.possibly_twice
