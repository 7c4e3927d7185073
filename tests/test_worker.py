"""The worker's loop: it ends in time, waits for a database that is away, and keeps no promises with a wrong clock."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from incident_center import clock, worker
from incident_center.center import Center
from incident_center.db import Database
from incident_center.models import Chunk, Delivery, Fanout, Incident, Promise, Update, WorkerBeat
from incident_center.states import DeliveryState, Phase
from incident_center.worker import Worker
from tests.builders import a_subscriber
from tests.delivery.servers import HANG, Mailhost, mailhost
from tests.incidents.scenes import declared, published


@pytest.fixture
def smtp() -> Iterator[Mailhost]:
    with mailhost() as host:
        yield host


def equipped(center: Center, url: str) -> Center:
    settings = replace(center.settings, email_urls=(url,))
    return replace(center, settings=settings, house=replace(center.house, settings=settings))


def publish(center: Center, *, readers: int) -> None:
    now = clock.now()
    with center.database.transaction() as session:
        for _ in range(readers):
            a_subscriber(session)
        incident = declared(session, center.house, now=now)
        published(session, center.house, incident, now=now)


def until(done: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def test_a_stopping_worker_settles_what_is_on_the_wire_and_gives_back_the_rest(
    center: Center, smtp: Mailhost
) -> None:
    slow = threading.Event()

    def replies(step: str, recipient: str) -> str | None:
        if step == "dot":
            slow.wait(0.05)
        return None

    smtp.replies = replies
    house = equipped(center, smtp.url)
    publish(house, readers=200)
    running = Worker(house)
    thread = threading.Thread(target=running.run)
    thread.start()
    until(lambda: len(smtp.mails) >= 10)
    running.stop.set()
    thread.join(20)
    assert not thread.is_alive()
    with center.database.reading() as session:
        rows = session.scalars(select(Delivery)).all()
        assert {row.state for row in rows} == {DeliveryState.ACCEPTED}
        assert len(rows) == len(smtp.mails) < 200
        assert all(chunk.owner is None and chunk.batch == [] for chunk in session.scalars(select(Chunk)))
    slow.set()
    with_another = Worker(house)
    while with_another.round():
        pass
    with_another.engine.release()
    assert len(smtp.mails) == len(set(smtp.recipients())) == 200


def test_a_relay_that_goes_quiet_at_the_dot_does_not_keep_a_stopping_worker(
    center: Center, smtp: Mailhost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "ANSWER_SECONDS", 0.5)
    smtp.replies = lambda step, _: HANG if step == "dot" else None
    house = equipped(center, smtp.url.replace("dot_timeout=1", "dot_timeout=600"))
    publish(house, readers=1)
    running = Worker(house)
    thread = threading.Thread(target=running.run)
    thread.start()
    until(lambda: len(smtp.mails) == 1)
    running.stop.set()
    thread.join(2.5)  # the server answers after three seconds
    assert not thread.is_alive()
    with center.database.reading() as session:
        assert session.scalars(select(Delivery.state)).all() == [DeliveryState.UNKNOWN]


def test_a_worker_waits_for_a_database_that_is_away(center: Center, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "TROUBLE_SECONDS", 0.01)
    running = Worker(center)
    answers = iter(
        [OperationalError("select 1", {}, Exception("gone")), OperationalError("select 1", {}, Exception())]
    )
    rounds: list[int] = []

    def round_() -> bool:
        rounds.append(1)
        error = next(answers, None)
        if error is not None:
            raise error
        running.stop.set()
        return False

    monkeypatch.setattr(running, "round", round_)
    running.run()
    assert len(rounds) == 3


def test_a_worker_whose_clock_is_off_keeps_no_promises(
    center: Center, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    with center.database.transaction() as session:
        incident = declared(session, center.house, now=now)
        published(session, center.house, incident, now=now)
    due = now + timedelta(minutes=30)
    running = Worker(center, now=lambda: due)
    monkeypatch.setattr(Database, "clock_skew", lambda *_: 5.1)
    running.round()
    with center.database.reading() as session:
        assert len(session.scalars(select(Update)).all()) == 1
    monkeypatch.setattr(Database, "clock_skew", lambda *_: -4.9)
    Worker(center, now=lambda: due).round()
    with center.database.reading() as session:
        assert len(session.scalars(select(Update)).all()) == 2
        assert session.get_one(Incident, incident.id).phase is Phase.INVESTIGATING
        assert len(session.scalars(select(Promise)).all()) == 2


def test_a_worker_shows_that_it_is_alive(center: Center) -> None:
    running = Worker(center)
    running.round()
    with center.database.reading() as session:
        (beat,) = session.scalars(select(WorkerBeat))
        assert beat.owner == running.owner
        assert clock.now() - beat.beat_at < timedelta(seconds=10)
    running.engine.release()


def test_a_stopped_worker_leaves_an_open_fanout_to_the_next(center: Center, smtp: Mailhost) -> None:
    house = equipped(center, smtp.url)
    publish(house, readers=3)
    first = Worker(house)
    first.stop.set()
    first.run()
    assert smtp.mails == []
    second = Worker(house)
    while second.round():
        pass
    second.engine.release()
    assert len(smtp.mails) == 3


def test_a_worker_checks_the_ledger_of_what_it_has_sent(center: Center, smtp: Mailhost) -> None:
    house = equipped(center, smtp.url)
    publish(house, readers=3)
    running = Worker(house)
    while running.round():
        pass
    running.engine.release()
    with center.database.reading() as session:
        assert session.scalars(select(Fanout.checked_at)).one() is not None


def test_a_fault_in_one_step_keeps_no_other_from_its_work(
    center: Center, smtp: Mailhost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "TROUBLE_SECONDS", 0.01)
    house = equipped(center, smtp.url)
    publish(house, readers=2)
    running = Worker(house)

    def broken() -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(running.engine, "singles_once", broken)
    while running.round():
        pass
    running.engine.release()
    assert len(smtp.mails) == 2
