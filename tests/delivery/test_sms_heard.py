"""What comes over an SMPP session is heard whether anything is sent or not, and is not lost on its way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import OperationalError

from incident_center import clock
from incident_center.center import Center
from incident_center.db import Database
from incident_center.models import Installation, ProviderSlot, Subscriber, Suppression
from incident_center.states import SubscriberState
from incident_center.worker import Worker
from tests.builders import a_subscriber
from tests.delivery.gateways import Smsc, deliver_sm, smsc, until

pytestmark = pytest.mark.one_database
NUMBERS = ("4915112345671", "4915112345672", "4915112345673")


@pytest.fixture
def centre() -> Iterator[Smsc]:
    with smsc() as running:
        yield running


@pytest.fixture
def open_worker(center: Center, centre: Smsc) -> Iterator[Callable[..., Worker]]:
    """A worker whose only provider of texts is the message centre."""
    opened: list[Worker] = []

    def opener(options: str = "") -> Worker:
        settings = replace(center.settings, sms_urls=(centre.url + options,))
        worker = Worker(replace(center, settings=settings, house=replace(center.house, settings=settings)))
        opened.append(worker)
        return worker

    yield opener
    for worker in opened:
        worker.engine.release()


def subscribers(database: Database) -> None:
    with database.transaction() as session:
        for number in NUMBERS:
            a_subscriber(session, phone=f"+{number}")


def stopped(database: Database) -> int:
    with database.reading() as session:
        states = session.scalars(select(Subscriber.state)).all()
        assert session.scalar(select(func.count()).select_from(Suppression)) == states.count(
            SubscriberState.UNSUBSCRIBED
        )
    return states.count(SubscriberState.UNSUBSCRIBED)


def stop_from(centre: Smsc, *numbers: str) -> None:
    centre.push(b"".join(deliver_sm(b"STOP", sender=number) for number in numbers))


def taken_in(worker: Worker, centre: Smsc, number: int) -> None:
    """Until the message centre has been told so many times that we have it."""

    def answered() -> bool:
        worker.engine.listen()
        return centre.heard.count(("deliver_sm_resp", 0)) == number

    until(answered)


def hear(worker: Worker) -> None:
    worker.lanes[0]._heard_at = None
    worker.round({"receipts"})


def test_texts_outlive_a_database_that_is_away(
    open_worker: Callable[..., Worker], centre: Smsc, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribers(database)
    worker = open_worker()
    bound(worker, centre)
    stop_from(centre, *NUMBERS)
    taken_in(worker, centre, 3)
    answer, asked = worker.lanes[0]._answer, []

    def breaking(text: tuple[str, str]) -> None:
        asked.append(text)
        if len(asked) == 2:
            raise OperationalError("update", {}, Exception("gone"))
        answer(text)

    monkeypatch.setattr(worker.lanes[0], "_answer", breaking)
    with pytest.raises(OperationalError):
        hear(worker)
    assert stopped(database) == 1
    hear(worker)
    assert stopped(database) == 3


def test_a_text_that_breaks_something_keeps_no_other_from_being_heard(
    open_worker: Callable[..., Worker], centre: Smsc, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribers(database)
    worker = open_worker()
    bound(worker, centre)
    stop_from(centre, *NUMBERS)
    taken_in(worker, centre, 3)
    answer = worker.lanes[0]._answer

    def breaking(text: tuple[str, str]) -> None:
        if text[0].endswith("1"):
            raise RuntimeError
        answer(text)

    monkeypatch.setattr(worker.lanes[0], "_answer", breaking)
    monkeypatch.setattr("incident_center.worker.TROUBLE_SECONDS", 0.0)
    hear(worker)
    hear(worker)
    assert stopped(database) == 2


def test_a_worker_that_ends_has_heard_what_it_took_and_takes_no_more(
    open_worker: Callable[..., Worker], centre: Smsc, database: Database
) -> None:
    subscribers(database)
    worker = open_worker()
    bound(worker, centre)
    stop_from(centre, *NUMBERS[:2])
    taken_in(worker, centre, 2)
    stop_from(centre, NUMBERS[2])  # it is read while the session is ended
    worker.end()
    assert stopped(database) == 2
    until(lambda: ("deliver_sm_resp", 0x64) in centre.heard)  # the message centre will come again


def bound(worker: Worker, centre: Smsc) -> None:
    worker.engine.listen()
    assert centre.binds


def test_a_worker_that_sends_nothing_hears_a_stop(
    open_worker: Callable[..., Worker], centre: Smsc, database: Database
) -> None:
    subscribers(database)
    worker = open_worker()
    hear(worker)
    stop_from(centre, NUMBERS[0])

    def heard() -> bool:
        hear(worker)
        return stopped(database) == 1

    until(heard)


def test_a_question_over_smpp_is_answered(
    open_worker: Callable[..., Worker], centre: Smsc, database: Database
) -> None:
    worker = open_worker()
    hear(worker)
    centre.push(deliver_sm(b"HELP", sender=NUMBERS[0]))

    def answered() -> bool:
        hear(worker)
        worker.round({"singles"})
        return bool(centre.submits)

    until(answered)
    (reply,) = centre.submits
    assert reply.destination_addr.decode() == NUMBERS[0]
    assert b"Reply STOP to end it" in reply.short_message


def test_one_session_for_two_workers_is_one_workers(
    open_worker: Callable[..., Worker], centre: Smsc, database: Database
) -> None:
    first, second = (open_worker("?connections=1") for _ in range(2))
    for worker in (first, second) * 2:
        hear(worker)
    assert len(centre.binds) == 1
    first.end()
    assert centre.commands()[-1] == "unbind"
    second.engine._shared_at = None  # five seconds later
    hear(second)
    assert len(centre.binds) == 2


def test_who_has_lost_the_slot_lets_go_of_the_session(
    open_worker: Callable[..., Worker], centre: Smsc, database: Database
) -> None:
    first, second = (open_worker("?connections=1") for _ in range(2))
    hear(first)
    with database.transaction() as session:  # it was frozen for half a minute
        session.execute(update(ProviderSlot).values(until=clock.now()))
    second.engine._register()
    first.engine._shared_at = None
    hear(first)
    assert centre.commands()[-1] == "unbind"
    hear(first)
    hear(second)
    assert len(centre.binds) == 2


def test_a_copied_database_binds_no_session(
    open_worker: Callable[..., Worker], centre: Smsc, database: Database
) -> None:
    hear(open_worker())
    with database.transaction() as session:
        session.execute(update(Installation).values(fingerprint="elsewhere"))
    hear(open_worker())
    assert len(centre.binds) == 1
