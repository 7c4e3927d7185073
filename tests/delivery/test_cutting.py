"""Cutting on PostgreSQL, where others write meanwhile: nobody waits for the walk, and nobody is cut twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import func, select, update

from incident_center.delivery import fanout
from incident_center.models import Chunk, Fanout
from incident_center.states import FanoutState
from tests.builders import a_subscriber
from tests.delivery.stories import Post, publish

pytestmark = pytest.mark.parametrize("database_kind", ["postgres"])  # SQLite has one writer at a time


def _published(post: Post) -> None:
    with post.database.transaction() as session:
        for place in range(3):
            a_subscriber(session, email=f"reader-{place}@example.com")
        publish(session, post.house)


def _in_mid_walk(monkeypatch: pytest.MonkeyPatch, happens: Any) -> None:
    walk = fanout._next_ids

    def and_meanwhile(*args: Any, **more: Any) -> Sequence[int]:
        happens()
        return walk(*args, **more)

    monkeypatch.setattr(fanout, "_next_ids", and_meanwhile)


def test_what_was_cut_of_an_update_that_is_overtaken_meanwhile_does_not_stay(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    _published(post)

    def overtaken() -> None:  # its publisher does not wait for the walk
        with post.database.transaction() as session:
            session.execute(update(Fanout).values(state=FanoutState.SUPERSEDED))

    _in_mid_walk(monkeypatch, overtaken)
    assert post.engine.expand_once()
    with post.database.reading() as session:
        assert session.scalar(select(func.count(Chunk.id))) == 0
        assert session.scalars(select(Fanout.state)).one() is FanoutState.SUPERSEDED


def test_two_workers_never_walk_at_once(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    _published(post)
    found: list[bool] = []

    def second_worker() -> None:
        with post.database.transaction() as session:
            found.append(fanout.cut_some(session, now=post.clock()))

    _in_mid_walk(monkeypatch, second_worker)
    assert post.engine.expand_once()
    assert found == [False, False]  # once a channel
    with post.database.reading() as session:
        assert session.scalar(select(func.sum(Chunk.size))) == 3
