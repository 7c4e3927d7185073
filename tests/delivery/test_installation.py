"""A restored or copied database sends nothing until a lead confirms it, and tells nobody twice afterwards."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select, update

from incident_center.db import Database
from incident_center.delivery import chunks, cutting, installation
from incident_center.delivery.questions import ledger_check, progress
from incident_center.models import Delivery, Fanout, Installation
from incident_center.states import Channel, DeliveryState, FanoutState
from tests.builders import a_subscriber, olivia
from tests.delivery.servers import Mailhost
from tests.delivery.stories import Clock, Post, publish


def published(post: Post) -> None:
    with post.database.transaction() as session:
        olivia(session)
        publish(session, post.house, now=post.clock())


def held(post: Post) -> bool:
    with post.database.reading() as session:
        return installation.is_held(session)


def pretend_that_it_lived_elsewhere(post: Post) -> None:
    with post.database.transaction() as session:
        session.get_one(Installation, 1).fingerprint = "elsewhere"


def test_an_installation_knows_itself_again(post: Post, smtp: Mailhost, clock: Clock) -> None:
    published(post)
    post.work()
    clock.move(hours=3)
    again = post.another("worker 2")
    with post.database.transaction() as session:
        publish(session, post.house, now=clock())
    post.work(again)
    again.release()
    assert len(smtp.mails) == 2
    assert not held(post)


def test_a_copied_database_sends_nothing_until_a_lead_says_so(
    post: Post, smtp: Mailhost, clock: Clock
) -> None:
    published(post)
    post.work()
    pretend_that_it_lived_elsewhere(post)
    clock.move(seconds=11)
    with post.database.transaction() as session:
        publish(session, post.house, now=clock())
    post.work()
    assert len(smtp.mails) == 1
    assert held(post)
    with post.database.transaction() as session:
        installation.confirm(session, by="lead@example.com", now=clock())
    assert not held(post)
    post.work()
    # What was on its way when it was copied ends, because it may have arrived from the other one.
    assert len(smtp.mails) == 1
    with post.database.transaction() as session:
        publish(session, post.house, now=clock())
    clock.move(minutes=2)
    post.work()
    assert len(smtp.mails) == 2


def test_what_waited_in_a_copy_is_settled_when_it_is_confirmed(
    post: Post, smtp: Mailhost, clock: Clock
) -> None:
    smtp.replies = lambda step, _: "450 4.2.0 later" if step == "rcpt" else None
    published(post)
    post.work()
    assert post.row().state is DeliveryState.RETRY
    pretend_that_it_lived_elsewhere(post)
    smtp.replies = lambda *_: None
    clock.move(minutes=1)
    post.work()
    with post.database.transaction() as session:
        installation.confirm(session, by="lead@example.com", now=clock())
    post.work()
    assert (post.row().state, post.row().not_before, smtp.mails) == (DeliveryState.CANCELLED, None, [])


def test_a_backup_that_is_copied_over_the_file_is_noticed(
    tmp_path: Path, post: Post, smtp: Mailhost, clock: Clock
) -> None:
    """SQLite: the path is the same, but the marker beside the file has moved on."""
    if not post.database.is_sqlite:
        return
    file = Path(str(post.database.url.database))
    published(post)
    post.work()
    post.engine.release()
    post.database.dispose()
    _copy(file, tmp_path / "backup.db")
    for _ in range(3):  # the installation goes on for a while
        clock.move(minutes=2)
        with post.database.transaction() as session:
            publish(session, post.house, now=clock())
        post.work()
    sent = len(smtp.mails)
    post.engine.release()
    post.database.dispose()
    for left in file.parent.glob(file.name + "-*"):
        left.unlink()
    shutil.copy(tmp_path / "backup.db", file)
    restored = Post(Database(str(post.database.url)), post.house, clock)
    with restored.database.transaction() as session:
        publish(session, restored.house, now=clock())
    restored.work()
    assert len(smtp.mails) == sent
    assert held(restored)
    restored.engine.release()
    restored.database.dispose()


def test_only_what_was_half_done_ends_and_the_ledger_adds_up(
    post: Post, smtp: Mailhost, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One fan-out is done, one is marked and partly cut: marked people may have it, the rest certainly not."""
    monkeypatch.setattr(cutting, "CHUNK", 2)
    monkeypatch.setattr(cutting, "CHUNKS_A_STEP", 2)
    published(post)
    post.work()
    with post.database.transaction() as session:
        for _ in range(9):
            a_subscriber(session)
        update_id = publish(session, post.house, now=clock()).id
    post.engine.expand_once()
    with post.database.transaction() as session:
        batch, _ = chunks.claim(session, channel=Channel.EMAIL, owner="lost", now=clock(), limit=1)
        assert batch is not None
    pretend_that_it_lived_elsewhere(post)
    clock.move(seconds=11)
    post.work()
    assert len(smtp.mails) == 1
    with post.database.transaction() as session:
        assert installation.confirm(session, by="lead@example.com", now=clock()) == 1
        assert installation.confirm(session, by="lead@example.com", now=clock()) == 0
    clock.move(minutes=2)
    post.work()
    with post.database.reading() as session:
        states = {one.update_id: one.state for one in session.scalars(select(Fanout))}
        assert states.pop(update_id) is FanoutState.CANCELLED
        assert set(states.values()) == {FanoutState.CUT}
        (told,) = progress(session, update_id).by_channel.values()
        assert told == {DeliveryState.UNKNOWN: 1, DeliveryState.CANCELLED: 9}
        assert ledger_check(session, update_id) == []
    assert len(smtp.mails) == 1


def test_what_was_on_the_wire_in_a_copy_is_unknown_and_not_cancelled(post: Post, clock: Clock) -> None:
    published(post)
    post.work()
    with post.database.transaction() as session:
        session.execute(
            update(Delivery).values(
                state=DeliveryState.SENDING, not_before=clock(), owner="lost", lease_until=clock()
            )
        )
    pretend_that_it_lived_elsewhere(post)
    clock.move(seconds=11)
    post.work()
    with post.database.transaction() as session:
        installation.confirm(session, by="lead@example.com", now=clock())
    post.work()
    assert (post.row().state, post.row().not_before) == (DeliveryState.UNKNOWN, None)


def _copy(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as reading, closing(sqlite3.connect(target)) as writing:
        reading.backup(writing)


def test_another_public_address_is_another_installation(post: Post, smtp: Mailhost, clock: Clock) -> None:
    """A staging system that was made from production has an address of its own."""
    published(post)
    post.work()
    settings = replace(post.house.settings, public_url="https://staging.example.com")
    staging = Post(post.database, replace(post.house, settings=settings), clock)
    with staging.database.transaction() as session:
        publish(session, staging.house, now=clock())
    staging.work()
    staging.engine.release()
    assert len(smtp.mails) == 1
    assert held(staging)
