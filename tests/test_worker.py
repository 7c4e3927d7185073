"""The worker's loop: it ends in time, waits for a database that is away, and keeps no promises with a wrong clock."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import OperationalError

from incident_center import clock, worker
from incident_center.center import Center
from incident_center.db import Database
from incident_center.delivery import installation, slots
from incident_center.delivery.singles import queue_message
from incident_center.models import (
    Chunk,
    Delivery,
    Fanout,
    Incident,
    Installation,
    Promise,
    ProviderSlot,
    Update,
    WorkerBeat,
)
from incident_center.states import Channel, DeliveryState, MessageKind, Phase, UpdateKind
from incident_center.worker import Worker, lanes_of
from tests.builders import a_subscriber
from tests.delivery.servers import HANG, Mailhost, SmsGateway, mailhost, sms_gateway
from tests.incidents.scenes import declared, published


@pytest.fixture
def smtp() -> Iterator[Mailhost]:
    with mailhost() as host:
        yield host


@pytest.fixture
def gateway() -> Iterator[SmsGateway]:
    with sms_gateway() as running:
        yield running


def equipped(center: Center, url: str, *, sms: str = "") -> Center:
    settings = replace(center.settings, email_urls=(url,), sms_urls=tuple(sms.split()))
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
    house = equipped(center, smtp.url.replace("dot_timeout=30", "dot_timeout=600"))
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

    monkeypatch.setattr(running.lanes[0], "round", round_)
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


@contextmanager
def at_work(center: Center) -> Iterator[Worker]:
    """As `incident-center worker` does it."""
    running = Worker(center, lanes=lanes_of(center.settings))
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        yield running
    finally:
        running.stop.set()
        thread.join(30)
        assert not thread.is_alive()


def a_code(center: Center, channel: Channel, address: str) -> None:
    with center.database.transaction() as session:
        queue_message(
            session,
            kind=MessageKind.CONFIRM,
            channel=channel,
            address=address,
            language="en",
            subject="Your code",
            text="Your code: 123456",
            now=clock.now(),
            lifetime=timedelta(minutes=30),
        )


def test_a_gateway_that_hangs_holds_up_no_e_mail_and_no_promise(
    center: Center, smtp: Mailhost, gateway: SmsGateway
) -> None:
    hanging, free = threading.Event(), threading.Event()

    def slow(_: str) -> None:
        hanging.set()
        free.wait(4)

    gateway.answer = slow
    house = equipped(center, smtp.url, sms=gateway.url)
    with center.database.transaction() as session:
        for number in range(5):
            a_subscriber(session, phone=f"+4915112340{number:03}")
    publish(house, readers=20)
    a_code(house, Channel.SMS, "+4915112349999")
    with at_work(house):
        assert hanging.wait(20)
        a_code(house, Channel.EMAIL, "new@example.com")
        now = clock.now()
        with center.database.transaction() as session:
            late = declared(session, center.house, now=now - timedelta(minutes=40))
            published(session, center.house, late, now=now - timedelta(minutes=31))
        held = select(func.count()).select_from(Update).where(Update.kind == UpdateKind.HOLDING)
        until(lambda: "new@example.com" in smtp.recipients() and counted(center, held) == 1)
        until(lambda: len(smtp.mails) >= 21)
        assert len(gateway.texts) < 5, "the texts were faster: this says nothing"
        free.set()
        until(lambda: len(gateway.texts) >= 6)


def counted(center: Center, query: Any) -> int:
    with center.database.reading() as session:
        return int(session.scalar(query) or 0)


def test_a_mail_server_that_hangs_keeps_its_connections_and_its_worker_alive(
    center: Center, smtp: Mailhost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its slots are not for others while its connections are open, however long it waits for the dot."""
    monkeypatch.setattr(worker, "BEAT_EVERY", timedelta(seconds=0.1))
    hanging, free = threading.Event(), threading.Event()

    def replies(step: str, _: str) -> str | None:
        if step == "dot":
            hanging.set()
            free.wait(20)
        return None

    smtp.replies = replies
    house = equipped(center, smtp.url.replace("dot_timeout=30", "dot_timeout=600") + "&connections=1")
    publish(house, readers=1)
    with at_work(house) as running:
        assert hanging.wait(20)
        with center.database.transaction() as session:
            session.execute(update(ProviderSlot).values(until=clock.now() + timedelta(seconds=1)))
        renewed = select(func.count()).where(
            ProviderSlot.owner == running.owner, ProviderSlot.until > clock.now() + slots.HELD_FOR / 2
        )
        until(lambda: counted(center, renewed) == 1)
        free.set()


