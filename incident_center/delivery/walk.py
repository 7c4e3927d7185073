"""The walk through a chunk: who is due next. Runs for every 25 people, so its queries are written out once.

Who has unsubscribed, sent STOP or been suppressed is not in the answer from the moment of that commit on.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import Any, Protocol

from sqlalchemy import Select, String, and_, bindparam, exists, func, or_, select, type_coerce
from sqlalchemy.orm import Session

from incident_center.delivery.apart import apart
from incident_center.delivery.fanout import LIVE
from incident_center.delivery.ledger import Due, in_flight_older
from incident_center.delivery.people import still_due
from incident_center.delivery.sql import FROZEN_LETS_GO, Asked, ForDriver, in_one_exchange, plain_time
from incident_center.models import Chunk, Delivery, Fanout, Subscriber, Update
from incident_center.states import Channel, DeliveryState

_FANOUT = select(and_(Fanout.state.in_(LIVE), Fanout.expires_at > bindparam("now"))).where(
    Fanout.id == bindparam("fanout_id")
)
# PostgreSQL keeps a statement's plan; one that was made while the ledger was nearly empty would read all of it for
# each of the people that follow, until statistics are next taken. By the key it is right at any size, so that it need
# not be planned anew either: docs/decisions/0018-plans-that-do-not-age.md.
_BY_KEY = (
    func.set_config("enable_seqscan", "off", True),
    func.set_config("plan_cache_mode", "force_generic_plan", True),
    FROZEN_LETS_GO,
)
_IS_LIVE = ForDriver(
    _FANOUT, "fanout_id", "now", on_postgres=_FANOUT.add_columns(*_BY_KEY).with_for_update(read=True)
)


class Walk(Protocol):
    """What the walk needs to know of a lease: see chunks.Leased."""

    chunk: Any
    after: int
    older_may_fly: bool
    held_back: bool


def next_people(session: Session, lease: Walk, *, now: datetime, limit: int) -> list[Due] | None:
    """Up to `limit` people beyond `lease.after`, without those to whom older words are on the wire: then it
    notes that somebody was held back. None when the fan-out is not live any more; it is held as `is_live` says."""
    chunk = lease.chunk
    if lease.older_may_fly:
        if not is_live(session, chunk.fanout_id, now=now):
            return None
        lease.older_may_fly = _older_may_fly(session, chunk)
    if lease.older_may_fly:
        return _due(chunk, _with_nothing_older(session, lease, limit), now=now)
    live, page = in_one_exchange(
        session, _live(session, chunk.fanout_id, now), _page(chunk, lease.after, limit)
    )
    return _due(chunk, page, now=now) if live[0][0] else None


def _with_nothing_older(session: Session, lease: Walk, limit: int) -> list[Any]:
    chunk, after = lease.chunk, lease.after
    while True:
        (page,) = in_one_exchange(session, _page(chunk, after, limit))
        flying = in_flight_older(
            session,
            incident_id=chunk.incident_id,
            update_id=chunk.update_id,
            people=[row[0] for row in page],
        )
        lease.held_back = lease.held_back or bool(flying)
        people = [row for row in page if row[0] not in flying]
        if people or not page:
            return people
        after = page[-1][0]


def is_live(session: Session, fanout_id: int, *, now: datetime) -> bool:
    """The fan-out's row is held until the commit: a publisher who supersedes it waits for the mark, and the
    newer update's workers see it."""
    (live,) = in_one_exchange(session, _live(session, fanout_id, now))
    return bool(live[0][0])


def _live(session: Session, fanout_id: int, now: datetime) -> Asked:
    return _IS_LIVE, {"fanout_id": fanout_id, "now": plain_time(session, now)}


def _page(chunk: Any, after: int, limit: int) -> Asked:
    return _NEXT[chunk.channel], {
        "update_id": chunk.update_id,
        "incident_id": chunk.incident_id,
        # One lower bound: of two SQLite takes the first and reads everybody up to the other, each time.
        "first_id": max(chunk.first_id, after + 1),
        "last_id": chunk.last_id,
        "limit": limit,
    }


def _older_may_fly(session: Session, chunk: Any) -> bool:
    """Whether anybody of the chunk may be getting older words. Once not, never again: what has been overtaken
    is marked no more."""
    people = {name: getattr(chunk, name) for name in ("incident_id", "update_id", "first_id", "last_id")}
    return bool(session.connection().execute(_OLDER, people).scalar())


def _due(chunk: Any, rows: Sequence[Any], *, now: datetime) -> list[Due]:
    update_id, incident_id, channel = chunk.update_id, chunk.incident_id, chunk.channel
    return [
        Due(
            update_id=update_id,
            incident_id=incident_id,
            subscriber_id=subscriber_id,
            channel=channel,
            address=address or "",
            language=language,
            zone=zone,
            name=name,
            form=form,
            since=now,
        )
        for subscriber_id, address, language, zone, name, form in rows
    ]


def _query(channel: Channel) -> Select[*tuple[Any, ...]]:
    chunk = SimpleNamespace(
        update_id=bindparam("update_id"),
        incident_id=bindparam("incident_id"),
        first_id=bindparam("first_id"),
        last_id=bindparam("last_id"),
        channel=channel,
    )
    address = Subscriber.email if channel is Channel.EMAIL else Subscriber.phone
    return (
        select(
            Subscriber.id,
            address,
            Subscriber.language,
            Subscriber.zone,
            Subscriber.name,
            type_coerce(Subscriber.form, String),  # its value is what the composer reads
        )
        .where(still_due(chunk))
        .order_by(Subscriber.id)
        .limit(bindparam("limit"))
    )


def _older() -> Select[bool]:
    """Built once: a chunk begins every few hundred milliseconds."""
    in_chunks = exists(
        select(Chunk.id).where(
            Chunk.incident_id == bindparam("incident_id"),
            Chunk.update_id < bindparam("update_id"),
            Chunk.batch_at.is_not(None),
            Chunk.first_id <= bindparam("last_id"),
            Chunk.last_id >= bindparam("first_id"),
        )
    )
    flying = (
        select(Delivery.state)
        .where(apart(Update.id, [DeliveryState.SENDING]))
        .order_by(Delivery.channel, Delivery.state)
        .limit(1)
        .scalar_subquery()
    )
    in_rows = exists(
        select(Update.id).where(
            Update.incident_id == bindparam("incident_id"),
            Update.id < bindparam("update_id"),
            flying.is_not(None),
        )
    )
    return select(or_(in_chunks, in_rows))


_OLDER = _older()
_PLACES = ("update_id", "incident_id", "first_id", "last_id", "limit")
_NEXT = {channel: ForDriver(_query(channel), *_PLACES) for channel in Channel}
