"""What the ledger can be asked: how far a fan-out is, who got what, and whether it all adds up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, tuple_
from sqlalchemy.orm import Session, aliased

from incident_center.delivery.counts import not_written, written
from incident_center.delivery.fanout import LIVE
from incident_center.delivery.people import audience, unresolved, without_row
from incident_center.models import Chunk, Delivery, Fanout, Incident, Subscriber, SubscriberComponent, Update
from incident_center.states import Channel, ChunkState, DeliveryState, FanoutState, SubscriberState

_NOT_YET = (DeliveryState.DUE, DeliveryState.SENDING, DeliveryState.RETRY)
_SHOWN = 5  # examples in a complaint of the ledger
# A change that was under way while an update was published may carry an earlier time than the update.
_UNDER_WAY = timedelta(minutes=1)


@dataclass(frozen=True)
class Progress:
    """How far the sending of one update is.

    `audience` is everybody found so far, `waiting` those who may still get it (due, being sent, to be tried
    again), `finished` that nobody waits and everybody has been found. `by_channel` counts people by channel
    and state. `possibly_twice` counts those who may have got it twice.
    """

    audience: int
    waiting: int
    by_channel: dict[Channel, dict[DeliveryState, int]]
    finished: bool
    possibly_twice: int


def progress(session: Session, update_id: int) -> Progress:
    """Counted from the chunks' sizes and the rows' states; an update without a fan-out has an audience of
    0."""
    fanout = session.scalar(select(Fanout).where(Fanout.update_id == update_id))
    counts: dict[Channel, Counter[DeliveryState]] = {channel: Counter() for channel in Channel}
    twice = 0
    for channel, state, number, doubtful in written(session, update_id):
        counts[channel][state] += number
        twice += doubtful
    # Superseded or cancelled: deliveries say it with the same words.
    of_open = DeliveryState(fanout.state.value) if fanout and fanout.state not in LIVE else DeliveryState.DUE
    for channel, state, number in not_written(session, update_id, waiting=of_open):
        counts[channel][state] += number
    by_channel = {
        channel: {state: number for state, number in found.items() if number > 0}
        for channel, found in counts.items()
        if sum(found.values()) > 0
    }
    everybody = Counter[DeliveryState]()
    for states in by_channel.values():
        everybody.update(states)
    waiting = sum(everybody[state] for state in _NOT_YET)
    found_all = fanout is None or fanout.state is not FanoutState.OPEN
    return Progress(
        audience=sum(everybody.values()),
        waiting=waiting,
        by_channel=by_channel,
        finished=found_all and waiting == 0,
        possibly_twice=twice,
    )


def ledger_check(session: Session, update_id: int) -> list[str]:
    """Complaints, one sentence each; [] when everybody is still due in a chunk or has exactly one row.

    For the newest update of an incident; an overtaken one has nobody due any more. Costs a walk of the
    audience. Who was left in a chunk that was closed for its age is no complaint: the chunk counts them.
    """
    fanout = session.scalar(select(Fanout).where(Fanout.update_id == update_id))
    if fanout is None:
        return [f"update {update_id} has no fan-out"]
    complaints = []
    if fanout.state is FanoutState.CUT:
        missing = _people(session, _forgotten(fanout))
        if missing:
            complaints.append(f"nobody will write to subscribers {_list(missing)}")
    complaints += _overlaps(session, fanout)
    twice = _people(
        session,
        exists(
            select(Delivery.subscriber_id).where(
                Delivery.update_id == update_id,
                Delivery.subscriber_id == Subscriber.id,
                Delivery.state != DeliveryState.DUE,  # queued meanwhile; it waits for them
            )
        ),
        having_batch_of=update_id,
    )
    if twice:
        complaints.append(f"subscribers {_list(twice)} are on the wire and have a row already")
    return complaints


def forgotten(session: Session, update_id: int) -> int:
    """How many people the update should reach and nobody will write to. Costs a walk of the audience."""
    fanout = session.scalar(
        select(Fanout).where(Fanout.update_id == update_id, Fanout.state == FanoutState.CUT)
    )
    if fanout is None:
        return 0
    return session.scalar(select(func.count(Subscriber.id)).where(_forgotten(fanout))) or 0


def _forgotten(fanout: Fanout) -> ColumnElement[bool]:
    return and_(
        audience(fanout.incident_id),
        without_row(fanout.update_id),
        _is_owed(fanout),
        ~_in_chunk(fanout.update_id),
    )


def _is_owed(fanout: Fanout) -> ColumnElement[bool]:
    """People who should have this update; not those who joined too late for it.

    fanout.queue_current_status gives a row to whoever joins or changes while an incident goes on. An end is no
    news to who comes after it, and who is imported hears from the next update on.
    """
    since = fanout.created_at - _UNDER_WAY
    goes_on = exists(select(Incident.id).where(Incident.id == fanout.incident_id, unresolved()))
    imported = and_(Subscriber.source == "import", Subscriber.created_at >= since)
    return or_(Subscriber.updated_at < since, and_(goes_on, ~imported))


def _in_chunk(update_id: int) -> ColumnElement[bool]:
    """People whom a chunk accounts for: they are due in it, or it was closed with them in it."""
    return exists(
        select(Chunk.id).where(
            Chunk.update_id == update_id,
            Chunk.state != ChunkState.DONE,
            Chunk.channel == Subscriber.channel,
            Subscriber.id.between(Chunk.first_id, Chunk.last_id),
        )
    )


def _people(
    session: Session, condition: ColumnElement[bool], *, having_batch_of: int | None = None
) -> list[int]:
    query = select(Subscriber.id).where(condition).order_by(Subscriber.id).limit(_SHOWN + 1)
    if having_batch_of is not None:
        batches = session.scalars(
            select(Chunk.batch).where(Chunk.update_id == having_batch_of, Chunk.batch_at.is_not(None))
        )
        query = query.where(Subscriber.id.in_([one for batch in batches for one in batch]))
    return list(session.scalars(query))


def _overlaps(session: Session, fanout: Fanout) -> list[str]:
    other = aliased(Chunk)
    pairs = session.execute(
        select(Chunk.id, other.id)
        .join(
            other,
            and_(
                other.fanout_id == Chunk.fanout_id,
                other.channel == Chunk.channel,
                other.id > Chunk.id,
                other.first_id <= Chunk.last_id,
                other.last_id >= Chunk.first_id,
            ),
        )
        .where(Chunk.fanout_id == fanout.id)
        .limit(_SHOWN)
    ).all()
    return [f"chunks {first} and {second} overlap" for first, second in pairs]


def _list(people: Sequence[int]) -> str:
    more = " and more" if len(people) > _SHOWN else ""
    return ", ".join(str(one) for one in people[:_SHOWN]) + more


def deliveries_page(
    session: Session,
    incident_id: int,
    *,
    state: DeliveryState | None = None,
    channel: Channel | None = None,
    after: tuple[int, int] = (0, 0),
    limit: int = 100,
) -> list[Delivery]:
    """An incident's deliveries by (update, subscriber); ask on with the last one's as `after`."""
    query = select(Delivery).where(
        Delivery.update_id.in_(select(Update.id).where(Update.incident_id == incident_id)),
        tuple_(Delivery.update_id, Delivery.subscriber_id) > after,
    )
    if state is not None:
        query = query.where(Delivery.state == state)
    if channel is not None:
        query = query.where(Delivery.channel == channel)
    return list(session.scalars(query.order_by(Delivery.update_id, Delivery.subscriber_id).limit(limit)))


def audience_counts(session: Session, component_ids: Collection[int]) -> dict[tuple[Channel, str], int]:
    """How many confirmed subscribers an incident on these components would reach, by channel and language."""
    chosen = exists(
        select(SubscriberComponent.subscriber_id).where(
            SubscriberComponent.subscriber_id == Subscriber.id,
            SubscriberComponent.component_id.in_(list(component_ids)),
        )
    )
    rows: Sequence[Any] = session.execute(
        select(Subscriber.channel, Subscriber.language, func.count())
        .where(Subscriber.state == SubscriberState.CONFIRMED, or_(Subscriber.all_components, chosen))
        .group_by(Subscriber.channel, Subscriber.language)
    ).all()
    return {(channel, language): number for channel, language, number in rows}
