"""A published update, its ledger's rows as a worker leaves them, and what providers say about them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from incident_center.delivery.letters import message_id
from incident_center.delivery.receipts import Told
from incident_center.models import (
    Delivery,
    Message,
    Provider,
    Receipt,
    Subscriber,
    Suppression,
    Update,
    Wording,
)
from incident_center.states import Channel, DeliveryState, Medium, MessageKind, Phase, UpdateKind
from tests.builders import LEAD, NOW, an_incident

PUBLIC_URL = "https://status.example.com"
PUBLISHED = NOW - timedelta(minutes=3)
NUMBER = "SM" + "0123456789abcdef" * 2


def an_update(session: Session, *, at: datetime = PUBLISHED) -> Update:
    update = Update(
        incident_id=an_incident(session).id,
        number=1,
        kind=UpdateKind.UPDATE,
        phase=Phase.INVESTIGATING,
        words={},
        next_update_by=at + timedelta(minutes=30),
        published_at=at,
        published_by=LEAD,
    )
    session.add(update)
    session.flush()
    session.add(
        Wording(
            update_id=update.id, medium=Medium.EMAIL, language="en", content={}, values={}, published_at=at
        )
    )
    session.flush()
    return update


def a_row(session: Session, update: Update, person: Subscriber, **parts: Any) -> Delivery:
    """Accepted at the first try."""
    given: dict[str, Any] = {
        "channel": person.channel,
        "state": DeliveryState.ACCEPTED,
        "attempts": 1,
        "at": PUBLISHED + timedelta(seconds=5),
    }
    row = Delivery(update_id=update.id, subscriber_id=person.id, **(given | parts))
    session.add(row)
    session.flush()
    return row


def a_provider(session: Session, name: str, channel: Channel = Channel.SMS) -> Provider:
    found = session.scalar(select(Provider).where(Provider.name == name))
    if found is None:
        found = Provider(name=name, channel=channel)
        session.add(found)
        session.flush()
    return found


def a_single(session: Session, person: Subscriber, **parts: Any) -> Message:
    given: dict[str, Any] = {
        "kind": MessageKind.WELCOME,
        "channel": person.channel,
        "subscriber_id": person.id,
        "language": "en",
        "created_at": PUBLISHED,
        "expires_at": NOW + timedelta(hours=24),
        "state": DeliveryState.ACCEPTED,
        "at": PUBLISHED,
    }
    row = Message(**(given | parts))
    session.add(row)
    session.flush()
    return row


def letter_of(row: Delivery, *, at: datetime = PUBLISHED) -> str:
    """The Message-ID that the row's e-mail carried."""
    return message_id(PUBLIC_URL, kind="update", about=row.update_id, reader=row.subscriber_id, at=at)


def letter_of_single(row: Message) -> str:
    return message_id(PUBLIC_URL, kind=row.kind.value, about=row.id, reader=0, at=row.created_at)


def told(row: Delivery, state: DeliveryState, **parts: Any) -> Told:
    """What an e-mail provider says about the row's letter."""
    given: dict[str, Any] = {
        "source": "mailgun",
        "event": f"{state.value} {parts}",
        "channel": row.channel,
        "state": state,
        "at": NOW,
        "letter": letter_of(row),
    }
    return Told(**(given | parts))


def the_row(session: Session) -> Delivery:
    return session.scalars(select(Delivery).execution_options(populate_existing=True)).one()


def receipts(session: Session) -> list[Receipt]:
    query = select(Receipt).order_by(Receipt.id).execution_options(populate_existing=True)
    return list(session.scalars(query))


def reasons(session: Session) -> list[str]:
    """Why addresses are written to no more."""
    return [reason.value for reason in session.scalars(select(Suppression.reason).order_by(Suppression.id))]
