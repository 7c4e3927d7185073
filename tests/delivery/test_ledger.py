"""Crashes, leases, retries and resends: nobody is missed, and who may have got two copies is flagged."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from incident_center.delivery import chunks, rows, walk
from incident_center.delivery.fanout import queue_current_status
from incident_center.delivery.leases import Lease
from incident_center.delivery.ledger import LEASE, Result, renew
from incident_center.delivery.outcome import Outcome
from incident_center.delivery.questions import ledger_check, progress
from incident_center.delivery.rules import Try
from incident_center.delivery.sql import AlreadyThere
from incident_center.models import Attempt, Chunk, Delivery, Incident, Update
from incident_center.states import Channel, ChunkState, DeliveryState
from tests.builders import a_subscriber, an_incident, mai, olivia
from tests.delivery.servers import DROP, Mailhost
from tests.delivery.stories import Clock, Post, publish
from tests.support.plans import plans_of

ACCEPTED = Try("email 1 smtp", Outcome(state="accepted", code="250", provider_ref="Q1"))


def some_readers(post: Post, number: int = 3) -> int:
    """Publishes to `number` readers of e-mail and cuts the fan-out; answers the update's id."""
    with post.database.transaction() as session:
        for place in range(number):
            a_subscriber(session, email=f"reader-{place}@example.com")
        update_id = publish(session, post.house).id
    assert post.engine.expand_once()
    return update_id


def claimed(post: Post, owner: str = "lost worker", limit: int = 50) -> chunks.ChunkBatch:
    with post.database.transaction() as session:
        batch, _ = chunks.claim(session, channel=Channel.EMAIL, owner=owner, now=post.clock(), limit=limit)
    assert batch is not None
    return batch


def settle(post: Post, batch: chunks.ChunkBatch, *, go_on: bool = False) -> chunks.ChunkBatch | None:
    """As the engine does it: one by one where somebody has got a row in the meantime."""
    try:
        return _settle(post, batch, go_on=go_on, one_by_one=False)
    except AlreadyThere:
        return _settle(post, batch, go_on=go_on, one_by_one=True)


def _settle(
    post: Post, batch: chunks.ChunkBatch, *, go_on: bool, one_by_one: bool
) -> chunks.ChunkBatch | None:
    with post.database.transaction() as session:
        return chunks.settle(
            session,
            house=post.house,
            batch=batch,
            results=[Result(due, [ACCEPTED]) for due in batch.people],
            now=post.clock(),
            limit=50,
            go_on=go_on,
            one_by_one=one_by_one,
        )


def test_a_leased_chunk_is_nobody_elses(post: Post) -> None:
    some_readers(post)
    claimed(post)
    with post.database.transaction() as session:
        batch, found = chunks.claim(session, channel=Channel.EMAIL, owner="other", now=post.clock(), limit=50)
    assert (batch, found) == (None, False)


def test_people_of_a_lost_batch_are_sent_again_once_and_flagged(
    post: Post, smtp: Mailhost, clock: Clock
) -> None:
    update_id = some_readers(post, 5)
    lost = claimed(post, limit=2)
    clock.move(seconds=61)
    post.work()
    states = {row.subscriber_id: row.state for row in post.rows()}
    assert [states[due.subscriber_id] for due in lost.people] == [DeliveryState.UNKNOWN] * 2
    assert len(smtp.mails) == 3
    clock.move(seconds=61)
    post.work()
    assert len(smtp.mails) == 5
    flagged = {row.subscriber_id for row in post.rows() if row.possibly_twice}
    assert flagged == {due.subscriber_id for due in lost.people}
    assert {row.state for row in post.rows()} == {DeliveryState.ACCEPTED}
    with post.database.reading() as session:
        assert ledger_check(session, update_id) == []
        assert progress(session, update_id).possibly_twice == 2


