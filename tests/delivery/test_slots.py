"""Connections to a provider: all workers together never keep more than it allows, and each gets its share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incident_center.db import Database
from incident_center.delivery import slots
from incident_center.models import Provider, WorkerBeat
from incident_center.states import Channel, ProviderState
from tests.builders import NOW, a_subscriber
from tests.delivery.servers import Mailhost
from tests.delivery.stories import Clock, Post, publish


@pytest.fixture
def provider_id(database: Database) -> int:
    with database.transaction() as session:
        provider = Provider(name="email 1 smtp", state=ProviderState.WELL, rests=0)
        session.add(provider)
        session.flush()
        return provider.id


def look(database: Database, provider_id: int, owner: str, *, total: int, seconds: float = 0) -> int:
    """As a worker does it: a sign of life, then a look."""
    now = NOW + timedelta(seconds=seconds)
    with database.transaction() as session:
        session.merge(WorkerBeat(owner=owner, host="here", channels="email", started_at=NOW, beat_at=now))
        session.flush()
        return slots.share(session, provider_id, channel=Channel.EMAIL, total=total, owner=owner, now=now)


def test_a_worker_alone_keeps_all_and_gives_up_half_when_another_one_comes(
    database: Database, provider_id: int
) -> None:
    assert look(database, provider_id, "one", total=10) == 10
    assert look(database, provider_id, "two", total=10, seconds=1) == 0
    assert look(database, provider_id, "one", total=10, seconds=5) == 5
    assert look(database, provider_id, "two", total=10, seconds=6) == 5


def test_slots_of_a_lost_worker_are_free_after_half_a_minute(database: Database, provider_id: int) -> None:
    assert look(database, provider_id, "lost", total=4) == 4
    assert look(database, provider_id, "next", total=4, seconds=29) == 0
    assert look(database, provider_id, "next", total=4, seconds=31) == 4


def test_a_worker_that_ends_gives_its_slots_back_at_once(database: Database, provider_id: int) -> None:
    look(database, provider_id, "one", total=3)
    with database.transaction() as session:
        slots.give_back(session, "one", [provider_id])
    assert look(database, provider_id, "two", total=3) == 2  # the first one's sign of life is still fresh


def test_fewer_connections_in_the_settings_are_fewer_at_the_next_look(
    database: Database, provider_id: int
) -> None:
    assert look(database, provider_id, "one", total=10) == 10
    assert look(database, provider_id, "one", total=2, seconds=5) == 2
    assert look(database, provider_id, "one", total=6, seconds=10) == 6


@given(total=st.integers(1, 60), workers=st.integers(1, 20))
def test_shares_use_every_connection(total: int, workers: int) -> None:
    assert slots.fair_share(total, workers) * workers >= total
    assert slots.fair_share(total, workers) <= total


def test_two_workers_share_the_connections_that_the_settings_allow(
    open_post: Callable[..., Post], smtp: Mailhost, clock: Clock
) -> None:
    """One worker keeps all three; when a second one comes, they have three together."""
    post = open_post(email=f"{smtp.url}&connections=3")
    beat(post, "worker 1")
    fill(post, "first", 60)
    post.work()
    assert smtp.most_open == 3
    beat(post, "worker 2")
    other = post.another("worker 2")
    clock.move(seconds=6)
    fill(post, "second", 60)
    other.expand_once()
    assert not other.deliver_once(Channel.EMAIL)  # all three are still the first one's
    post.engine.deliver_once(Channel.EMAIL)
    clock.move(seconds=6)
    fill(post, "third", 60)
    for engine in (post.engine, other) * 4:
        engine.expand_once()
        engine.deliver_once(Channel.EMAIL)
    other.release()
    assert smtp.most_open == 3
    assert len(smtp.mails) == len({(mail.recipient, mail.message["Message-ID"]) for mail in smtp.mails})


def beat(post: Post, owner: str) -> None:
    with post.database.transaction() as session:
        now = post.clock() + timedelta(seconds=30)
        session.merge(WorkerBeat(owner=owner, host="here", channels="email", started_at=NOW, beat_at=now))


def fill(post: Post, name: str, number: int) -> None:
    with post.database.transaction() as session:
        for place in range(number):
            a_subscriber(session, email=f"{name}-{place}@example.com")
        publish(session, post.house, now=post.clock())
