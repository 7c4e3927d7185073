"""Which text a receipt is about when nobody has told us the gateway's number for it: Apprise's own plugins do not.

All that is left is to whom it went and when.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from incident_center.delivery.people import chunk_is_open
from incident_center.delivery.receipt_rows import Target
from incident_center.models import Chunk, Delivery, Fanout, Message, Subscriber
from incident_center.states import Channel, DeliveryState

_FANOUTS = 20  # the newest; each costs one look into the ledger's key
_RECENT = timedelta(days=4)
_APART = timedelta(seconds=5)  # a gateway tells whole seconds, by a clock of its own
# May be with the gateway. What was delivered is not asked about again: a receipt that comes later is about another.
_ON_ITS_WAY = (
    DeliveryState.SENDING,
    DeliveryState.ACCEPTED,
    DeliveryState.UNKNOWN,
    DeliveryState.BOUNCED,
)
Sent = tuple[datetime, Target]  # when, and what


def by_recipient(session: Session, recipient: str, *, at: datetime, now: datetime) -> Target | None:
    """The newest text to this number that had been sent by `at` and has no number of the gateway's yet. One that is
    on the wire has no row: its receipt waits for it."""
    phone = "".join(letter for letter in recipient if letter.isdigit()).removeprefix("00")
    person = session.scalar(select(Subscriber.id).where(Subscriber.phone == f"+{phone}"))
    if person is None:
        return None
    by = at + _APART
    looks = (
        _on_the_wire(session, person, by=by),
        _update(session, person, by=by, now=now),
        _single(session, person, by=by, now=now),
    )
    found = [one for one in looks if one is not None]
    return max(found, key=lambda one: one[0])[1] if found else None


def _on_the_wire(session: Session, person: int, *, by: datetime) -> Sent | None:
    """Each update has one chunk with this reader, and those that are marked in it are few."""
    rows = session.execute(
        select(Chunk.batch_at, Chunk.update_id, Chunk.batch).where(
            chunk_is_open(),
            Chunk.channel == Channel.SMS,
            Chunk.first_id <= person,
            Chunk.last_id >= person,
            Chunk.batch_at <= by,
        )
    )
    marked = [
        (row.batch_at, Target(update_id=row.update_id, subscriber_id=person))
        for row in rows
        if person in row.batch
    ]
    return max(marked, key=lambda one: one[0], default=None)


def _update(session: Session, person: int, *, by: datetime, now: datetime) -> Sent | None:
    recent = session.scalars(select(Fanout.update_id).order_by(Fanout.id.desc()).limit(_FANOUTS)).all()
    sent = func.coalesce(Delivery.since, Delivery.at)
    row = session.execute(
        select(sent.label("sent"), Delivery.update_id)
        .where(
            Delivery.update_id.in_(recent),
            Delivery.subscriber_id == person,
            Delivery.channel == Channel.SMS,
            Delivery.provider_ref.is_(None),
            Delivery.state.in_(_ON_ITS_WAY),
            Delivery.at >= now - _RECENT,
            sent <= by,
        )
        .order_by(Delivery.update_id.desc())
        .limit(1)
    ).first()
    return None if row is None else (row.sent, Target(update_id=row.update_id, subscriber_id=person))


def _single(session: Session, person: int, *, by: datetime, now: datetime) -> Sent | None:
    row = session.execute(
        select(Message.created_at, Message.id)
        .where(
            Message.subscriber_id == person,
            Message.channel == Channel.SMS,
            Message.provider_ref.is_(None),
            Message.state.in_(_ON_ITS_WAY),
            Message.at >= now - _RECENT,
            Message.created_at <= by,
        )
        .order_by(Message.id.desc())
        .limit(1)
    ).first()
    return None if row is None else (row.created_at, Target(message_id=row.id, subscriber_id=person))
