"""Somebody changes something while a worker writes to them: they are told once, or flagged, never forgotten."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select

from incident_center.delivery import chunks, rows
from incident_center.delivery.cancel import stop_fanout
from incident_center.delivery.fanout import queue_current_status
from incident_center.delivery.ledger import Result
from incident_center.delivery.outcome import Outcome
from incident_center.delivery.questions import ledger_check, progress
from incident_center.delivery.rules import Try
from incident_center.delivery.sql import AlreadyThere
from incident_center.models import Attempt, Chunk, Subscriber
from incident_center.states import Channel, ChunkState, DeliveryState
from tests.builders import a_subscriber
from tests.delivery.servers import Mailhost, SmsGateway
from tests.delivery.stories import Clock, Post, publish
from tests.delivery.test_ledger import ACCEPTED, claimed, settle, some_readers

NUMBER = "+4915112345678"
REFUSED = Try("email 1 smtp", Outcome(state="failed", code="550", detail="no"))


def _change(post: Post, person: int, **parts: object) -> None:
    with post.database.transaction() as session:
        row = session.get_one(Subscriber, person)
        for name, value in parts.items():
            setattr(row, name, value)
        row.updated_at = post.clock()
        queue_current_status(session, subscriber=row, now=post.clock())


def _hand_back_untried(post: Post, batch: chunks.ChunkBatch) -> None:
    with post.database.transaction() as session:
        chunks.settle(
            session,
            house=post.house,
            batch=batch,
            results=[Result(due) for due in batch.people],
            now=post.clock(),
            limit=50,
            go_on=False,
        )


@pytest.mark.parametrize(
    "database_kind", ["postgres"]
)  # SQLite has one writer at a time: nobody marks unseen
def test_whoever_changes_while_they_are_being_marked_unseen_is_told_once(
    post: Post, smtp: Mailhost, clock: Clock
) -> None:
    some_readers(post, 1)
    with post.database.transaction() as session:
        marked, _ = chunks.claim(session, channel=Channel.EMAIL, owner="A", now=clock(), limit=50)
        assert marked is not None
        _change(post, marked.people[0].subscriber_id, language="de")  # its commit comes before the mark's
        post.work()
        assert smtp.mails == []
    clock.move(seconds=3)
    post.work()
    assert smtp.mails == []
    settle(post, marked)
    clock.move(seconds=3)
    post.work()
    assert (post.row().state, smtp.mails) == (DeliveryState.ACCEPTED, [])


def test_whoever_changes_while_a_letter_is_on_the_wire_to_them_and_is_lost_may_have_it(
    post: Post, smtp: Mailhost, clock: Clock
) -> None:
    update_id = some_readers(post, 2)
    batch = claimed(post)
    one = batch.people[0].subscriber_id
    _change(post, one, language="de")
    clock.move(seconds=61)
    post.work()
    assert [row.state for row in post.rows()] == [DeliveryState.UNKNOWN] * 2
    assert smtp.mails == []
    clock.move(seconds=61)
    post.work()
    assert [(row.state, row.possibly_twice) for row in post.rows()] == [(DeliveryState.ACCEPTED, True)] * 2
    with post.database.reading() as session:
        tries = session.scalars(select(Attempt.number).where(Attempt.subscriber_id == one)).all()
        assert sorted(tries) == [1, 2]
        told = progress(session, update_id)
        assert (told.audience, told.possibly_twice, told.finished) == (2, 2, True)
        assert ledger_check(session, update_id) == []


def test_whoever_moves_while_a_letter_is_on_the_wire_to_them_is_told_there_when_it_comes_back_untried(
    post: Post, smtp: Mailhost, gateway: SmsGateway, clock: Clock
) -> None:
    update_id = some_readers(post, 1)
    batch = claimed(post)
    _change(post, batch.people[0].subscriber_id, channel=Channel.SMS, phone=NUMBER)
    post.work()
    assert (smtp.mails, gateway.texts) == ([], [])
    _hand_back_untried(post, batch)
    clock.move(seconds=3)
    post.work()
    assert smtp.mails == []
    assert (post.row().state, post.row().channel) == (DeliveryState.ACCEPTED, Channel.SMS)
    with post.database.reading() as session:
        told = progress(session, update_id)
        assert (told.audience, told.finished) == (1, True)
        assert session.scalar(select(Chunk.state).where(Chunk.channel == Channel.EMAIL)) is ChunkState.DONE


def test_whoever_moves_while_a_letter_is_on_the_wire_to_them_and_arrives_gets_no_text(
    post: Post, smtp: Mailhost, gateway: SmsGateway, clock: Clock
) -> None:
    some_readers(post, 1)
    batch = claimed(post)
    _change(post, batch.people[0].subscriber_id, channel=Channel.SMS, phone=NUMBER)
    settle(post, batch)
    clock.move(seconds=3)
    post.work()
    assert (post.row().state, post.row().channel) == (DeliveryState.ACCEPTED, Channel.EMAIL)
    assert gateway.texts == []


def test_whoever_is_on_the_wire_with_a_row_of_their_own_when_a_lead_stops_has_had_it(
    post: Post, smtp: Mailhost, clock: Clock
) -> None:
    update_id = some_readers(post, 4)
    batch = claimed(post, limit=2)
    for due in batch.people:
        _change(post, due.subscriber_id, language="de")
    with post.database.transaction() as session:
        assert stop_fanout(session, update_id=update_id, now=clock())
    settle(post, batch)
    clock.move(seconds=3)
    post.work()
    assert [row.state for row in post.rows()] == [DeliveryState.ACCEPTED] * 2
    assert smtp.mails == []


def test_outcomes_that_are_written_again_because_the_commits_answer_was_lost_leave_one_attempt_each(
    post: Post,
) -> None:
    some_readers(post, 3)
    batch = claimed(post, limit=1)
    before = replace(batch.lease)
    refused = [Result(due, [REFUSED]) for due in batch.people]
    _settle_and_go_on(post, batch, refused)
    batch.lease.stand_as(before)
    with pytest.raises(AlreadyThere):
        _settle_and_go_on(post, batch, refused)
    batch.lease.stand_as(before)
    _settle_and_go_on(post, batch, refused, one_by_one=True)
    with post.database.reading() as session:
        assert session.scalars(select(Attempt.number)).all() == [1]
    assert post.row().state is DeliveryState.FAILED


def test_an_acceptance_that_came_late_says_who_accepted_which_words(post: Post, clock: Clock) -> None:
    some_readers(post, 1)
    slow = claimed(post)
    clock.move(seconds=61)
    post.work()
    with post.database.transaction() as session:
        chunks.settle(
            session,
            house=post.house,
            batch=slow,
            results=[Result(due, [ACCEPTED], wording_id=7) for due in slow.people],
            now=clock(),
            limit=50,
            go_on=False,
            provider_ids={ACCEPTED.provider: 1},
        )
    row = post.row()
    assert (row.state, row.wording_id, row.provider_id) == (DeliveryState.ACCEPTED, 7, 1)


def test_a_row_whose_worker_was_lost_does_not_name_the_provider_of_the_try_before(
    post: Post, smtp: Mailhost, clock: Clock
) -> None:
    smtp.replies = lambda step, _: "450 4.2.0 later" if step == "rcpt" else None
    with post.database.transaction() as session:
        a_subscriber(session)
        publish(session, post.house)
    post.work()
    assert post.row().provider_id is not None
    clock.move(minutes=6)
    with post.database.transaction() as session:
        batch, _ = rows.claim(session, channel=Channel.EMAIL, owner="lost", now=clock(), limit=1)
    assert batch.people
    clock.move(seconds=61)
    post.work()
    assert (post.row().state, post.row().provider_id) == (DeliveryState.UNKNOWN, None)


def _settle_and_go_on(
    post: Post, batch: chunks.ChunkBatch, results: list[Result], *, one_by_one: bool = False
) -> None:
    with post.database.transaction() as session:
        chunks.settle(
            session,
            house=post.house,
            batch=batch,
            results=results,
            now=post.clock(),
            limit=1,
            go_on=True,
            one_by_one=one_by_one,
        )
