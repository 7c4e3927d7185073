"""Changing how one is written to."""

from datetime import datetime

from sqlalchemy.orm import Session

from incident_center.audience import confirmations, people
from incident_center.audience.requests import Preferences, read_contact, read_preferences
from incident_center.audience.subscribe import Subscribed
from incident_center.delivery import fanout
from incident_center.errors import Flaw, Refused
from incident_center.house import House
from incident_center.models import Subscriber
from incident_center.staff import audit
from incident_center.states import Channel


def change_preferences(
    session: Session,
    *,
    house: House,
    subscriber_id: int,
    preferences: Preferences,
    by: str,
    now: datetime,
) -> Subscriber:
    """Components, language, zone, name and form of address. Whoever an open incident concerns only from now on
    gets its current status at once. Refuses with the codes of requests.py; NotThere."""
    person = people.subscriber(session, subscriber_id, lock=True)
    wanted = read_preferences(session, house=house, wanted=preferences)
    before = people.preferences_of(session, person)
    changed = [name for name in vars(wanted) if getattr(wanted, name) != getattr(before, name)]
    if not changed:
        return person
    people.put_preferences(session, person, wanted, now=now)
    fanout.queue_current_status(session, subscriber=person, now=now)
    audit.record(
        session,
        by=by,
        action="subscriber.preferences_changed",
        subject=people.subject_of(person),
        detail={"changed": sorted(changed)},  # not the values: a name would outlive its erasure here
        now=now,
    )
    return person


def change_address(
    session: Session,
    *,
    house: House,
    subscriber_id: int,
    channel: Channel,
    address: str,
    by: str,
    now: datetime,
) -> Subscribed:
    """Ask the new address's owner; until they say yes everything goes where it went before.

    `already` is true when the address is the current one: nothing happens then. Refuses with the codes of
    addresses.py, and address.too_soon when another address was asked less than two minutes ago. NotThere.
    """
    person = people.subscriber(session, subscriber_id, lock=True)
    contact = read_contact(house, channel, address)
    if people.is_preferred(person, contact):
        return Subscribed(person.id, 0, already=True)
    if confirmations.must_wait(session, person, contact, as_second=False, now=now):
        raise Refused(Flaw(channel.value, "address.too_soon", "can be changed again in two minutes"))
    asked = confirmations.ask(session, house=house, person=person, contact=contact, now=now)
    audit.record(
        session,
        by=by,
        action="subscriber.address_change_asked",
        subject=people.subject_of(person),
        detail={"channel": channel.value},
        now=now,
    )
    return Subscribed(person.id, asked.confirmation_id)
