"""Others write while an audience is walked: nobody waits for that, and nobody is cut twice."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from incident_center.delivery import cutting, walk
from incident_center.incidents import keeper
from incident_center.models import Chunk, Fanout, Promise
from incident_center.states import FanoutState
from tests.builders import a_subscriber
from tests.delivery.stories import Post, publish
from tests.incidents.scenes import declared, published

only_postgres = pytest.mark.parametrize("database_kind", ["postgres"])

_COMPANIES = (f"company-{number}" for number in itertools.count())


def _published(post: Post) -> None:
    with post.database.transaction() as session:
        for place in range(3):
            a_subscriber(session, email=f"reader-{place}@{next(_COMPANIES)}.example")
        publish(session, post.house)


def _in_mid_walk(monkeypatch: pytest.MonkeyPatch, happens: Any) -> None:
    walk = cutting._next_ids

    def and_meanwhile(*args: Any, **more: Any) -> Sequence[int]:
        happens()
        return walk(*args, **more)

    monkeypatch.setattr(cutting, "_next_ids", and_meanwhile)


def test_what_was_cut_of_an_update_that_is_overtaken_meanwhile_does_not_stay(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    _published(post)

    def overtaken() -> None:  # its publisher does not wait for the walk
        with post.database.transaction() as session:
            session.execute(update(Fanout).values(state=FanoutState.SUPERSEDED))

    _in_mid_walk(monkeypatch, overtaken)
    post.engine.expand_once()
    with post.database.reading() as session:
        assert session.scalar(select(func.count(Chunk.id))) == 0
        assert session.scalars(select(Fanout.state)).one() is FanoutState.SUPERSEDED


def test_two_workers_that_walk_at_once_cut_nobody_twice(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """On PostgreSQL the second one does not even walk. On SQLite it is quicker, and the first one's step is dropped."""
    monkeypatch.setattr(cutting, "CHUNK", 1)
    monkeypatch.setattr(cutting, "CHUNKS_A_STEP", 2)
    _published(post)
    found: list[bool] = []

    def second_worker() -> None:
        if not found:
            found.append(False)  # its own walk is not met by a third
            with post.database.reading() as session:
                (fanout_id,) = cutting.to_cut(session)
            found[0] = cutting.cut_some(post.database, fanout_id, now=post.clock())

    _in_mid_walk(monkeypatch, second_worker)
    first = post.engine.expand_once()
    assert first is not post.database.is_sqlite
    while post.engine.expand_once():
        pass
    assert found == [post.database.is_sqlite]
    with post.database.reading() as session:
        assert session.scalar(select(func.sum(Chunk.size))) == 3
        assert session.scalars(select(Fanout.state)).one() is FanoutState.CUT


def test_whoever_marks_people_waits_for_no_other_incident_s_walk(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held until the last fan-out was walked, the first one made a worker wait, and two waited for each other."""
    _published(post)
    _published(post)
    marked: list[bool] = []

    def another_worker() -> None:
        with post.database.transaction() as session:
            if not post.database.is_sqlite:
                session.execute(text("SET LOCAL lock_timeout = '1s'"))
            ids = session.scalars(select(Fanout.id)).all()
            marked.append(all(walk.is_live(session, one, now=post.clock()) for one in ids))

    _in_mid_walk(monkeypatch, another_worker)
    assert post.engine.expand_once()
    assert marked == [True] * 4  # twice a channel
    with post.database.reading() as session:
        assert session.scalar(select(func.sum(Chunk.size))) == 12


@only_postgres
def test_who_keeps_a_promise_and_who_cuts_do_not_wait_for_each_other_in_a_ring(post: Post) -> None:
    """The keeper holds the incident and then ends its older fan-out; chunks refer to both."""
    with post.database.transaction() as session:
        a_subscriber(session)
        incident = declared(session, post.house, now=post.clock())
        published(session, post.house, incident, now=post.clock())
    with ThreadPoolExecutor(1) as cutter, post.database.transaction() as session:
        assert keeper._locked_incident(session, session.scalars(select(Promise.id)).one())
        (fanout_id,) = cutting.to_cut(session)
        assert cutter.submit(cutting.cut_some, post.database, fanout_id, now=post.clock()).result(10)


@only_postgres
def test_a_worker_that_is_frozen_in_mid_walk_lets_the_others_walk_and_publish(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection stays, and with it its locks, until PostgreSQL ends it."""
    _published(post)
    patience: list[str | None] = []
    show = text("SHOW idle_in_transaction_session_timeout")
    next_ids = cutting._next_ids

    def noting(session: Session, *args: Any, **more: Any) -> Sequence[int]:
        patience.append(session.scalar(show))
        return next_ids(session, *args, **more)

    monkeypatch.setattr(cutting, "_next_ids", noting)
    assert post.engine.expand_once()
    with post.database.transaction() as session:
        walk.is_live(session, session.scalars(select(Fanout.id)).one(), now=post.clock())
        patience.append(session.scalar(show))
    assert patience == ["10s"] * 3
