"""Stopping the rest of a fan-out: whoever is not on the wire yet is not written to.

Who is on the wire is settled as usual: what has left the house cannot be called back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session

from incident_center.delivery.apart import apart
from incident_center.delivery.cutting import DONE
from incident_center.delivery.fanout import LIVE
from incident_center.delivery.people import audience, without_row
from incident_center.delivery.questions import progress
from incident_center.delivery.sql import changed, insert_all, skip_locked
from incident_center.models import Chunk, Delivery, Fanout, Subscriber
from incident_center.states import Channel, ChunkState, DeliveryState, FanoutState

WAITING = (DeliveryState.DUE, DeliveryState.RETRY)


@dataclass(frozen=True)
class Rest:
    """Who is not written to when a fan-out is stopped now, by channel, and how many get it all the same."""

    people: dict[Channel, int]
    on_the_wire: int
    live: bool

    @property
    def number(self) -> int:
        return sum(self.people.values())


def rest_of(session: Session, update_id: int) -> Rest:
    """Walks the part of the audience that has not been cut into chunks yet: half a second for a million."""
    fanout = session.scalar(select(Fanout).where(Fanout.update_id == update_id))
    told = progress(session, update_id)
    people = {
        channel: sum(states.get(state, 0) for state in WAITING) for channel, states in told.by_channel.items()
    }
    if fanout is not None:
        for piece in _not_walked(session, fanout):
            people[piece["channel"]] = people.get(piece["channel"], 0) + piece["size"]
    return Rest(
        people={channel: number for channel, number in people.items() if number},
        on_the_wire=sum(states.get(DeliveryState.SENDING, 0) for states in told.by_channel.values()),
        live=fanout is not None and fanout.state in LIVE,
    )


def stop_fanout(session: Session, *, update_id: int, now: datetime) -> Rest | None:
    """Ends a live fan-out and answers who is not written to; None when it was not live, or nobody waits.

    The fan-out's row is taken first: workers look at it, and hold it, before they mark anybody. Rows that a
    worker has in hand at this moment are ended by the worker (rows.claim), chunks by settle_superseded.
    """
    fanout = session.scalar(select(Fanout).where(Fanout.update_id == update_id).with_for_update())
    if fanout is None or fanout.state not in LIVE:
        return None
    rest = rest_of(session, update_id)
    if not rest.number:
        return None
    close_the_walk(session, fanout, now=now)
    fanout.state = FanoutState.CANCELLED
    session.flush()
    waiting = skip_locked(session, select(Delivery.subscriber_id).where(apart(update_id, WAITING)))
    rows = update(Delivery).where(Delivery.update_id == update_id, Delivery.subscriber_id.in_(waiting))
    ended = {"state": DeliveryState.CANCELLED, "not_before": None, "at": now}
    changed(session, rows.values(fence=Delivery.fence + 1, **ended))
    return rest


def close_the_walk(session: Session, fanout: Fanout, *, now: datetime) -> None:
    """Whom the walk has not reached stands in one closed chunk a channel, so that the numbers add up."""
    closed = {
        "fanout_id": fanout.id,
        "update_id": fanout.update_id,
        "incident_id": fanout.incident_id,
        "state": ChunkState.CANCELLED,
        "fence": 0,
        "batch": [],
        "finished_at": now,
    }
    insert_all(
        session, Chunk, [closed | piece | {"left": piece["size"]} for piece in _not_walked(session, fanout)]
    )
    fanout.cursors = {channel.value: DONE for channel in Channel}


def _not_walked(session: Session, fanout: Fanout) -> list[dict[str, Any]]:
    """The people behind the walk's cursor, as the columns of one chunk for each channel that has any."""
    if fanout.state is not FanoutState.OPEN:
        return []
    pieces = []
    for channel in Channel:
        after = fanout.cursors.get(channel.value, 0)
        if after == DONE:
            continue
        size, first, last = session.execute(_behind(fanout, channel, after)).one()
        if size:
            pieces.append({"channel": channel, "size": size, "first_id": first, "last_id": last})
    return pieces


def _behind(fanout: Fanout, channel: Channel, after: int) -> Select[int, int, int]:
    found = select(func.count(Subscriber.id), func.min(Subscriber.id), func.max(Subscriber.id))
    return found.where(
        Subscriber.id > after,
        audience(fanout.incident_id, channel),
        without_row(fanout.update_id),
    )