def test_a_worker_of_one_channel_knows_no_other(center: Center, smtp: Mailhost, gateway: SmsGateway) -> None:
    house = equipped(center, f"{smtp.url}&connections=2", sms=gateway.url)
    with center.database.transaction() as session:
        a_subscriber(session, phone="+4915112340000")
    publish(house, readers=2)
    texts = Worker(house, lanes=[frozenset({Channel.SMS})])
    while texts.round():
        pass
    with center.database.reading() as session:
        assert session.scalars(select(ProviderSlot.owner)).all() == []
        assert session.scalars(select(WorkerBeat.channels)).all() == ["sms"]
    assert (len(gateway.texts), len(smtp.mails)) == (1, 0)
    texts.engine.release()


def test_a_clock_that_is_set_back_an_hour_keeps_nobody_waiting(center: Center) -> None:
    now = clock.now()
    at = [now]
    with center.database.transaction() as session:
        incident = declared(session, center.house, now=now - timedelta(hours=2))
        published(session, center.house, incident, now=now - timedelta(hours=2))
    running = Worker(center, now=lambda: at[0])
    running.life._kept_at = running.life._beat_at = now + timedelta(hours=1)
    running.round({"keep", "beat"})
    with center.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Update)) == 2
        assert session.scalars(select(WorkerBeat.beat_at)).all() == [now]
    running.engine.release()


def test_a_worker_whose_clock_is_off_takes_nobodys_leases_and_says_so(
    center: Center, smtp: Mailhost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Database, "clock_skew", lambda *_: 60.0)
    house = equipped(center, smtp.url)
    publish(house, readers=2)
    running = Worker(house)
    while running.round():
        pass
    running.life._beat_at = None
    running.round({"beat"})
    with center.database.reading() as session:
        assert "clock is ahead" in session.scalars(select(WorkerBeat.note)).one()
        assert session.scalars(select(Chunk.owner)).all() == [None]
    assert smtp.mails == []
    monkeypatch.setattr(Database, "clock_skew", lambda *_: 0.0)
    while running.round():
        pass
    running.engine.release()
    assert len(smtp.mails) == 2


def test_a_restored_database_shows_before_anything_is_due(center: Center) -> None:
    running = Worker(center)
    running.round({"look"})
    with center.database.transaction() as session:
        session.get_one(Installation, 1).fingerprint = "elsewhere"
    again = Worker(center)
    again.round({"look"})
    with center.database.reading() as session:
        assert installation.is_held(session)
    for one in (running, again):
        one.engine.release()


def test_signs_of_life_from_yesterday_are_forgotten(center: Center) -> None:
    with center.database.transaction() as session:
        for owner, hours in (("old", 25), ("recent", 1)):
            at = clock.now() - timedelta(hours=hours)
            session.add(WorkerBeat(owner=owner, host="h", started_at=at, beat_at=at))
    running = Worker(center)
    running.round({"beat"})
    with center.database.reading() as session:
        assert set(session.scalars(select(WorkerBeat.owner))) == {"recent", running.owner}
    running.engine.release()


def test_a_database_that_answers_with_errors_stands_in_the_workers_note(center: Center) -> None:
    running = Worker(center)
    answers = iter([OperationalError("select 1", {}, Exception("gone"))])

    def expand() -> bool:
        for error in answers:
            raise error
        return False

    running.engine.expand_once = expand  # type: ignore[method-assign]
    with pytest.raises(OperationalError):
        running.round({"expand"})
    running.round({"beat"})
    with center.database.reading() as session:
        assert "the database answered with an error" in session.scalars(select(WorkerBeat.note)).one()
    running.round({"expand"})
    assert running.note() == ""
    running.engine.release()
