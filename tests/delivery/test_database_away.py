"""What a provider has answered is known to one worker only: it is kept until the database takes it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.orm import Session

from incident_center.db import Database
from incident_center.delivery import chunks, leases, rows
from incident_center.delivery.courier import SmtpCourier
from incident_center.delivery.fanout import queue_current_status
from incident_center.delivery.leases import Lease, LeaseKeeper, surely
from incident_center.delivery.outcome import Outcome
from incident_center.delivery.questions import ledger_check
from incident_center.delivery.transports.posted import Posted
from incident_center.models import Chunk, Delivery
from incident_center.states import Channel, DeliveryState
from tests.builders import a_subscriber
from tests.delivery.gateways import http_gateway, twilio_no
from tests.delivery.servers import SLOW, Mailhost
from tests.delivery.stories import Clock, Post, publish


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_AWAY_SECONDS", 0.01)


def readers(post: Post, number: int) -> int:
    with post.database.transaction() as session:
        for place in range(number):
            a_subscriber(session, email=f"reader{place}@example.com")
        update_id = publish(session, post.house, now=post.clock()).id
    assert post.engine.expand_once()
    return update_id


class Away:
    """Stands in for a settlement: each call fails and lets time pass, until the database is back."""

    def __init__(self, real: Callable[..., Any], clock: Clock, *, calls: int, seconds: float) -> None:
        self.real, self.clock, self.left, self.seconds = real, clock, calls, seconds

    def __call__(self, session: Session, **given: Any) -> Any:
        if self.left:
            self.left -= 1
            self.clock.move(seconds=self.seconds)
            raise OperationalError("COMMIT", None, Exception("server closed the connection unexpectedly"))
        return self.real(session, **given)


def test_nobody_is_written_to_twice_when_the_database_is_away_for_longer_than_a_lease(
    post: Post, smtp: Mailhost, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    update_id = readers(post, 120)
    monkeypatch.setattr(chunks, "settle", Away(chunks.settle, clock, calls=4, seconds=30))
    for _ in range(4):
        post.work()
        clock.move(seconds=61)
    assert len(smtp.mails) == len(set(smtp.recipients())) == 120
    assert {row.state for row in post.rows()} == {DeliveryState.ACCEPTED}
    with post.database.reading() as session:
        assert ledger_check(session, update_id) == []


def test_a_row_outlives_it_too(
    post: Post, smtp: Mailhost, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    smtp.replies = lambda step, _: "450 4.2.0 later" if step == "rcpt" else None
    readers(post, 3)
    post.work()
    smtp.replies = lambda *_: None
    clock.move(minutes=1)
    monkeypatch.setattr(rows, "settle", Away(rows.settle, clock, calls=3, seconds=30))
    post.work()
    assert (len(smtp.mails), {row.state for row in post.rows()}) == (3, {DeliveryState.ACCEPTED})


def test_what_has_landed_is_written_when_the_wave_before_it_could_not_be(
    post: Post, smtp: Mailhost, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers(post, 50)
    # While the last letter of the first wave takes its time, the other connections go on with the second.
    smtp.replies = lambda step, to: SLOW if (step, to) == ("dot", "reader24@example.com") else None
    real, broken = chunks.settle, [True, True]  # it is tried once more when the others are written

    def settle(session: Session, **given: Any) -> Any:
        if broken:
            broken.pop()
            raise DataError("INSERT", None, Exception("a value that it does not take"))
        return real(session, **given)

    monkeypatch.setattr(chunks, "settle", settle)
    with pytest.raises(DataError):
        post.engine.deliver_once(Channel.EMAIL)
    assert len(smtp.mails) > 25  # some of the second wave were on the wire
    assert [row.state for row in post.rows()] == [DeliveryState.ACCEPTED] * (len(smtp.mails) - 25)


def _internal(state: str) -> Exception:
    cause = Exception("a class XX or 25 error of PostgreSQL")
    cause.sqlstate = state  # type: ignore[attr-defined]  # as psycopg's errors have it
    return cause


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("COMMIT", None, Exception("gone")),
        InterfaceError("COMMIT", None, Exception("closed")),
        InternalError("COMMIT", None, _internal("25006")),
        InternalError("COMMIT", None, _internal("25P03")),
    ],
    ids=["gone", "closed", "a standby", "slept in its transaction"],
)
def test_whatever_says_that_the_database_is_away_is_waited_for(clock: Clock, error: DBAPIError) -> None:
    lease = Lease(lambda *_: True, clock(), clock)
    answers = [error, None]

    def write() -> str:
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        return "written"

    assert surely(write, lease, sleep=lambda _: clock.move(minutes=10)) == "written"


@pytest.mark.parametrize(
    "error",
    [DataError("INSERT", None, Exception("odd")), InternalError("COPY", None, _internal("XX002"))],
    ids=["a value that it does not take", "a damaged index"],
)
def test_what_the_database_would_refuse_for_ever_holds_nobody_up(clock: Clock, error: DBAPIError) -> None:
    lease, tries = Lease(lambda *_: True, clock() + timedelta(seconds=60), clock), []

    def write() -> None:
        tries.append(clock())
        raise error

    with pytest.raises(type(error)):
        surely(write, lease, sleep=lambda _: clock.move(minutes=10))
    assert len(tries) == 1


def test_whoever_was_marked_when_the_wire_broke_is_due_and_not_in_doubt(
    post: Post, smtp: Mailhost, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers(post, 120)
    real, calls = SmtpCourier.collect, iter(range(100))

    def collect(self: SmtpCourier, posted: Posted) -> list[Outcome | None]:
        outcomes = real(self, posted)
        if next(calls) == 1:
            raise RuntimeError("the courier broke")
        return outcomes

    monkeypatch.setattr(SmtpCourier, "collect", collect)
    with pytest.raises(RuntimeError, match="broke"):
        post.engine.deliver_once(Channel.EMAIL)
    with post.database.reading() as session:
        flying = [one for batch in session.scalars(select(Chunk.batch)) for one in batch]
    post.work()
    assert flying == []
    assert len(smtp.mails) == len(set(smtp.recipients())) == 120


def test_who_is_told_to_end_waits_for_the_database_as_long_as_the_lease_stands(clock: Clock) -> None:
    halted = threading.Event()
    lease = Lease(lambda *_: True, clock() + timedelta(seconds=60), clock, halted)
    tries = []

    def write() -> None:
        tries.append(clock())
        if len(tries) == 5:
            halted.set()
        raise OperationalError("COMMIT", None, Exception("gone"))

    with pytest.raises(OperationalError):
        surely(write, lease, sleep=lambda _: clock.move(seconds=30))
    assert len(tries) == 5


@pytest.mark.parametrize("words", ["550 5.1.1 no \0 such user", "552 5.2.2 full\x01 \x7f"])
def test_words_that_no_database_takes_stop_nobody(
    post: Post, smtp: Mailhost, clock: Clock, words: str
) -> None:
    smtp.replies = lambda step, reader: words if step == "rcpt" and reader.startswith("reader1@") else None
    readers(post, 5)
    post.work()
    states = [row.state for row in post.rows()]
    assert (states.count(DeliveryState.FAILED), states.count(DeliveryState.ACCEPTED)) == (1, 4)


def test_half_a_character_in_an_answer_stops_nobody(open_post: Callable[..., Post], clock: Clock) -> None:
    with http_gateway(None) as twilio:
        twilio.decide = lambda _: twilio_no(400, 99, "bad \ud800 thing")
        post = open_post(sms=twilio.twilio)
        with post.database.transaction() as session:
            a_subscriber(session, phone="+4915112340000")
            publish(session, post.house, now=clock())
        post.work()
    assert (post.row().state, post.row().detail) == (DeliveryState.RETRY, "bad thing")


def test_one_lease_that_cannot_be_kept_does_not_end_the_others(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RENEW_EVERY", 0.02)
    keeper = LeaseKeeper(database, clock)
    kept = threading.Event()

    def odd(*_: object) -> bool:
        raise RuntimeError("odd")

    def renew(*_: object) -> bool:
        kept.set()
        return True

    with keeper.hold(odd, since=clock()), keeper.hold(renew, since=clock()):
        assert kept.wait(5)
        kept.clear()
        assert kept.wait(5)
    keeper.stop()


def test_rows_whose_claim_was_committed_without_an_answer_go_out_at_once(
    post: Post, smtp: Mailhost, clock: Clock
) -> None:
    """One that is new, one that is tried again, and one that may have arrived and is sent again."""
    with post.database.transaction() as session:
        publish(session, post.house, now=clock())
    post.work()
    with post.database.transaction() as session:
        for place in range(3):
            reader = a_subscriber(session, email=f"reader{place}@example.com")
            queue_current_status(session, subscriber=reader, now=clock())
        retried, unknown = list(session.scalars(select(Delivery)))[1:]
        retried.state, retried.attempts = DeliveryState.RETRY, 1
        unknown.state, unknown.attempts = DeliveryState.UNKNOWN, 1
    before = [row.state for row in post.rows()]

    def cut() -> None:
        if any(row.state is DeliveryState.SENDING for row in post.rows()):
            raise OperationalError("COMMIT", None, Exception("the connection is lost"))

    post.database.committed = cut
    with pytest.raises(OperationalError):
        post.engine.deliver_once(Channel.EMAIL)
    post.database.committed = lambda: None
    assert {row.state for row in post.rows()} == {DeliveryState.SENDING}
    clock.move(seconds=1)
    post.work()
    assert before == [DeliveryState.DUE, DeliveryState.RETRY, DeliveryState.UNKNOWN]
    assert len(smtp.mails) == 3
    assert [(row.state, row.possibly_twice) for row in post.rows()] == [
        (DeliveryState.ACCEPTED, False),
        (DeliveryState.ACCEPTED, False),
        (DeliveryState.ACCEPTED, True),
    ]