def test_a_worker_that_lost_its_lease_cannot_write_its_outcomes_but_saves_people_a_second_copy(
    post: Post, smtp: Mailhost, clock: Clock
) -> None:
    some_readers(post, 2)
    slow = claimed(post)
    clock.move(seconds=61)
    post.work()
    assert {row.state for row in post.rows()} == {DeliveryState.UNKNOWN}
    assert settle(post, slow, go_on=True) is None
    assert {row.state for row in post.rows()} == {DeliveryState.ACCEPTED}
    clock.move(seconds=61)
    post.work()
    assert smtp.mails == []


def test_outcomes_and_the_next_batch_are_one_transaction(post: Post) -> None:
    some_readers(post, 60)
    first = claimed(post)
    second = settle(post, first, go_on=True)
    assert second is not None
    assert (len(first.people), len(second.people)) == (50, 10)
    assert not {due.subscriber_id for due in first.people} & {due.subscriber_id for due in second.people}
    assert len(post.rows()) == 50
    assert settle(post, second, go_on=True) is None
    with post.database.reading() as session:
        assert session.scalar(select(Chunk.state)) is ChunkState.DONE


def test_a_row_that_was_queued_while_its_reader_was_on_the_wire_is_settled_with_them(
    post: Post, smtp: Mailhost
) -> None:
    update_id = some_readers(post, 1)
    batch = claimed(post)
    with post.database.transaction() as session:
        session.add(
            Delivery(
                update_id=update_id,
                subscriber_id=batch.people[0].subscriber_id,
                channel=Channel.EMAIL,
                state=DeliveryState.DUE,
                not_before=post.clock(),
                at=post.clock(),
                apart=True,
                since=post.clock(),
            )
        )
    settle(post, batch)
    post.work()
    assert (post.row().state, post.row().not_before, smtp.mails) == (DeliveryState.ACCEPTED, None, [])


def test_a_batch_whose_worker_is_slow_but_alive_keeps_its_lease(post: Post, clock: Clock) -> None:
    some_readers(post)
    batch = claimed(post)
    lease = Lease(
        lambda session, until: renew(session, Chunk, [batch.chunk_id], [batch.fence], until=until),
        clock() + LEASE,
        clock,
    )
    for _ in range(5):
        clock.move(seconds=40)
        assert lease.is_ours()
        lease.prolong(post.database)
    with post.database.transaction() as session:
        assert chunks.recover(session, now=clock()) == 0
    clock.move(seconds=61)
    assert not lease.is_ours()
    with post.database.transaction() as session:
        assert chunks.recover(session, now=clock()) == 1
    lease.prolong(post.database)
    assert not lease.is_ours()


def test_a_newer_update_waits_while_older_words_to_the_same_person_are_on_the_wire(
    post: Post, smtp: Mailhost, clock: Clock
) -> None:
    with post.database.transaction() as session:
        for place in range(3):
            a_subscriber(session, email=f"reader-{place}@example.com")
        incident = an_incident(session)
        publish(session, post.house, incident)
    assert post.engine.expand_once()
    flying = claimed(post, limit=1)
    with post.database.transaction() as session:
        publish(session, post.house, session.get_one(Incident, incident.id), now=clock())
    for _ in range(4):
        post.engine.expand_once()
        post.engine.deliver_once(Channel.EMAIL)
    assert len(smtp.mails) == 2
    assert flying.people[0].address not in smtp.recipients()
    settle(post, flying)
    clock.move(seconds=3)
    post.work()
    assert sorted(smtp.recipients()) == [f"reader-{place}@example.com" for place in range(3)]


def test_a_newer_update_goes_on_when_the_worker_with_the_older_words_is_lost(
    post: Post, smtp: Mailhost, clock: Clock
) -> None:
    with post.database.transaction() as session:
        a_subscriber(session, email="reader@example.com")
        incident = an_incident(session)
        publish(session, post.house, incident)
    assert post.engine.expand_once()
    claimed(post)
    with post.database.transaction() as session:
        publish(session, post.house, session.get_one(Incident, incident.id), now=clock())
    post.work()
    assert smtp.mails == []
    clock.move(seconds=61)
    post.work()
    clock.move(seconds=120)
    post.work()
    older, newer = post.rows()
    assert (older.state, newer.state) == (DeliveryState.UNKNOWN, DeliveryState.ACCEPTED)
    assert len(smtp.mails) == 1


