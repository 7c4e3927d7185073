"""The second address: on the other channel, for the day when the preferred one fails."""

from datetime import datetime

from sqlalchemy.orm import Session

from incident_center.audience import confirmations, people
from incident_center.audience.requests import read_contact
from incident_center.audience.subscribe import Subscribed
from incident_center.delivery.second import forget_second, other, second_address
from incident_center.errors import Flaw, Refused
from incident_center.house import House
from incident_center.staff import audit
from incident_center.states import SubscriberState


def add_second(
    session: Session, *, house: House, subscriber_id: int, address: str, by: str, now: datetime
) -> Subscribed:
    """Ask the owner of `address`, which is of the channel that this subscriber does not prefer. Until they say yes
    nothing is sent there but the question; an earlier second address stays until then.

    `already` is true when it is their second address: nothing happens then. Refuses with the codes of
    addresses.py, and with address.too_soon, second.not_subscribed. NotThere.
    """
    person = people.subscriber(session, subscriber_id, lock=True)
    contact = read_contact(house, other(person.channel), address)
    if person.state not in (SubscriberState.PENDING, SubscriberState.CONFIRMED):
        message = "needs a subscription; confirm the preferred address first"
        raise Refused(Flaw(contact.channel.value, "second.not_subscribed", message))
    if people.is_second(person, contact):
        return Subscribed(person.id, 0, already=True)
    if confirmations.must_wait(session, person, contact, as_second=True, now=now):
        raise Refused(Flaw(contact.channel.value, "address.too_soon", "can be changed again in two minutes"))
    asked = confirmations.ask(session, house=house, person=person, contact=contact, as_second=True, now=now)
    audit.record(
        session,
        by=by,
        action="subscriber.second_address_asked",
        subject=people.subject_of(person),
        detail={"channel": contact.channel.value},
        now=now,
    )
    return Subscribed(person.id, asked.confirmation_id)


def remove_second(session: Session, *, subscriber_id: int, by: str, now: datetime) -> None:
    """The second address is erased, and a question that still waits for its owner's yes ends. Repeating is no
    fault. Raises NotThere."""
    person = people.subscriber(session, subscriber_id, lock=True)
    confirmations.end_second(session, person, now=now)
    if second_address(person) is None:
        return
    forget_second(person, now=now)
    audit.record(
        session,
        by=by,
        action="subscriber.second_address_removed",
        subject=people.subject_of(person),
        detail={"channel": other(person.channel).value},
        now=now,
    )
