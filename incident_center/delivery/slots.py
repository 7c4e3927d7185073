"""A provider's connections, shared by all workers: rows that are held for half a minute and renewed.

Every worker takes its fair share: a worker that starts finds slots once the others have given up what is more than
theirs, which they do at their next look.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from incident_center.delivery.sql import changed, insert_ignoring, skip_locked
from incident_center.models import ProviderSlot, WorkerBeat
from incident_center.states import Channel

LOOK_EVERY = timedelta(seconds=5)
HELD_FOR = timedelta(seconds=30)
_AWAKE = timedelta(seconds=30)  # workers give a sign of life every ten seconds


def fair_share(total: int, workers: int) -> int:
    """At most so many of `total` connections for one of `workers`; together they may find that there are fewer."""
    return max(1, -(-total // max(1, workers)))


def share(
    session: Session, provider_id: int, *, channel: Channel, total: int, owner: str, now: datetime
) -> int:
    """How many connections `owner` may keep to a provider that allows `total`; renews, gives back and takes."""
    _lay_out(session, provider_id, total)
    most = fair_share(total, _workers(session, owner, channel, now))
    of_provider = ProviderSlot.provider_id == provider_id
    mine = list(
        session.scalars(
            select(ProviderSlot.number)
            .where(of_provider, ProviderSlot.owner == owner)
            .order_by(ProviderSlot.number)
        )
    )
    if len(mine) > most:
        given = ProviderSlot.number.in_(mine[most:])
        session.execute(update(ProviderSlot).where(of_provider, given).values(owner=None, until=None))
    elif len(mine) < most:
        free = or_(ProviderSlot.owner.is_(None), ProviderSlot.until <= now)
        query = select(ProviderSlot.number).where(of_provider, free).order_by(ProviderSlot.number)
        found = session.scalars(skip_locked(session, query.limit(most - len(mine)))).all()
        session.execute(
            update(ProviderSlot)
            .where(of_provider, ProviderSlot.number.in_(found), free)
            .values(owner=owner)
            .execution_options(synchronize_session=False)
        )
    return changed(
        session,
        update(ProviderSlot).where(of_provider, ProviderSlot.owner == owner).values(until=now + HELD_FOR),
    )


def renew(session: Session, owner: str, *, now: datetime) -> None:
    """As part of a worker's sign of life: it may hang on the wire for longer than its slots are held."""
    session.execute(update(ProviderSlot).where(ProviderSlot.owner == owner).values(until=now + HELD_FOR))


def give_back(session: Session, owner: str, provider_ids: Collection[int]) -> None:
    """A worker that ends keeps nobody waiting for its slots."""
    mine = (ProviderSlot.owner == owner, ProviderSlot.provider_id.in_(provider_ids))
    session.execute(update(ProviderSlot).where(*mine).values(owner=None, until=None))


def _lay_out(session: Session, provider_id: int, total: int) -> None:
    there = session.scalar(
        select(func.count()).select_from(ProviderSlot).where(ProviderSlot.provider_id == provider_id)
    )
    if there == total:
        return
    session.execute(
        delete(ProviderSlot).where(ProviderSlot.provider_id == provider_id, ProviderSlot.number > total)
    )
    rows = [{"provider_id": provider_id, "number": number} for number in range(1, total + 1)]
    insert_ignoring(session, ProviderSlot, rows)


def _workers(session: Session, owner: str, channel: Channel, now: datetime) -> int:
    """Those who send on the channel; the others need no connection."""
    others = select(func.count()).select_from(WorkerBeat)
    awake = (WorkerBeat.beat_at > now - _AWAKE, WorkerBeat.owner != owner)
    return 1 + (session.scalar(others.where(*awake, WorkerBeat.channels.contains(channel.value))) or 0)
