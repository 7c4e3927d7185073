"""Leaving: unsubscribe, STOP and erasure. Each keeps only a keyed hash, so that no import revives anybody."""

from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from incident_center.audience import confirmations, letters, people
from incident_center.delivery import suppress
from incident_center.delivery.second import drop_address, forget_second, second_address
from incident_center.house import House
from incident_center.models import Confirmation, Message, Subscriber, SubscriberComponent
from incident_center.staff import audit
from incident_center.states import Channel, DeliveryState, SubscriberState, SuppressionReason


def unsubscribe(
    session: Session, *, house: House, subscriber_id: int, by: str | None = None, now: datetime
) -> None:
    """Nothing more is sent to any of their addresses, after one goodbye. Asking again does nothing; asking for
    somebody who is gone or erased is no error, because one-click requests are repeated (RFC 8058)."""
    person = session.get(Subscriber, subscriber_id, with_for_update=True, populate_existing=True)
    if person is None or people.is_erased(person) or person.state is SubscriberState.UNSUBSCRIBED:
        return
    if person.state is SubscriberState.CONFIRMED:
        letters.send_goodbye(session, house=house, person=person, now=now)
    _end(session, house, person, now=now)
    _note(session, person, "subscriber.unsubscribed", by=by, now=now)


def stop(session: Session, *, house: House, phone: str, now: datetime) -> bool:
    """STOP came from a number (E.164). It gets no more SMS; whoever prefers e-mail keeps that, without the number
    as their second address. Whoever preferred SMS has left, a second address included. Answers whether the
    number was known; it is suppressed in either case."""
    person = session.scalar(select(Subscriber).where(Subscriber.phone == phone).with_for_update())
    gone = [(Channel.SMS, phone)]
    if person is not None and person.channel is Channel.EMAIL:
        confirmations.end_second(session, person, now=now)
        forget_second(person, now=now)
    elif person is not None and person.state is not SubscriberState.UNSUBSCRIBED:
        letters.send_goodbye(session, house=house, person=person, now=now)
        second = second_address(person)
        gone += [(Channel.EMAIL, second)] if second else []
        _close(session, person, now=now)
    for channel, address in gone:
        suppress.suppress(
            session, house=house, channel=channel, address=address, reason=SuppressionReason.STOP, now=now
        )
    if person is not None:
        _note(session, person, "subscriber.stopped", by=None, now=now)
    return person is not None


def erase(
    session: Session, *, house: House, subscriber_id: int, by: str | None = None, now: datetime
) -> None:
    """Forget everything about a person: addresses, name, choices, single messages. What stays is a number, for
    the ledger, and a keyed hash, so that nobody writes to them by mistake. Raises NotThere."""
    person = people.subscriber(session, subscriber_id, lock=True)
    if person.state is not SubscriberState.UNSUBSCRIBED:
        _end(session, house, person, now=now)
    for table in (Confirmation, SubscriberComponent):
        session.execute(delete(table).where(table.subscriber_id == person.id))
    _forget_messages(session, person, now=now)
    drop_address(person, Channel.EMAIL)
    drop_address(person, Channel.SMS)
    person.name = person.form = None
    person.all_components, person.updated_at = True, now
    _note(session, person, "subscriber.erased", by=by, now=now)


def _end(session: Session, house: House, person: Subscriber, *, now: datetime) -> None:
    reason = SuppressionReason.UNSUBSCRIBED
    for channel, address in people.contacts(person):
        suppress.suppress(session, house=house, channel=channel, address=address, reason=reason, now=now)
    _close(session, person, now=now)


def _close(session: Session, person: Subscriber, *, now: datetime) -> None:
    confirmations.end_all(session, person, now=now)
    person.state, person.ended_at, person.updated_at = SubscriberState.UNSUBSCRIBED, now, now
    session.flush()


def _forget_messages(session: Session, person: Subscriber, *, now: datetime) -> None:
    """Single messages carry the address and the name: the waiting ones are cancelled, all are emptied.
    One that is on the wire at this moment ends by itself: there is nothing left of it to send again."""
    own = Message.subscriber_id == person.id
    session.flush()
    session.execute(
        update(Message)
        .where(own, Message.state.in_([DeliveryState.DUE, DeliveryState.RETRY]))
        .values(state=DeliveryState.CANCELLED, not_before=None, at=now)
    )
    session.execute(
        update(Message).where(own).values(address=None, subject=None, text=None, html=None, headers={})
    )


def _note(session: Session, person: Subscriber, action: str, *, by: str | None, now: datetime) -> None:
    audit.record(
        session,
        by=by or people.subject_of(person),
        action=action,
        subject=people.subject_of(person),
        detail={"channel": person.channel.value},
        now=now,
    )
