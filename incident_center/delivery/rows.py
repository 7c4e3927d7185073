"""Deliveries that are rows by themselves: retries, resends, and people who joined in mid-incident. They go
before bulk.

`not_before` says when a row wants attention: when it is due, or, while it is being sent, when its worker's
lease ends. One index finds both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

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
from incident_center.delivery.sql import changed, share_locked, skip_locked
from incident_center.house import House
from incident_center.models import Delivery, Fanout, Subscriber
from incident_center.states import Channel, DeliveryState, SubscriberState

NOT_TRIED_AGAIN = timedelta(seconds=5)  # its provider rests, or the worker was told to stop

_WAITING = (DeliveryState.DUE, DeliveryState.RETRY, DeliveryState.UNKNOWN, DeliveryState.SENDING)


@dataclass(frozen=True)
class RowBatch:
    """Rows that are leased and marked as being sent."""

    people: list[Due]

    @property
    def ids(self) -> list[int]:
        return [due.delivery_id or 0 for due in self.people]

    @property
    def fences(self) -> list[int]:
        return [due.fence for due in self.people]


def anything_waits(session: Session, channel: Channel, *, now: datetime) -> bool:
    """A look that takes no lock."""
    waiting = select(Delivery.id).where(Delivery.not_before <= now, Delivery.channel == channel)
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
            )
        )
        .scalars()
        .all()
    )
    lost = [row for row in waiting if row.state is DeliveryState.SENDING]
    rows = [row for row in waiting if row.state is not DeliveryState.SENDING]
    for row in lost:
        _recover(session, row, now=now)
    live = _live_updates(session, {row.update_id for row in rows})
    readers = _readers(session, {row.subscriber_id for row in rows})
    flying = _flying(session, rows)
    people = []
    for row in rows:
        reader = readers.get(row.subscriber_id)
        end = _end(row, reader, live=row.update_id in live, now=now)
        if end is not None:
            _put(session, row, state=end, not_before=None, at=now)
        elif reader is not None and reader.channel is not row.channel:
            _put(session, row, channel=reader.channel, at=now)
        elif (row.update_id, row.subscriber_id) in flying:
            _put(session, row, not_before=now + HELD_BACK)
        elif reader is not None:
            people.append(_lease(session, row, reader, owner=owner, now=now))
    return RowBatch(people), bool(waiting)


def settle(session: Session, *, house: House, results: Sequence[Result], now: datetime) -> None:
    """Writes the outcomes, each only where the row's lease is still ours. Who was not tried waits a
    little."""
    done: list[Result] = []
    late: list[Result] = []
    for result in results:
        columns = columns_of(result, now=now) if result.was_tried else _as_before(result.due, now=now)
        if result.wording_id is None:
            columns.pop("wording_id", None)
        row = update(Delivery).where(
            Delivery.id == result.due.delivery_id, Delivery.fence == result.due.fence
        )
        kept = changed(
            session, row.values(owner=None, lease_until=None, fence=result.due.fence + 1, **columns)
        )
        (done if kept else late).append(result)
    # A person may have rows of two incidents in one batch.
    for update_id in {result.due.update_id for result in done}:
        own = [result for result in done if result.due.update_id == update_id]
        ids = {result.due.subscriber_id: result.due.delivery_id or 0 for result in own}
        keep_attempts(session, ids, own, now=now)
    suppress_bounced(session, house, done, now=now)
    accept_late(session, late, now=now)


def _as_before(due: Due, *, now: datetime) -> dict[str, Any]:
    state = (
        DeliveryState.UNKNOWN if due.resend else DeliveryState.RETRY if due.attempts else DeliveryState.DUE
    )
    return {"state": state, "not_before": now + NOT_TRIED_AGAIN, "at": now}


def _recover(session: Session, row: Delivery, *, now: datetime) -> None:
    """Its worker was lost in flight: unknown. Sent again once, unless this was that once."""
    again = None if row.possibly_twice else now + RESEND_UNKNOWN_AFTER
    _put(
        session,
        row,
        state=DeliveryState.UNKNOWN,
        attempts=row.attempts + 1,
        not_before=again,
        owner=None,
        lease_until=None,
        code="worker-lost",
        detail="the worker was lost while this was on the wire",
        at=now,
    )


def _live_updates(session: Session, update_ids: set[int]) -> set[int]:
    """Updates that are the newest of their incident. Their fan-outs are held: a publisher waits for the
    mark."""
    rows = session.execute(
        share_locked(
            session,
            select(Fanout.update_id, Fanout.state)
            .where(Fanout.update_id.in_(update_ids))
            .order_by(Fanout.id),
        )
    ).all()
    return {row.update_id for row in rows if row.state in LIVE}


def _readers(session: Session, ids: set[int]) -> dict[int, Any]:
    rows = session.execute(
        select(
            Subscriber.id,
            Subscriber.state,
            Subscriber.channel,
            Subscriber.email,
            Subscriber.phone,
            Subscriber.language,
            Subscriber.zone,
            Subscriber.name,
            Subscriber.form,
        ).where(Subscriber.id.in_(ids))
    )
    return {row.id: row for row in rows}


def _flying(session: Session, rows: Iterable[Delivery]) -> set[tuple[int, int]]:
    """Update and reader of rows whose reader may be getting an older update at this moment."""
    by_update: dict[int, list[Delivery]] = {}
    for row in rows:
        by_update.setdefault(row.update_id, []).append(row)
    return {
        (update_id, reader)
        for update_id, own in by_update.items()
        for reader in in_flight_older(
            session,
            incident_id=own[0].incident_id,
            update_id=update_id,
            people=[row.subscriber_id for row in own],
        )
    }


def _end(row: Delivery, reader: Any, *, live: bool, now: datetime) -> DeliveryState | None:
    """The state in which a row ends without being sent, or None. What may have been accepted stays
    unknown."""
    unknown = row.state is DeliveryState.UNKNOWN
    end: DeliveryState | None = None
    if reader is None or reader.state is not SubscriberState.CONFIRMED:
        suppressed = reader is not None and reader.state is SubscriberState.SUPPRESSED
        end = DeliveryState.SUPPRESSED if suppressed else DeliveryState.CANCELLED
    elif not live:
        end = DeliveryState.SUPERSEDED
    elif now > row.created_at + GIVE_UP_AFTER:
        end = DeliveryState.EXPIRED if row.state is DeliveryState.DUE else DeliveryState.FAILED
    elif unknown and reader.channel is not row.channel:
        end = DeliveryState.UNKNOWN
    return DeliveryState.UNKNOWN if end is not None and unknown else end


def _lease(session: Session, row: Delivery, reader: Any, *, owner: str, now: datetime) -> Due:
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
        incident_id=row.incident_id,
        subscriber_id=row.subscriber_id,
        channel=row.channel,
        address=(reader.email if row.channel is Channel.EMAIL else reader.phone) or "",
        language=reader.language,
        zone=reader.zone,
        name=reader.name,
        form=reader.form,
        since=row.created_at,
        attempts=row.attempts,
        resend=resend,
        provider=row.provider,
        delivery_id=row.id,
        fence=row.fence + 1,
    )


def _put(session: Session, row: Delivery, **values: Any) -> None:
    """Changes a row that this transaction has claimed; the fence moves on with every change."""
    statement = update(Delivery).where(Delivery.id == row.id, Delivery.fence == row.fence)
    changed(session, statement.values(fence=row.fence + 1, **values))
