"""Writing once more to people whom an update did not reach, because a lead says so.

The rows become due again and go the ordinary way. Who has left or lost their address in the meantime is not
written to; who may have had it already is only if the lead chose that, and then as every unknown is: over the
same provider, with the same Message-ID, marked as possibly written to twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, select, update
from sqlalchemy.orm import Session

from incident_center.delivery.apart import apart
from incident_center.delivery.fanout import LIVE
from incident_center.delivery.sql import changed, share_locked
from incident_center.models import Delivery, Fanout, Subscriber, Update
from incident_center.states import DeliveryState, SubscriberState

CERTAINLY_NOT = (DeliveryState.FAILED, DeliveryState.EXPIRED, DeliveryState.QUARANTINED)
AGAIN = (*CERTAINLY_NOT, DeliveryState.UNKNOWN)


@dataclass(frozen=True)
class Group:
    """People in one state: `willing` can be written to again, `gone` have left or lost their address."""

    state: DeliveryState
    willing: int
    gone: int


def groups(session: Session, update_id: int, *, as_of: datetime) -> list[Group]:
    """Whom a resend could reach, as things stood at `as_of`; groups without anybody are left out."""
    settled = _settled(update_id, AGAIN, as_of)
    everybody = _by_state(session, settled)
    willing = _by_state(session, settled, _can_be_told())
    return [
        Group(state, willing=willing[state], gone=everybody[state] - willing[state])
        for state in AGAIN
        if everybody[state]
    ]


def why_not(session: Session, update_id: int, *, now: datetime, hold: bool = False) -> str | None:
    """Why this update may not be sent again: newer, stopped, too_old, or None when it may.

    `hold` keeps its fan-out's row until the transaction ends, so that no newer update overtakes the resend.
    """
    fanout = select(Fanout.state, Fanout.expires_at, Fanout.incident_id).where(Fanout.update_id == update_id)
    row = session.execute(share_locked(session, fanout) if hold else fanout).first()
    if row is None:
        return "newer"
    newest = session.scalar(select(func.max(Update.id)).where(Update.incident_id == row.incident_id))
    if newest != update_id:
        return "newer"
    if row.state not in LIVE:
        return "stopped"
    return "too_old" if row.expires_at <= now else None


def send_again(
    session: Session,
    *,
    update_id: int,
    states: Collection[DeliveryState],
    as_of: datetime,
    now: datetime,
) -> dict[DeliveryState, int]:
    """Makes the people of these states due again and answers how many; ask `why_not` first.

    Only rows that have not changed since `as_of`, when the lead saw the numbers: a second click finds none.
    They get four hours again. What is unknown stays unknown until it is sent: see rows.claim.
    """
    willing = _by_state(session, _settled(update_id, AGAIN, as_of), _can_be_told())
    done = {}
    for state in AGAIN:
        if state not in states or not willing[state]:
            continue
        values: dict[str, Any] = {"not_before": now, "since": now, "at": now}
        if state is not DeliveryState.UNKNOWN:
            values["state"] = DeliveryState.DUE
        row = update(Delivery).where(_settled(update_id, [state], as_of), _can_be_told())
        done[state] = changed(session, row.values(fence=Delivery.fence + 1, **values))
    return {state: number for state, number in done.items() if number}


def _by_state(session: Session, *conditions: ColumnElement[bool]) -> Counter[DeliveryState]:
    counted = select(Delivery.state, func.count().label("number")).where(*conditions)
    found: Counter[DeliveryState] = Counter()
    for state, number in session.execute(counted.group_by(Delivery.channel, Delivery.state)):
        found[state] += number
    return found


def _settled(update_id: int, states: Collection[DeliveryState], as_of: datetime) -> ColumnElement[bool]:
    """Rows about which nothing more is planned."""
    return and_(
        apart(update_id, states),
        Delivery.not_before.is_(None),
        Delivery.at <= as_of,
    )


def _can_be_told() -> ColumnElement[bool]:
    """Their reader still wants it; what may have been accepted is never sent over another channel."""
    return exists(
        select(Subscriber.id).where(
            Subscriber.id == Delivery.subscriber_id,
            Subscriber.state == SubscriberState.CONFIRMED,
            (Subscriber.channel == Delivery.channel) | (Delivery.state != DeliveryState.UNKNOWN),
        )
    )
