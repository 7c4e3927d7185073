"""Chunks: lease one, mark a wave of people, settle it and mark the next. The marked people are the durable intent.

Nothing touches the wire that is not marked in a committed transaction. A worker that is lost leaves its
marked people behind; the next claim makes them unknown, everybody else is exactly where they were. The fence
is the lease's number: it moves on when a chunk changes hands, so a worker that was lost can write nothing.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Update, bindparam, exists, func, select, update
from sqlalchemy.orm import Session

from incident_center.delivery import outcomes, walk
from incident_center.delivery.fanout import LIVE, people_left
from incident_center.delivery.ledger import HELD_BACK, LEASE, Due, Result, accept_late, unknown_rows
from incident_center.delivery.people import chunk_is_open
from incident_center.delivery.retry import RESEND_UNKNOWN_AFTER
from incident_center.delivery.sql import (
    ForDriver,
    changed_by_driver,
    is_postgres,
    plain_time,
)
from incident_center.house import House
from incident_center.models import Chunk, Fanout
from incident_center.models.delivery import ids_to_text
from incident_center.states import Channel, ChunkState

_COLUMNS = (
    Chunk.id,
    Chunk.fanout_id,
    Chunk.update_id,
    Chunk.incident_id,
    Chunk.channel,
    Chunk.first_id,
    Chunk.last_id,
    Chunk.fence,
    Chunk.batch,
    Chunk.batch_at,
)
_CLAIMS_A_ROUND = 8  # chunks that turn out finished or held back, before the worker looks elsewhere
# Statements that run for every 25 people, or with every chunk, are built once: building one costs more than running it.
_EXPIRED = select(*_COLUMNS).where(chunk_is_open(), Chunk.lease_until <= bindparam("now")).limit(20)
_EXPIRED_LOCKED = _EXPIRED.with_for_update(skip_locked=True)
_FREE = (
    chunk_is_open(),
    Chunk.channel == bindparam("channel"),
    Chunk.lease_until.is_(None),
    (Chunk.not_before.is_(None)) | (Chunk.not_before <= bindparam("now")),
)
_WITH_FREE = select(Fanout.id).where(
    Fanout.state.in_(LIVE),
    Fanout.expires_at > bindparam("now"),
    exists(select(Chunk.id).where(Chunk.fanout_id == Fanout.id, *_FREE)),
)
_NEXT_FREE = (
    select(*_COLUMNS).where(Chunk.fanout_id == bindparam("fanout_id"), *_FREE).order_by(Chunk.id).limit(1)
)
_NEXT_FREE_LOCKED = _NEXT_FREE.with_for_update(skip_locked=True)
_CHUNK: Any = Chunk.__table__
_OURS = update(_CHUNK).where(Chunk.id == bindparam("chunk_id"), Chunk.fence == bindparam("lease_fence"))
_TAKE = _OURS.values(
    fence=Chunk.fence + 1, owner=bindparam("holder"), lease_until=bindparam("until"), not_before=None
)
# A chunk that is handed back is nobody's; whoever held it can write nothing more.
_HAND_BACK = _OURS.values(batch=[], batch_at=None, owner=None, lease_until=None, fence=Chunk.fence + 1)
_RECOVERED = _HAND_BACK.values(written=Chunk.written + bindparam("more"))
_RESTS = _HAND_BACK.values(not_before=bindparam("later"))
_DONE = _HAND_BACK.values(state=ChunkState.DONE, finished_at=bindparam("ended"), left=people_left())
_WAVE = _OURS.values(
    batch=bindparam("marked"),
    written=Chunk.written + bindparam("more"),
    batch_at=bindparam("marked_at"),
    lease_until=bindparam("until"),
)
_NEXT_WAVE = ForDriver(_WAVE, "chunk_id", "lease_fence", "marked", "more", "marked_at", "until")


@dataclass
class Leased:
    """A chunk that this worker holds: whom it has on the wire, and how far it has walked."""

    chunk: Any
    fence: int
    after: int = 0
    flying: set[int] = field(default_factory=set)
    # Once no older words are on the wire to anybody in the chunk, none ever will be: older fan-outs mark nobody.
    older_may_fly: bool = True
    held_back: bool = False
    since: datetime | None = None  # the lease's beginning, as the database counts it
    lost: bool = False  # somebody else has taken it over

    def stand_as(self, before: Leased) -> None:
        """Takes back a settlement that was not committed. `flying` is always replaced, never changed in place."""
        self.after, self.flying, self.held_back = before.after, before.flying, before.held_back
        self.since, self.lost = before.since, before.lost


@dataclass(frozen=True)
class ChunkBatch:
    """People of a leased chunk who are marked."""

    lease: Leased
    people: list[Due]

    @property
    def chunk_id(self) -> int:
        return int(self.lease.chunk.id)

    @property
    def fence(self) -> int:
        return self.lease.fence

    @property
    def update_id(self) -> int:
        return int(self.lease.chunk.update_id)

    @property
    def channel(self) -> Channel:
        channel: Channel = self.lease.chunk.channel
        return channel

    def waves(self, number: int) -> list[ChunkBatch]:
        """The same people in that many parts, which are sent and settled one by one."""
        size = max(1, -(-len(self.people) // number))
        return [
            ChunkBatch(self.lease, self.people[start : start + size])
            for start in range(0, len(self.people), size)
        ]


def any_open(session: Session, channel: Channel) -> bool:
    """A look that takes no lock."""
    query = select(Chunk.id).where(chunk_is_open(), Chunk.channel == channel)
    return session.scalar(query.limit(1)) is not None


def number_free(session: Session, channel: Channel, *, most: int) -> int:
    """How many chunks wait for a worker; more than `most` are not counted. Takes no lock."""
    free = select(Chunk.id).where(chunk_is_open(), Chunk.channel == channel, Chunk.lease_until.is_(None))
    return session.scalar(select(func.count()).select_from(free.limit(most).subquery())) or 0


def recover(session: Session, *, now: datetime) -> int:
    """Takes expired leases away from their workers; answers how many. Part of every claim."""
    expired = _EXPIRED_LOCKED if is_postgres(session) else _EXPIRED
    lost = session.connection().execute(expired, {"now": now}).all()
    for chunk in lost:
        written = 0
        if chunk.batch:
            again = now + RESEND_UNKNOWN_AFTER if walk.is_live(session, chunk.fanout_id, now=now) else None
            written = unknown_rows(session, chunk, chunk.batch, now=now, again=again)
        _change(session, _RECOVERED, chunk.id, chunk.fence, more=written)
    return len(lost)


def claim(
    session: Session, *, channel: Channel, owner: str, now: datetime, limit: int
) -> tuple[ChunkBatch | None, bool]:
    """Leases a chunk and marks its first people; also answers whether anything was found to do."""
    found = recover(session, now=now) > 0
    at_hand = {"channel": channel, "now": now}
    in_turn = list(session.connection().execute(_WITH_FREE, at_hand).scalars())
    random.shuffle(in_turn)  # two incidents at once: each gets its share of the workers' claims
    for _ in range(_CLAIMS_A_ROUND):
        chunk = _next_free(session, in_turn, at_hand)
        if chunk is None:
            break
        found = True
        lease = Leased(chunk, fence=chunk.fence + 1)
        _change(session, _TAKE, chunk.id, chunk.fence, holder=owner, until=now + LEASE)
        batch = _from_the_start(session, lease, now=now, limit=limit, go_on=True)
        if batch is not None:
            return batch, True
    return None, found


def _next_free(session: Session, in_turn: list[int], at_hand: Mapping[str, Any]) -> Any:
    """The lowest free chunk of the first of these fan-outs that has one; those that have none are struck off."""
    query = _NEXT_FREE_LOCKED if is_postgres(session) else _NEXT_FREE
    while in_turn:
        chunk = session.connection().execute(query, {**at_hand, "fanout_id": in_turn[0]}).first()
        if chunk is not None:
            return chunk
        in_turn.pop(0)
    return None


def settle(
    session: Session,
    *,
    house: House,
    batch: ChunkBatch,
    results: Sequence[Result],
    now: datetime,
    limit: int,
    go_on: bool,
    provider_ids: Mapping[str, int] | None = None,
    one_by_one: bool = False,
) -> ChunkBatch | None:
    """Writes the outcomes and marks the next people of the chunk (when `go_on`), only where the lease is ours.

    People who were not tried get no row: they are due in the chunk as before. Raises AlreadyThere when a row
    was queued for one of them in the meantime: roll back, and call it again with `one_by_one`.
    """
    lease = batch.lease
    tried = [result for result in results if result.was_tried]
    flying = lease.flying.difference(due.subscriber_id for due in batch.people)
    people = (walk.next_people(session, lease, now=now, limit=limit) if go_on else None) or []
    written = outcomes.number_new(session, tried) if one_by_one else len(tried)
    marked = flying.union(due.subscriber_id for due in people)
    if not _mark(session, lease, marked, written=written, now=now):
        lease.lost = True
        accept_late(session, results, now=now, provider_ids=provider_ids or {})
        return None
    outcomes.write(
        session, house=house, tried=tried, now=now, provider_ids=provider_ids or {}, one_by_one=one_by_one
    )
    lease.flying = marked
    if people:
        lease.after = people[-1].subscriber_id
        return ChunkBatch(lease, people)
    if not flying:
        return _from_the_start(session, lease, now=now, limit=limit, go_on=go_on)
    return None


def _from_the_start(
    session: Session, lease: Leased, *, now: datetime, limit: int, go_on: bool
) -> ChunkBatch | None:
    """Nobody of the chunk is on the wire: marks its first people who are due, among them whoever was passed over.

    When there are none it is done, or rests, or is handed back.
    """
    lease.after, lease.held_back = 0, False
    people = walk.next_people(session, lease, now=now, limit=limit) if go_on else None
    live = people is not None
    if people and _mark(session, lease, {due.subscriber_id for due in people}, written=0, now=now):
        lease.flying = {due.subscriber_id for due in people}
        lease.after = people[-1].subscriber_id
        return ChunkBatch(lease, people)
    if live and lease.held_back:
        _change(session, _RESTS, lease.chunk.id, lease.fence, later=now + HELD_BACK)
    elif live:
        _change(session, _DONE, lease.chunk.id, lease.fence, ended=now)
    else:
        _change(session, _HAND_BACK, lease.chunk.id, lease.fence)
    return None


def _mark(session: Session, lease: Leased, people: set[int], *, written: int, now: datetime) -> bool:
    """Makes `people` the ones that are on the wire; False when the lease is no longer ours."""
    values = {
        "chunk_id": lease.chunk.id,
        "lease_fence": lease.fence,
        "marked": ids_to_text(people),
        "more": written,
        "marked_at": plain_time(session, now) if people else None,
        "until": plain_time(session, now + LEASE),
    }
    lease.since = now
    return changed_by_driver(session, _NEXT_WAVE, values) == 1


def _change(session: Session, statement: Update, chunk_id: int, fence: int, **values: Any) -> None:
    session.connection().execute(statement, {"chunk_id": chunk_id, "lease_fence": fence, **values})