def test_a_lost_answer_is_resent_once_with_the_same_message_id_and_then_left(
    post: Post, smtp: Mailhost, clock: Clock
) -> None:
    smtp.replies = lambda step, _: DROP if step == "dot" else None
    with post.database.transaction() as session:
        olivia(session)
        publish(session, post.house)
    post.work()
    for _ in range(10):
        clock.move(minutes=6)
        post.work()
    row = post.row()
    assert (row.state, row.possibly_twice, row.attempts, row.not_before) == (
        DeliveryState.UNKNOWN,
        True,
        2,
        None,
    )
    first, second = smtp.mails
    assert first.message["Message-ID"] == second.message["Message-ID"]
    with post.database.reading() as session:
        attempts = session.execute(select(Attempt.number, Attempt.state).order_by(Attempt.id)).all()
    assert [tuple(attempt) for attempt in attempts] == [
        (1, DeliveryState.UNKNOWN),
        (2, DeliveryState.UNKNOWN),
    ]


def test_a_refused_resend_is_tried_again_because_it_has_certainly_not_arrived(
    post: Post, smtp: Mailhost, clock: Clock
) -> None:
    smtp.replies = lambda step, _: DROP if step == "dot" else None
    with post.database.transaction() as session:
        olivia(session)
        publish(session, post.house)
    post.work()
    smtp.replies = lambda step, _: "450 4.2.0 later" if step == "rcpt" else None
    clock.move(seconds=61)
    post.work()
    assert post.row().state is DeliveryState.UNKNOWN
    smtp.replies = lambda *_: None
    clock.move(minutes=16)
    post.work()
    assert (post.row().state, post.row().possibly_twice) == (DeliveryState.ACCEPTED, True)
    assert len(smtp.mails) == 2


def test_refusals_for_now_are_tried_for_four_hours_and_then_given_up(
    post: Post, smtp: Mailhost, clock: Clock
) -> None:
    smtp.replies = lambda step, _: "450 4.2.0 later" if step == "rcpt" else None
    with post.database.transaction() as session:
        olivia(session)
        publish(session, post.house)
    post.work()
    for _ in range(60):
        clock.move(minutes=5)
        post.work()
    row = post.row()
    assert row.state is DeliveryState.FAILED
    assert 15 <= row.attempts <= 40
    assert not row.possibly_twice


def test_a_worker_lost_with_a_row_in_flight_leaves_it_unknown(
    post: Post, smtp: Mailhost, clock: Clock
) -> None:
    with post.database.transaction() as session:
        publish(session, post.house)
    post.work()
    with post.database.transaction() as session:
        queue_current_status(session, subscriber=olivia(session), now=clock())
    with post.database.transaction() as session:
        batch, found = rows.claim(session, channel=Channel.EMAIL, owner="lost", now=clock(), limit=50)
    assert (len(batch.people), found) == (1, True)
    post.work()
    assert smtp.mails == []
    clock.move(seconds=61)
    post.work()
    assert post.row().state is DeliveryState.UNKNOWN
    clock.move(seconds=61)
    post.work()
    assert (post.row().state, post.row().possibly_twice) == (DeliveryState.ACCEPTED, True)
    assert len(smtp.mails) == 1


def test_two_workers_share_the_work_and_write_to_nobody_twice(
    post: Post, smtp: Mailhost, clock: Clock
) -> None:
    with post.database.transaction() as session:
        for place in range(120):
            a_subscriber(session, email=f"reader-{place}@example.com")
        mai(session)
        update_id = publish(session, post.house).id
    other = post.another("worker 2")
    for engine in (post.engine, other) * 5:
        engine.expand_once()
        engine.deliver_once(Channel.EMAIL)
    post.work()
    other.release()
    assert len(smtp.mails) == len(set(smtp.recipients())) == 120
    with post.database.reading() as session:
        assert ledger_check(session, update_id) == []


