"""The two halves of an update's audience, counted: who has a row, and who stands in a chunk alone."""

from __future__ import annotations

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from incident_center.delivery.apart import COUNTED_APART
from incident_center.delivery.fanout import in_its_size
from incident_center.models import Chunk, Delivery, Fanout, Subscriber
from incident_center.states import Channel, ChunkState, DeliveryState

# A chunk that was closed with people left in it: what became of them.
_LEFT_AS = {
    ChunkState.SUPERSEDED: DeliveryState.SUPERSEDED,
    ChunkState.EXPIRED: DeliveryState.EXPIRED,
    ChunkState.CANCELLED: DeliveryState.CANCELLED,
}


def written(session: Session, update_id: int) -> list[tuple[Channel, DeliveryState, int, int]]:
    """Rows by channel and state, and how many of them may have arrived twice; plain acceptances are not looked at.

    Chunks know how many rows they have written. Whatever is not plainly accepted, or was not written by a chunk,
    or may have arrived twice, stands in an index of its own and is counted there (Delivery.apart).
    """
    found: list[tuple[Channel, DeliveryState, int, int]] = [
        (channel, DeliveryState.ACCEPTED, number or 0, 0)
        for channel, number in session.execute(
            select(Chunk.channel, func.sum(Chunk.written))
            .where(Chunk.update_id == update_id)
            .group_by(Chunk.channel)
        )
    ]
    rows = session.execute(
        select(Delivery.channel, Delivery.state, Delivery.apart, Delivery.possibly_twice, func.count())
        .where(Delivery.update_id == update_id, COUNTED_APART)
        .group_by(Delivery.channel, Delivery.state, Delivery.apart, Delivery.possibly_twice)
    )
    for channel, state, apart, doubtful, number in rows:
        found.append((channel, state, number, number if doubtful else 0))
        if not apart:
            found.append((channel, DeliveryState.ACCEPTED, -number, 0))
    return found


def not_written(
    session: Session, update_id: int, *, waiting: DeliveryState
) -> list[tuple[Channel, DeliveryState, int]]:
    """People of chunks who have no row: `waiting` in open ones, on the wire, or left out of closed ones."""
    found = []
    of_open = (Chunk.update_id == update_id, Chunk.state == ChunkState.OPEN)
    sizes = session.execute(
        select(Chunk.channel, func.sum(Chunk.size - Chunk.written)).where(*of_open).group_by(Chunk.channel)
    )
    rest = {channel: number or 0 for channel, number in sizes}
    for channel, batch in session.execute(
        select(Chunk.channel, Chunk.batch).where(*of_open, Chunk.batch_at.is_not(None))
    ):
        found.append((channel, DeliveryState.SENDING, len(batch)))
        rest[channel] -= len(batch)
    for channel, number in _apart_in_open_chunks(session, update_id):
        rest[channel] -= number
    found += [(channel, waiting, max(0, number)) for channel, number in rest.items()]
    closed = session.execute(
        select(Chunk.channel, Chunk.state, func.sum(Chunk.left))
        .where(Chunk.update_id == update_id, Chunk.state.in_(_LEFT_AS))
        .group_by(Chunk.channel, Chunk.state)
    )
    found += [(channel, _LEFT_AS[state], left or 0) for channel, state, left in closed]
    return found


def _apart_in_open_chunks(session: Session, update_id: int) -> list[tuple[Channel, int]]:
    """Rows of people who are in an open chunk and have got theirs in another way."""
    rows = session.execute(
        select(Delivery.channel, func.count())
        .join(
            Chunk,
            and_(
                Chunk.update_id == Delivery.update_id,
                Chunk.channel == Delivery.channel,
                Delivery.subscriber_id.between(Chunk.first_id, Chunk.last_id),
            ),
        )
        .join(Subscriber, Subscriber.id == Delivery.subscriber_id)
        .join(Fanout, Fanout.update_id == Delivery.update_id)
        .where(
            Delivery.update_id == update_id,
            COUNTED_APART,
            Delivery.apart.is_(True),
            in_its_size(),
            Chunk.state == ChunkState.OPEN,
        )
        .group_by(Delivery.channel)
    )
    return [(channel, number) for channel, number in rows]
