"""While the database works, letters that are on their way go on: nobody waits for both, one after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from incident_center.db import Database
from incident_center.delivery import chunks, leases
from incident_center.delivery.ledger import BATCH
from incident_center.delivery.transports.smtp_pool import SmtpPool
from incident_center.models import Chunk, Delivery
from incident_center.states import Channel, DeliveryState
from tests.builders import a_subscriber
from tests.delivery.servers import Mailhost
from tests.delivery.stories import Post, publish

PEOPLE = 60


class Lock:
    """Somebody holds the chunks, so that no settlement gets past; gives up after a while."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._let_go, self._held = threading.Event(), threading.Event()
        self.in_time = False
        self._thread = threading.Thread(target=self._hold)

    def take(self) -> None:
        if not self._held.is_set():
            self._thread.start()
            self._held.wait(10)

    def _hold(self) -> None:
        with self._database.transaction() as session:
            session.execute(select(Chunk.id).with_for_update()).all()
            self._held.set()
            self.in_time = self._let_go.wait(15)

    def let_go(self) -> None:
        self._let_go.set()

    def end(self) -> None:
        self.let_go()
        self._thread.join()


def _readers(post: Post, number: int) -> None:
    with post.database.transaction() as session:
        for place in range(number):
            a_subscriber(session, email=f"reader-{place}@example.com")
        publish(session, post.house)
    post.engine.expand_once()


@pytest.mark.parametrize("database_kind", ["postgres"])  # SQLite answers at once, or makes everybody wait
def test_the_second_wave_lands_while_the_first_is_being_written(
    database: Database, open_post: Callable[..., Post], smtp: Mailhost
) -> None:
    lock = Lock(database)

    def replies(step: str, _: str) -> str | None:
        if step == "dot":
            lock.take()
            if len(smtp.mails) + 1 >= BATCH[Channel.EMAIL]:  # both waves are there, the first is not written
                lock.let_go()
        return None

    smtp.replies = replies
    post = open_post(email=smtp.url + "&connections=2")
    _readers(post, PEOPLE)
    post.engine.deliver_once(Channel.EMAIL)
    lock.end()
    assert lock.in_time
    assert sorted(smtp.recipients()) == sorted(f"reader-{number}@example.com" for number in range(PEOPLE))
    with database.reading() as session:
        states = session.scalars(select(Delivery.state)).all()
    assert states == [DeliveryState.ACCEPTED] * PEOPLE


@pytest.mark.parametrize("database_kind", ["postgres"])
def test_a_fault_of_the_wire_costs_no_outcome_that_is_being_written(
    post: Post, smtp: Mailhost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """These are known here and nowhere else: lost, they would be unknown, and their people written to twice."""
    faults = iter([True])

    def broken(self: SmtpPool, socket: int) -> None:
        if next(faults, False):
            raise RuntimeError("can't start new thread")
        real(self, socket)

    real = SmtpPool.until_readable
    monkeypatch.setattr(SmtpPool, "until_readable", broken)
    _readers(post, PEOPLE)
    post.work()
    assert next(faults, None) is None
    assert len(smtp.mails) == len(set(smtp.recipients())) == PEOPLE


def test_a_settlement_that_broke_is_tried_once_more(
    post: Post, smtp: Mailhost, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = iter([False, True])

    def broken(session: Session, **given: Any) -> Any:
        if next(faults, False):
            raise MemoryError
        return real(session, **given)

    real = chunks.settle
    monkeypatch.setattr(chunks, "settle", broken)
    _readers(post, PEOPLE)
    with pytest.raises(MemoryError):
        post.engine.deliver_once(Channel.EMAIL)
    post.work()
    assert len(smtp.mails) == len(set(smtp.recipients())) == PEOPLE


def test_letters_land_while_the_database_is_away(
    open_post: Callable[..., Post], smtp: Mailhost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mail server does not wait for half a message for ever, and a provider that works must not be rested."""
    landed: list[int] = []

    def away(session: Session, **given: Any) -> Any:
        if len(landed) < 3:
            landed.append(len(smtp.mails))
            raise OperationalError("COMMIT", None, Exception("server closed the connection unexpectedly"))
        return real(session, **given)

    real = chunks.settle
    monkeypatch.setattr(chunks, "settle", away)
    monkeypatch.setattr(leases, "_AWAY_SECONDS", 1.0)
    post = open_post(email=smtp.url + "&connections=1")
    _readers(post, PEOPLE)
    post.engine.deliver_once(Channel.EMAIL)
    assert landed[0] < BATCH[Channel.EMAIL] <= landed[2]
    assert len(smtp.mails) == len(set(smtp.recipients())) == PEOPLE


def test_rest_takes_its_time_with_nothing_on_the_wire(post: Post) -> None:
    began = time.monotonic()
    post.engine._dispatch.rest(0.05)
    assert time.monotonic() - began >= 0.05


@pytest.mark.parametrize("database_kind", ["postgres"])
def test_a_migration_beside_a_running_worker_costs_nobody_a_second_copy(
    database: Database, post: Post, smtp: Mailhost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan that has been prepared does not fit its table any more: a new connection makes a new one."""
    monkeypatch.setattr(leases, "_AWAY_SECONDS", 0.01)
    number = 5 * BATCH[Channel.EMAIL]
    calls = iter(range(100))

    def migrated(session: Session, **given: Any) -> Any:
        if next(calls) == 3:
            with database.engine.begin() as connection:
                connection.execute(text("ALTER TABLE subscribers ALTER COLUMN zone TYPE varchar(200)"))
        return real(session, **given)

    real = chunks.settle
    monkeypatch.setattr(chunks, "settle", migrated)
    _readers(post, number)
    post.work()
    assert next(calls) > 4
    assert len(smtp.mails) == len(set(smtp.recipients())) == number
