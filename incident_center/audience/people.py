"""Finding, keeping and changing subscribers' rows; the verbs' common ground."""

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from incident_center.audience.requests import Contact, Preferences
from incident_center.delivery.second import second_address
from incident_center.errors import NotThere
from incident_center.models import Subscriber, SubscriberComponent
from incident_center.states import Channel, SubscriberState


def subject_of(person: Subscriber) -> str:
    """How the audit trail names somebody: never by an address, because entries outlive an erasure."""
    return f"subscriber {person.id}"


def subscriber(session: Session, subscriber_id: int, *, lock: bool = False) -> Subscriber:
    """Raises NotThere, also for somebody who was erased."""
    person = session.get(Subscriber, subscriber_id, with_for_update=lock, populate_existing=lock)
    if person is None or is_erased(person):
        raise NotThere(f"There is no subscriber {subscriber_id}.")
    return person


def is_erased(person: Subscriber) -> bool:
    return person.email is None and person.phone is None


def is_left(person: Subscriber) -> bool:
    """Gone by their own wish; nothing is left to unsubscribe."""
    return is_erased(person) or person.state is SubscriberState.UNSUBSCRIBED


def find(session: Session, contact: Contact, *, lock: bool = False) -> Subscriber | None:
    """Whoever has this address, on either channel's column, in any state."""
    column = Subscriber.email_key if contact.channel is Channel.EMAIL else Subscriber.phone
    wanted = select(Subscriber).where(column == contact.key)
    return session.scalar(wanted.with_for_update() if lock else wanted)


def find_or_add(session: Session, contact: Contact, fresh: Subscriber) -> Subscriber:
    """The row with this address, locked; `fresh` is stored when there is none. Two at once get the same row."""
    found = find(session, contact, lock=True)
    if found is not None:
        return found
    put_address(fresh, contact)
    try:
        with session.begin_nested():
            session.add(fresh)
    except IntegrityError:  # somebody else stored it between the question and the answer
        other = find(session, contact, lock=True)
        if other is None:
            raise
        return other
    return fresh


def put_address(person: Subscriber, contact: Contact) -> None:
    """Sets the address and makes its channel the preferred one."""
    person.channel = contact.channel
    _set_address(person, contact)


def put_second(person: Subscriber, contact: Contact, *, now: datetime) -> None:
    """Sets the second address: its owner has just said yes."""
    _set_address(person, contact)
    person.fallback_since = person.updated_at = now


def _set_address(person: Subscriber, contact: Contact) -> None:
    if contact.channel is Channel.EMAIL:
        person.email, person.email_key = contact.address, contact.key
    else:
        person.phone = contact.address


def is_preferred(person: Subscriber, contact: Contact) -> bool:
    return (person.channel, person.address) == (contact.channel, contact.address)


def is_second(person: Subscriber, contact: Contact) -> bool:
    return person.channel is not contact.channel and second_address(person) == contact.address


def contacts(person: Subscriber) -> list[tuple[Channel, str]]:
    """Every address that somebody has confirmed or given, preferred or not."""
    both = [(Channel.EMAIL, person.email), (Channel.SMS, person.phone)]
    return [(channel, address) for channel, address in both if address]


def put_preferences(session: Session, person: Subscriber, wanted: Preferences, *, now: datetime) -> None:
    person.language, person.zone = wanted.language, wanted.zone
    person.name, person.form = wanted.name, wanted.form
    person.updated_at = now
    person.all_components = wanted.component_ids is None
    session.flush()
    session.execute(delete(SubscriberComponent).where(SubscriberComponent.subscriber_id == person.id))
    for component_id in sorted(wanted.component_ids or ()):
        session.add(SubscriberComponent(subscriber_id=person.id, component_id=component_id))
    session.flush()


def component_ids(session: Session, person: Subscriber) -> frozenset[int] | None:
    """What somebody chose; None means everything."""
    if person.all_components:
        return None
    chosen = select(SubscriberComponent.component_id).where(SubscriberComponent.subscriber_id == person.id)
    return frozenset(session.scalars(chosen))


def preferences_of(session: Session, person: Subscriber) -> Preferences:
    return Preferences(
        language=person.language,
        zone=person.zone,
        name=person.name,
        form=person.form,
        component_ids=component_ids(session, person),
    )


def new_person(
    contact: Contact, wanted: Preferences, *, source: str, by: str | None, now: datetime
) -> Subscriber:
    return Subscriber(
        channel=contact.channel,
        language=wanted.language,
        zone=wanted.zone,
        name=wanted.name,
        form=wanted.form,
        all_components=wanted.component_ids is None,
        state=SubscriberState.PENDING,
        source=source,
        enrolled_by=by,
        created_at=now,
        updated_at=now,
    )
