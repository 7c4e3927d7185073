"""Chunks: claim one, mark a batch, settle it and mark the next. The marked batch is the durable intent.

Nothing touches the wire that is not marked in a committed transaction. A worker that is lost leaves its
marked batch behind; the next claim makes those people unknown, everybody else is exactly where they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from incident_center.delivery.fanout import LIVE, people_left
from incident_center.delivery.ledger import (
    HELD_BACK,
    LEASE,
    Due,
    Result,
    accept_late,
    columns_of,
    in_flight_older,
    keep_attempts,
    suppress_bounced,
    unknown_rows,
    worth_an_attempt_row,
)
from incident_center.delivery.people import still_due
from incident_center.delivery.retry import RESEND_UNKNOWN_AFTER
from incident_center.delivery.sql import changed, insert_ignoring, share_locked, skip_locked
from incident_center.house import House
from incident_center.models import Chunk, Delivery, Fanout, Subscriber
from incident_center.states import Channel, ChunkState, DeliveryState

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


@dataclass(frozen=True)
class ChunkBatch:
    """A marked batch of a leased chunk."""

    chunk_id: int
    fence: int
    update_id: int
    channel: Channel
    people: list[Due]


def any_open(session: Session, channel: Channel) -> bool:
    """A look that takes no lock."""
    query = select(Chunk.id).where(Chunk.state == ChunkState.OPEN, Chunk.channel == channel)
    return session.scalar(query.limit(1)) is not None


def recover(session: Session, *, now: datetime) -> int:
    """Takes expired leases away from their workers; answers how many. Part of every claim."""
    lost = session.execute(
        skip_locked(
            session,
            select(*_COLUMNS).where(Chunk.state == ChunkState.OPEN, Chunk.lease_until <= now).limit(20),
        )
    ).all()
    for chunk in lost:
        if chunk.batch:
            live = _is_live(session, chunk.fanout_id, now=now)
            again = now + RESEND_UNKNOWN_AFTER if live else None
            unknown_rows(session, chunk, chunk.batch, now=now, again=again)
        _put(session, chunk.id, chunk.fence, batch=[], batch_at=None, owner=None, lease_until=None)
    return len(lost)


def claim(
    session: Session, *, channel: Channel, owner: str, now: datetime, limit: int
) -> tuple[ChunkBatch | None, bool]:
    """Leases a chunk and marks its first batch; also answers whether anything was found to do."""
    found = recover(session, now=now) > 0
    for _ in range(_CLAIMS_A_ROUND):
        chunk = session.execute(
            skip_locked(
                session,
                select(*_COLUMNS)
                .join(Fanout, Fanout.id == Chunk.fanout_id)
                .where(
                    Chunk.state == ChunkState.OPEN,
                    Chunk.channel == channel,
                    Chunk.lease_until.is_(None),
                    (Chunk.not_before.is_(None)) | (Chunk.not_before <= now),
                    Fanout.state.in_(LIVE),
                    Fanout.expires_at > now,
                )
                .order_by(Chunk.id)
                .limit(1),
                of=Chunk,
            )
        ).first()
        if chunk is None:
            break
        found = True
        batch = _mark(session, chunk, fence=chunk.fence, owner=owner, now=now, limit=limit, after=0)
        if batch is not None:
            return batch, True
    return None, found


def settle(
    session: Session,
    *,
    house: House,
    batch: ChunkBatch,
    results: Sequence[Result],
    owner: str,
    now: datetime,
    limit: int,
    go_on: bool,
) -> ChunkBatch | None:
    """Writes the batch's outcomes and marks the next one (when `go_on`), only where the lease is still ours.

    People who were not tried get no row: they are due in the chunk as before.
    """
    chunk = _put(session, batch.chunk_id, batch.fence, batch=[], batch_at=None, owner=None, lease_until=None)
    if not chunk:
        accept_late(session, results, now=now)
        return None
    tried = [result for result in results if result.was_tried]
    if insert_ignoring(session, Delivery, [_row(result, now=now) for result in tried]) != len(tried):
        _settle_queued(session, tried, now=now)
    worth = [result for result in tried if worth_an_attempt_row(result)]
    if worth:
        keep_attempts(session, _delivery_ids(session, batch.update_id, worth), worth, now=now)
    suppress_bounced(session, house, tried, now=now)
    if not go_on:
        return None
    row = session.execute(select(*_COLUMNS).where(Chunk.id == batch.chunk_id)).one()
    after = max((due.subscriber_id for due in batch.people), default=0)
    return _mark(session, row, fence=batch.fence + 1, owner=owner, now=now, limit=limit, after=after)


def _mark(
    session: Session, chunk: Any, *, fence: int, owner: str, now: datetime, limit: int, after: int
) -> ChunkBatch | None:
    """Marks the next people of a chunk; None when there is nobody, who then is settled or held back.

    The fan-out's row is held until the commit: a publisher who supersedes it waits for the mark, and the
    newer update's workers see it.
    """
    if not _is_live(session, chunk.fanout_id, now=now):
        return None
    people, held_back = _next_people(session, chunk, limit=limit, after=after)
    if not people and after:
        people, held_back = _next_people(session, chunk, limit=limit, after=0)
    if not people:
        if held_back:
            _put(session, chunk.id, fence, not_before=now + HELD_BACK)
        else:
            _put(session, chunk.id, fence, state=ChunkState.DONE, finished_at=now, left=people_left())
        return None
    _put(
        session,
        chunk.id,
        fence,
        batch=[row.id for row in people],
        batch_at=now,
        owner=owner,
        lease_until=now + LEASE,
        not_before=None,
    )
    return ChunkBatch(
        chunk.id, fence + 1, chunk.update_id, chunk.channel, [_due(chunk, row, now=now) for row in people]
    )


def _is_live(session: Session, fanout_id: int, *, now: datetime) -> bool:
    row = session.execute(
        share_locked(session, select(Fanout.state, Fanout.expires_at).where(Fanout.id == fanout_id))
    ).one()
    return row.state in LIVE and row.expires_at > now


def _next_people(session: Session, chunk: Any, *, limit: int, after: int) -> tuple[Sequence[Any], bool]:
    """Up to `limit` people beyond `after`, without those to whom older words are on the wire; were there
    such?"""
    held_back = False
    while True:
        page = session.execute(
            select(
                Subscriber.id,
                (Subscriber.email if chunk.channel is Channel.EMAIL else Subscriber.phone).label("address"),
                Subscriber.language,
                Subscriber.zone,
                Subscriber.name,
                Subscriber.form,
            )
            .where(still_due(chunk), Subscriber.id > after)
            .order_by(Subscriber.id)
            .limit(limit)
        ).all()
        if not page:
            return [], held_back
        flying = in_flight_older(
            session,
            incident_id=chunk.incident_id,
            update_id=chunk.update_id,
            people=[row.id for row in page],
        )
        held_back = held_back or bool(flying)
        people = [row for row in page if row.id not in flying]
        if people:
            return people, held_back
        after = page[-1].id


def _due(chunk: Any, row: Any, *, now: datetime) -> Due:
    return Due(
        update_id=chunk.update_id,
        incident_id=chunk.incident_id,
        subscriber_id=row.id,
        channel=chunk.channel,
        address=row.address or "",
        language=row.language,
        zone=row.zone,
        name=row.name,
        form=row.form,
        since=now,
    )


def _row(result: Result, *, now: datetime) -> dict[str, Any]:
    due = result.due
    return {
        "update_id": due.update_id,
        "incident_id": due.incident_id,
        "subscriber_id": due.subscriber_id,
        "channel": due.channel,
        "fence": 0,
        "possibly_twice": False,
        "created_at": due.since,
        **columns_of(result, now=now),
    }


def _settle_queued(session: Session, results: Sequence[Result], *, now: datetime) -> None:
    """People for whom a row was queued while they were on the wire: they have had it, so it is settled."""
    for result in results:
        session.execute(
            update(Delivery)
            .where(
                Delivery.update_id == result.due.update_id,
                Delivery.subscriber_id == result.due.subscriber_id,
                Delivery.state == DeliveryState.DUE,
            )
            .values(fence=Delivery.fence + 1, **columns_of(result, now=now))
            .execution_options(synchronize_session=False)
        )


def _delivery_ids(session: Session, update_id: int, results: Sequence[Result]) -> dict[int, int]:
    people = [result.due.subscriber_id for result in results]
    rows = session.execute(
        select(Delivery.subscriber_id, Delivery.id).where(
            Delivery.update_id == update_id, Delivery.subscriber_id.in_(people)
        )
    )
    return {row.subscriber_id: row.id for row in rows}


def _put(session: Session, chunk_id: int, fence: int, **values: Any) -> bool:
    """Changes a chunk only where its fence still matches, and moves the fence on."""
    return (
        changed(
            session,
            update(Chunk).where(Chunk.id == chunk_id, Chunk.fence == fence).values(fence=fence + 1, **values),
        )
        == 1
    )
