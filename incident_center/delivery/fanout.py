"""Fan-outs: opened by publishing in one INSERT, cut into chunks by the worker (cutting.py), and ended by newer
news."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, update
from sqlalchemy.orm import Session

from incident_center.delivery.people import (
    ENDED_PHASES,
    chunk_is_open,
    concerned,
    told_of,
    unresolved,
    without_row,
)
from incident_center.delivery.sql import changed, insert_ignoring, skip_locked
from incident_center.models import Chunk, Delivery, Fanout, Incident, Subscriber, Update
from incident_center.states import ChunkState, DeliveryState, FanoutState, SubscriberState

LIFETIME = timedelta(hours=4)  # older news would mislead
LIFETIME_OF_THE_END = timedelta(hours=24)  # "it is over" stays true and useful
_MARKING = timedelta(seconds=2)  # longer than a worker takes from reading who is due to having marked them
LIVE = (FanoutState.OPEN, FanoutState.CUT)


def open_fanout(session: Session, *, update: Update, now: datetime) -> Fanout:
    """The sending of `update`; what is still open of the incident's older updates ends here.

    Two statements, whatever the number of people. Chunks of older fan-outs are settled by the workers, who
    look at their fan-out's state (and hold it) before they mark a batch.
    """
    _supersede_older(session, update)
    lifetime = LIFETIME_OF_THE_END if update.phase in ENDED_PHASES else LIFETIME
    fanout = Fanout(
        update_id=update.id,
        incident_id=update.incident_id,
        state=FanoutState.OPEN,
        cursors={},
        created_at=now,
        expires_at=now + lifetime,
    )
    session.add(fanout)
    session.flush()
    return fanout


def _supersede_older(session: Session, newer: Update) -> None:
    session.execute(
        update(Fanout)
        .where(Fanout.incident_id == newer.incident_id, Fanout.update_id < newer.id, Fanout.state.in_(LIVE))
        .values(state=FanoutState.SUPERSEDED)
    )


def queue_current_status(session: Session, *, subscriber: Subscriber, now: datetime) -> None:
    """Where things stand, for somebody who has joined or changed channel or components in mid-incident.

    One row due now for each unresolved incident that concerns them, and for each that has just ended and of
    which they have been told; unless they have had its latest update. Whoever is being written to at this moment
    gets one too: it waits until that has ended, and is settled with it (see rows.claim, outcomes.write). Call it
    in the transaction that makes them part of the audience.
    """
    session.flush()
    if subscriber.state is not SubscriberState.CONFIRMED:
        return
    rows = [
        {
            "update_id": update_id,
            "subscriber_id": subscriber.id,
            "channel": subscriber.channel,
            "state": DeliveryState.DUE,
            "attempts": 0,
            "fence": 0,
            "possibly_twice": False,
            "apart": True,
            "not_before": now + _MARKING if _may_be_marked(session, update_id, subscriber.id) else now,
            "at": now,
            "since": now,
        }
        for update_id, _ in _current(session, subscriber, now=now)
    ]
    insert_ignoring(session, Delivery, rows)


def _current(session: Session, subscriber: Subscriber, *, now: datetime) -> Sequence[Any]:
    """(update id, incident id) of what somebody should have heard and has not."""
    latest = (
        select(func.max(Update.id).label("update_id"), Update.incident_id)
        .group_by(Update.incident_id)
        .subquery()
    )
    going_out = exists(
        select(Fanout.id).where(
            Fanout.update_id == latest.c.update_id, Fanout.state.in_(LIVE), Fanout.expires_at > now
        )
    )
    return session.execute(
        select(latest.c.update_id, latest.c.incident_id)
        .join(Incident, Incident.id == latest.c.incident_id)
        .where(
            or_(unresolved(), and_(going_out, told_of(latest.c.incident_id, subscriber.id))),
            select(Subscriber.id)
            .where(
                Subscriber.id == subscriber.id,
                concerned(latest.c.incident_id),
                without_row(latest.c.update_id),
            )
            .exists(),
        )
    ).all()


def _may_be_marked(session: Session, update_id: int, subscriber_id: int) -> bool:
    """Whether a worker may be marking them in a transaction that nobody sees before its end (PostgreSQL)."""
    cutting = exists(select(Fanout.id).where(Fanout.update_id == update_id, Fanout.state == FanoutState.OPEN))
    in_chunk = exists(
        select(Chunk.id).where(
            Chunk.update_id == update_id,
            chunk_is_open(),
            Chunk.first_id <= subscriber_id,
            Chunk.last_id >= subscriber_id,
        )
    )
    return bool(session.scalar(select(or_(cutting, in_chunk))))


def settle_superseded(session: Session, *, now: datetime) -> bool:
    """Closes chunks whose update was overtaken, stopped, or is too old; answers whether there were any.

    `left` becomes the number of people who will not get this update. A chunk with people on the wire is
    left to its worker, or to the recovery of its lease.
    """
    ended = {
        ChunkState.SUPERSEDED: Fanout.state == FanoutState.SUPERSEDED,
        ChunkState.CANCELLED: Fanout.state == FanoutState.CANCELLED,
        ChunkState.EXPIRED: Fanout.expires_at <= now,
    }
    settled = 0
    for state, condition in ended.items():
        ids = session.scalars(
            skip_locked(
                session,
                select(Chunk.id)
                .where(
                    chunk_is_open(),
                    Chunk.fanout_id.in_(select(Fanout.id).where(condition)),
                    Chunk.batch_at.is_(None),
                    (Chunk.lease_until.is_(None)) | (Chunk.lease_until <= now),
                )
                .limit(200),
            )
        ).all()
        if ids:
            settled += changed(
                session,
                update(Chunk)
                .where(Chunk.id.in_(ids))
                .values(state=state, finished_at=now, left=people_left(), fence=Chunk.fence + 1),
            )
    return settled > 0


def in_its_size() -> ColumnElement[bool]:
    """Whether a chunk's `size` holds somebody who has a row of their own: who confirmed after the publication got
    that row before any chunk was cut with them in it."""
    return Subscriber.confirmed_at < Fanout.created_at


def people_left() -> object:
    """A chunk's people without a delivery, as an expression for an UPDATE of chunks; never below 0."""
    otherwise = (
        select(func.count(Delivery.subscriber_id))
        .join(Subscriber, Subscriber.id == Delivery.subscriber_id)
        .join(Fanout, Fanout.update_id == Delivery.update_id)
        .where(
            Delivery.update_id == Chunk.update_id,
            Delivery.channel == Chunk.channel,
            Delivery.subscriber_id.between(Chunk.first_id, Chunk.last_id),
            Delivery.apart.is_(True),
            in_its_size(),
        )
        .correlate(Chunk)
        .scalar_subquery()
    )
    left = Chunk.size - Chunk.written - otherwise
    return func.coalesce(func.nullif(left, func.abs(left) * -1), 0)
