"""Deliveries that are rows by themselves: retries, resends, and people who joined in mid-incident. They go
before bulk.

`not_before` says when a row wants attention: when it is due, or, while it is being sent, when its worker's
lease ends. One index finds both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from incident_center.delivery import fallback
from incident_center.delivery.fanout import LIVE
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
)
from incident_center.delivery.retry import GIVE_UP_AFTER, RESEND_UNKNOWN_AFTER
from incident_center.delivery.second import belongs_there
from incident_center.delivery.sql import changed, share_locked, skip_locked
from incident_center.house import House
from incident_center.models import Chunk, Delivery, Fanout, Subscriber, Update
from incident_center.states import Channel, DeliveryState, FanoutState, SubscriberState

NOT_TRIED_AGAIN = timedelta(seconds=5)  # its provider rests, or the worker was told to stop

_WAITING = (DeliveryState.DUE, DeliveryState.RETRY, DeliveryState.UNKNOWN, DeliveryState.SENDING)


@dataclass(frozen=True)
class RowBatch:
    """Rows that are leased and marked as being sent."""

    people: list[Due]

    @property
    def ids(self) -> list[tuple[int, int]]:
        return [(due.update_id, due.subscriber_id) for due in self.people]

    @property
    def fences(self) -> list[int]:
        return [due.fence for due in self.people]


def anything_waits(session: Session, channel: Channel, *, now: datetime) -> bool:
    """A look that takes no lock."""
    waiting = select(Delivery.update_id).where(Delivery.not_before <= now, Delivery.channel == channel)
    return session.scalar(waiting.limit(1)) is not None


def claim(
    session: Session, *, channel: Channel, owner: str, now: datetime, limit: int
) -> tuple[RowBatch, bool]:
    """Leases rows that are due and marks them; also answers whether anything was found to do.

    Rows that must not be sent any more are settled here: overtaken, too old, or their reader has left.
    """
    waiting = (
        session.execute(
            skip_locked(
                session,
                select(Delivery)
                .where(Delivery.not_before <= now, Delivery.channel == channel, Delivery.state.in_(_WAITING))
                .order_by(Delivery.not_before)
                .limit(limit),
                of=Delivery,
            )
        )
        .scalars()
        .all()
    )
    lost = [row for row in waiting if row.state is DeliveryState.SENDING]
    rows = [row for row in waiting if row.state is not DeliveryState.SENDING]
    for row in lost:
        _recover(session, row, now=now)
    fanouts = _fanouts(session, {row.update_id for row in rows})
    readers = _readers(session, {row.subscriber_id for row in rows})
    incidents = _incidents(session, {row.update_id for row in rows})
    flying = _flying(session, rows, incidents)
    people = []
    for row in rows:
        reader = readers.get(row.subscriber_id)
        end = _end(row, reader, fanout=fanouts.get(row.update_id), now=now)
        if (row.update_id, row.subscriber_id) in flying:  # the wire decides before we do
            _put(session, row, not_before=now + HELD_BACK)
        elif end is not None:
            _put(session, row, state=end, not_before=None, at=now)
        elif reader is not None and not belongs_there(row, reader):
            move_channel(session, row, reader.channel)
            _put(session, row, channel=reader.channel, apart=True, at=now)
        elif reader is not None:
            incident_id = incidents[row.update_id]
            people.append(_lease(session, row, reader, incident_id=incident_id, owner=owner, now=now))
    return RowBatch(people), bool(waiting)


def settle(
    session: Session,
    *,
    house: House,
    results: Sequence[Result],
    now: datetime,
    provider_ids: Mapping[str, int] | None = None,
) -> None:
    """Writes the outcomes, each only where the row's lease is still ours. Who was not tried waits a
    little."""
    done: list[Result] = []
    late: list[Result] = []
    for result in results:
        due = result.due
        columns = (
            columns_of(result, now=now, provider_ids=provider_ids or {})
            if result.was_tried
            else _as_before(due, now=now)
        )
        if result.wording_id is None:
            columns.pop("wording_id", None)
        row = update(Delivery).where(
            Delivery.update_id == due.update_id,
            Delivery.subscriber_id == due.subscriber_id,
            Delivery.fence == due.fence,
        )
        kept = changed(session, row.values(owner=None, lease_until=None, fence=due.fence + 1, **columns))
        (done if kept else late).append(result)
    keep_attempts(session, done, now=now)
    suppress_bounced(session, house, done, now=now)
    fallback.after_failure(session, fallback.failed(done), now=now)
    accept_late(session, late, now=now, provider_ids=provider_ids or {})


def move_channel(session: Session, row: Delivery, to: Channel) -> None:
    """Call it before a row goes over to another channel and set its `apart`: its chunk counts it no more."""
    if row.apart or row.channel is to:
        return
    changed(
        session,
        update(Chunk)
        .where(
            Chunk.update_id == row.update_id,
            Chunk.channel == row.channel,
            Chunk.first_id <= row.subscriber_id,
            Chunk.last_id >= row.subscriber_id,
        )
        .values(written=Chunk.written - 1, size=Chunk.size - 1),
    )


def _as_before(due: Due, *, now: datetime) -> dict[str, Any]:
    state = (
        DeliveryState.UNKNOWN if due.resend else DeliveryState.RETRY if due.attempts else DeliveryState.DUE
    )
    return {"state": state, "not_before": now + NOT_TRIED_AGAIN, "at": now}


def _recover(session: Session, row: Delivery, *, now: datetime) -> None:
    """Its worker was lost in flight: unknown. Sent again once, unless this was that once. Which provider was asked
    is not known."""
    again = None if row.possibly_twice else now + RESEND_UNKNOWN_AFTER
    _put(
        session,
        row,
        state=DeliveryState.UNKNOWN,
        attempts=row.attempts + 1,
        provider_id=None,
        not_before=again,
        owner=None,
        lease_until=None,
        code="worker-lost",
        detail="the worker was lost while this was on the wire",
        at=now,
    )


def _fanouts(session: Session, update_ids: set[int]) -> dict[int, FanoutState]:
    """Update id -> how its fan-out stands. They are held: whoever publishes or stops waits for the mark."""
    rows = session.execute(
        share_locked(
            session,
            select(Fanout.update_id, Fanout.state)
            .where(Fanout.update_id.in_(update_ids))
            .order_by(Fanout.id),
        )
    ).all()
    return {row.update_id: row.state for row in rows}


def _readers(session: Session, ids: set[int]) -> dict[int, Any]:
    rows = session.execute(
        select(
            Subscriber.id,
            Subscriber.state,
            Subscriber.channel,
            Subscriber.fallback_since,
            Subscriber.email,
            Subscriber.phone,
            Subscriber.language,
            Subscriber.zone,
            Subscriber.name,
            Subscriber.form,
        ).where(Subscriber.id.in_(ids))
    )
    return {row.id: row for row in rows}


def _flying(session: Session, rows: Iterable[Delivery], incidents: Mapping[int, int]) -> set[tuple[int, int]]:
    """Update and reader of rows whose reader may be getting an older update, or this one, at this moment."""
    by_update: dict[int, list[Delivery]] = {}
    for row in rows:
        by_update.setdefault(row.update_id, []).append(row)
    return {
        (update_id, reader)
        for update_id, own in by_update.items()
        for reader in in_flight_older(
            session,
            incident_id=incidents[update_id],
            update_id=update_id,
            people=[row.subscriber_id for row in own],
            or_this=True,
        )
    }


def _incidents(session: Session, update_ids: Collection[int]) -> dict[int, int]:
    rows = session.execute(select(Update.id, Update.incident_id).where(Update.id.in_(update_ids)))
    return {row.id: row.incident_id for row in rows}


def _end(row: Delivery, reader: Any, *, fanout: FanoutState | None, now: datetime) -> DeliveryState | None:
    """The state in which a row ends without being sent, or None. What may have been accepted stays
    unknown."""
    unknown = row.state is DeliveryState.UNKNOWN
    end: DeliveryState | None = None
    if reader is None or reader.state is not SubscriberState.CONFIRMED:
        suppressed = reader is not None and reader.state is SubscriberState.SUPPRESSED
        end = DeliveryState.SUPPRESSED if suppressed else DeliveryState.CANCELLED
    elif fanout not in LIVE:
        stopped = fanout is FanoutState.CANCELLED
        end = DeliveryState.CANCELLED if stopped else DeliveryState.SUPERSEDED
    elif now > (row.since or row.at) + GIVE_UP_AFTER:
        end = DeliveryState.EXPIRED if row.state is DeliveryState.DUE else DeliveryState.FAILED
    elif unknown and not belongs_there(row, reader):
        end = DeliveryState.UNKNOWN
    return DeliveryState.UNKNOWN if end is not None and unknown else end


def _lease(
    session: Session, row: Delivery, reader: Any, *, incident_id: int, owner: str, now: datetime
) -> Due:
    resend = row.state is DeliveryState.UNKNOWN
    until = now + LEASE
    _put(
        session,
        row,
        state=DeliveryState.SENDING,
        owner=owner,
        lease_until=until,
        not_before=until,
        possibly_twice=row.possibly_twice or resend,
        at=now,
    )
    return Due(
        update_id=row.update_id,
        incident_id=incident_id,
        subscriber_id=row.subscriber_id,
        channel=row.channel,
        address=(reader.email if row.channel is Channel.EMAIL else reader.phone) or "",
        language=reader.language,
        zone=reader.zone,
        name=reader.name,
        form=reader.form,
        since=row.since or row.at,
        attempts=row.attempts,
        resend=resend,
        provider=row.provider,
        fence=row.fence + 1,
    )


def _put(session: Session, row: Delivery, **values: Any) -> None:
    """Changes a row that this transaction has claimed; the fence moves on with every change."""
    statement = update(Delivery).where(
        Delivery.update_id == row.update_id,
        Delivery.subscriber_id == row.subscriber_id,
        Delivery.fence == row.fence,
    )
    changed(session, statement.values(fence=row.fence + 1, **values))
