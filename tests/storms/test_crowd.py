"""Six web processes and four workers write to one SQLite file. Nobody ever hears that it is locked."""

from __future__ import annotations

import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import func, select

from incident_center import clock
from incident_center.delivery.questions import ledger_check, progress
from incident_center.models import Delivery, Message, Subscriber, Update
from incident_center.staff.tokens import add_token
from incident_center.states import DeliveryState, SubscriberState
from tests.builders import a_component, a_subscriber
from tests.storms.children import LOCKED
from tests.storms.conftest import Tell
from tests.storms.counts import COUNTS
from tests.storms.storm import Storm, storm_over, wait_until

pytestmark = [pytest.mark.storm, pytest.mark.one_database, pytest.mark.timeout(900)]

WRITERS, WORKERS = 6, 4
READERS = 60
WAL_MAX = 64 * 1024 * 1024


def test_six_writers_and_four_workers_never_find_the_file_locked(
    database_url: str, tmp_path: Path, tell: Tell
) -> None:
    wal = Path(f"{database_url.removeprefix('sqlite:///')}-wal")
    largest = 0
    with storm_over(database_url, tmp_path, sms=False, web=True) as storm:
        with storm.database.transaction() as session:
            a_component(session)
            token = add_token(session, name="robot", role="lead", days=30, now=clock.now())
            for number in range(READERS):
                a_subscriber(session, email=f"reader-{number}@example.com")
        workers = [storm.nursery.start("run") for _ in range(WORKERS)]
        writers = [storm.nursery.start("write", token=token, nth=seed) for seed in range(WRITERS)]
        wait_until(lambda: _enrolled(storm) > WRITERS, "nobody was enrolled")
        end = time.monotonic() + COUNTS.crowd_seconds
        while time.monotonic() < end:
            time.sleep(0.2)
            largest = max(largest, wal.stat().st_size if wal.exists() else 0)
            assert not any(child.ended.is_set() for child in (*writers, *workers)), "somebody gave up"
        for writer in writers:
            writer.kill(signal.SIGTERM)
        assert [writer.wait() for writer in writers] == [0] * WRITERS
        wait_until(lambda: _all_sent(storm), "the workers did not come to an end", seconds=300, every=0.5)
        for worker in workers:
            worker.kill(signal.SIGTERM)
        assert [worker.wait(40) for worker in workers] == [0] * WORKERS
        updates, enrolled = _everybody_once(storm)
    locked = tmp_path / LOCKED
    assert not locked.exists(), locked.read_text(encoding="utf-8")
    assert largest <= WAL_MAX
    tell(
        "a crowd on sqlite",
        writers=WRITERS,
        workers=WORKERS,
        seconds=COUNTS.crowd_seconds,
        updates=updates,
        enrolled=enrolled,
        locked=0,
        largest_wal=f"{largest / 1e6:.1f} MB",
    )


def _enrolled(storm: Storm) -> int:
    with storm.database.reading() as session:
        query = select(func.count(Subscriber.id)).where(Subscriber.state == SubscriberState.PENDING)
        return session.scalar(query) or 0


def _all_sent(storm: Storm) -> bool:
    with storm.database.reading() as session:
        waiting = session.scalar(select(func.count(Message.id)).where(Message.not_before.is_not(None)))
        updates = session.scalars(select(Update.id)).all()
        return not waiting and all(progress(session, update_id).finished for update_id in updates)


def _everybody_once(storm: Storm) -> tuple[int, int]:
    """How many updates went out, and how many people were enrolled meanwhile."""
    with storm.database.reading() as session:
        updates = session.scalars(select(Update.id)).all()
        confirmed = set(
            session.scalars(select(Subscriber.id).where(Subscriber.state == SubscriberState.CONFIRMED))
        )
        assert len(confirmed) == READERS
        for update_id in updates:
            assert ledger_check(session, update_id) == []
            rows = session.scalars(select(Delivery).where(Delivery.update_id == update_id)).all()
            assert {row.subscriber_id for row in rows} == confirmed
            assert {row.state for row in rows} == {DeliveryState.ACCEPTED}
            assert storm.smtp.copies(update_id) == Counter(dict.fromkeys(confirmed, 1))
    assert updates
    return len(updates), _enrolled(storm)