def test_an_expired_row_is_settled_and_not_sent(post: Post, smtp: Mailhost, clock: Clock) -> None:
    with post.database.transaction() as session:
        publish(session, post.house)
    post.work()
    with post.database.transaction() as session:
        queue_current_status(session, subscriber=olivia(session), now=clock())
    clock.move(hours=4, minutes=1)
    post.work()
    assert (post.row().state, smtp.mails) == (DeliveryState.EXPIRED, [])


def test_the_ledger_complains_about_somebody_who_is_on_the_wire_and_has_a_row(post: Post) -> None:
    update_id = some_readers(post, 1)
    batch = claimed(post)
    with post.database.transaction() as session:
        session.add(
            Delivery(
                update_id=update_id,
                subscriber_id=batch.people[0].subscriber_id,
                channel=Channel.EMAIL,
                state=DeliveryState.ACCEPTED,
                at=post.clock(),
                since=post.clock() - timedelta(minutes=1),
            )
        )
    with post.database.reading() as session:
        (complaint,) = ledger_check(session, update_id)
    assert "on the wire" in complaint


def test_a_plan_that_was_made_on_an_empty_ledger_does_not_read_all_of_the_full_one(post: Post) -> None:
    """PostgreSQL keeps a statement's plan after a few runs; the walk looks each person up by their key."""
    reads_all = text("SELECT seq_tup_read FROM pg_stat_xact_user_tables WHERE relname = 'deliveries'")
    some_readers(post, 60)
    with post.database.transaction() as session:
        session.execute(text("ANALYZE"))  # as PostgreSQL does by itself on a quiet day
    batch: chunks.ChunkBatch | None = claimed(post, limit=4)
    while batch is not None:
        with post.database.transaction() as session:
            results = [Result(due, [ACCEPTED]) for due in batch.people]
            batch = chunks.settle(
                session,
                house=post.house,
                batch=batch,
                results=results,
                now=post.clock(),
                limit=4,
                go_on=True,
            )
            assert post.database.is_sqlite or session.scalar(reads_all) == 0
    assert len(post.rows()) == 60


@pytest.mark.parametrize("database_kind", ["sqlite"])  # which counts its steps
def test_the_end_of_a_chunk_costs_no_more_than_its_beginning(post: Post) -> None:
    """A walk that began with the chunk each time would read everybody before it, for each wave."""
    some_readers(post, 400)
    lease = claimed(post, limit=1).lease

    def steps_after(subscriber_id: int) -> int:
        lease.after = subscriber_id
        counted = itertools.count()
        with post.database.transaction() as session:
            driver: Any = session.connection().connection.driver_connection
            driver.set_progress_handler(lambda: next(counted) < 0, 1)
            assert len(walk.next_people(session, lease, now=post.clock(), limit=4) or []) == 4
            driver.set_progress_handler(None, 1)
        return next(counted)

    assert steps_after(lease.chunk.last_id - 10) < 1.5 * steps_after(lease.chunk.first_id)


def test_whether_older_words_fly_is_not_asked_of_everybody_who_has_them(post: Post) -> None:
    """It is asked of every chunk. SQLite has no statistics, and PostgreSQL plans it without knowing the state."""
    update_id = some_readers(post, 60)
    post.engine.deliver_once(Channel.EMAIL)
    with post.database.transaction() as session:
        publish(session, post.house, session.get_one(Update, update_id).incident)
    post.engine.expand_once()
    with post.database.transaction() as session:
        if not post.database.is_sqlite:  # which keeps no statistics in life
            session.execute(text("ANALYZE"))
    with post.database.transaction() as session:
        chunk = session.scalars(select(Chunk).where(Chunk.update_id != update_id)).one()
        assert walk.is_live(session, chunk.fanout_id, now=post.clock())
        (plan,) = plans_of(post.database, session, lambda: walk._older_may_fly(session, chunk))
    assert "ix_deliveries_apart" in plan
    assert "pk_deliveries" not in plan
    assert "SCAN deliveries" not in plan
