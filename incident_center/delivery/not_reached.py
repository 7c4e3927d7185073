"""Whom an update has not reached, or not yet, for calling them: page by page, so that the list may be long.

Left out are people who have unsubscribed, whose data were erased, and whom a newer update has reached or is
about to reach: nobody is called with old words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, or_, select, true
from sqlalchemy.orm import Session

from incident_center.db import Database
from incident_center.delivery.apart import apart
from incident_center.delivery.fanout import LIVE
from incident_center.delivery.people import still_due
from incident_center.models import Chunk, Delivery, Fanout, Subscriber, Update
from incident_center.states import Channel, ChunkState, DeliveryState, SubscriberState

NOT_REACHED = (
    DeliveryState.FAILED,
    DeliveryState.BOUNCED,
    DeliveryState.QUARANTINED,
    DeliveryState.EXPIRED,
    DeliveryState.CANCELLED,
    DeliveryState.SUPPRESSED,
    DeliveryState.SUPERSEDED,
    DeliveryState.UNKNOWN,  # they may have it
)
# Those whose provider takes nothing at the moment are listed too: a lead calls them while it is away.
LISTED = (DeliveryState.RETRY, *NOT_REACHED)
_REACHED = (DeliveryState.ACCEPTED, DeliveryState.DELIVERED, DeliveryState.COMPLAINED)
_CLOSED = {
    ChunkState.EXPIRED: DeliveryState.EXPIRED,
    ChunkState.CANCELLED: DeliveryState.CANCELLED,
    ChunkState.SUPERSEDED: DeliveryState.SUPERSEDED,
}
_PAGE = 2_000
_PERSON = (
    Subscriber.id,
    Subscriber.name,
    Subscriber.form,
    Subscriber.language,
    Subscriber.zone,
    Subscriber.phone,
    Subscriber.email,
)


@dataclass(frozen=True)
class Missed:
    """One person to call. `last_try` is None for those who were never written to."""

    subscriber_id: int
    name: str | None
    form: str | None
    language: str
    zone: str
    phone: str | None
    email: str | None
    channel: Channel
    state: DeliveryState
    code: str | None
    words: str | None
    last_try: datetime | None


def not_reached(database: Database, update_id: int, *, now: datetime, page: int = _PAGE) -> Iterator[Missed]:
    """By channel, state and id; who may have it (UNKNOWN) comes last on each channel, and last of all come
    those whose turn never came. Each page is read by itself, so that a slow reader holds nothing open."""
    for channel, state in product(Channel, LISTED):
        yield from _with_row(database, update_id, channel, state, page=page)
    with database.reading() as session:
        closed = _closed_chunks(session, update_id, now=now)
    for chunk, state in closed:
        yield from _left_in(database, chunk, state, page=page)


def _with_row(
    database: Database, update_id: int, channel: Channel, state: DeliveryState, *, page: int
) -> Iterator[Missed]:
    after = 0
    while True:
        with database.reading() as session:
            query = _rows(session, update_id, channel, state).where(Delivery.subscriber_id > after)
            rows = session.execute(query.order_by(Delivery.subscriber_id).limit(page)).all()
        yield from (_missed(row, channel, state, tried=row) for row in rows)
        if len(rows) < page:
            return
        after = rows[-1].id


def _left_in(database: Database, chunk: Any, state: DeliveryState, *, page: int) -> Iterator[Missed]:
    after = 0
    while True:
        with database.reading() as session:
            query = select(*_PERSON).where(
                still_due(chunk), Subscriber.id > after, _no_newer(session, chunk.update_id)
            )
            rows = session.execute(query.order_by(Subscriber.id).limit(page)).all()
        on_the_wire = set(chunk.batch)
        yield from (_missed(row, chunk.channel, state) for row in rows if row.id not in on_the_wire)
        if len(rows) < page:
            return
        after = rows[-1].id


def _rows(
    session: Session, update_id: int, channel: Channel, state: DeliveryState
) -> Select[*tuple[Any, ...]]:
    return (
        select(*_PERSON, Delivery.code, Delivery.detail, Delivery.attempts, Delivery.at)
        .join(Subscriber, Subscriber.id == Delivery.subscriber_id)
        .where(
            apart(update_id, [state]),
            Delivery.channel == channel,
            true() if state is DeliveryState.RETRY else Delivery.not_before.is_(None),
            Subscriber.state.in_((SubscriberState.CONFIRMED, SubscriberState.SUPPRESSED)),
            or_(Subscriber.phone.is_not(None), Subscriber.email.is_not(None)),
            _no_newer(session, update_id),
        )
    )


def _closed_chunks(session: Session, update_id: int, *, now: datetime) -> list[tuple[Any, DeliveryState]]:
    """Chunks that were closed with people in them, or will be: their fan-out has ended, by its time if not by a word
    (with every worker down nobody closes them)."""
    fanout = session.scalar(select(Fanout).where(Fanout.update_id == update_id))
    if fanout is None:
        return []
    wanted = and_(Chunk.state.in_(_CLOSED), Chunk.left > 0)
    ended = DeliveryState.EXPIRED if fanout.state in LIVE else DeliveryState(fanout.state.value)
    if fanout.state not in LIVE or fanout.expires_at <= now:
        wanted = or_(wanted, Chunk.state == ChunkState.OPEN)
    chunks = session.scalars(select(Chunk).where(Chunk.update_id == update_id, wanted).order_by(Chunk.id))
    return [(chunk, _CLOSED.get(chunk.state, ended)) for chunk in chunks]


def _no_newer(session: Session, update_id: int) -> ColumnElement[bool]:
    """People whom no newer update has reached or is about to reach. For queries that name Subscriber."""
    this = session.get_one(Update, update_id)
    newer = session.scalars(
        select(Update.id)
        .where(Update.incident_id == this.incident_id, Update.id > update_id)
        .order_by(Update.id)
    ).all()
    if not newer:
        return true()
    told = ~_has_row(newer, _REACHED)
    newest = session.scalar(select(Fanout.state).where(Fanout.update_id == newer[-1]))
    return and_(told, _has_row(newer[-1:], NOT_REACHED)) if newest in LIVE else told


def _has_row(update_ids: Any, states: tuple[DeliveryState, ...]) -> ColumnElement[bool]:
    other = Delivery.__table__.alias("of_newer")
    return exists(
        select(other.c.subscriber_id).where(
            other.c.update_id.in_(list(update_ids)),
            other.c.subscriber_id == Subscriber.id,
            other.c.state.in_(states),
        )
    )


def _missed(row: Any, channel: Channel, state: DeliveryState, *, tried: Any = None) -> Missed:
    return Missed(
        subscriber_id=row.id,
        name=row.name,
        form=row.form.value if row.form else None,
        language=row.language,
        zone=row.zone,
        phone=row.phone,
        email=row.email,
        channel=channel,
        state=state,
        code=tried.code if tried else None,
        words=tried.detail if tried else None,
        last_try=tried.at if tried and tried.attempts else None,
    )
