"""Beginning a subscription: on the public pages, through the API, or by an agent for a caller."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from incident_center.audience import confirmations, people
from incident_center.audience.requests import Contact, Flaws, SubscribeRequest, read_contact, read_preferences
from incident_center.errors import Refused
from incident_center.house import House
from incident_center.models import Subscriber
from incident_center.staff import audit
from incident_center.states import SubscriberState

AGENT = "agent"


@dataclass(frozen=True)
class Subscribed:
    """What became of a wish. Public pages must show the same for known and new addresses: `already` is for staff."""

    subscriber_id: int
    confirmation_id: int
    already: bool = False


def subscribe(
    session: Session,
    *,
    house: House,
    request: SubscribeRequest,
    source: str,
    by: str | None,
    now: datetime,
) -> Subscribed:
    """Store the wish as pending and ask the address's owner; nothing else is sent before they say yes.

    Somebody who is subscribed already keeps their settings. With this address they are told so by a message;
    with another one of theirs (the second, or one from before) they are asked whether we shall write there
    instead. At most one message goes out every two minutes. source: web, agent, api. Refuses with the codes of
    requests.py, all at once.
    """
    flaws = Flaws()
    contact = flaws.collect(lambda: read_contact(house, request.channel, request.address))
    wanted = flaws.collect(lambda: read_preferences(session, house=house, wanted=request))
    flaws.refuse()
    if contact is None or wanted is None:
        raise Refused(*flaws.found)
    fresh = people.new_person(contact, wanted, source=source, by=by, now=now)
    person = people.find_or_add(session, contact, fresh)
    if person.state is SubscriberState.CONFIRMED:
        return _ask_again(session, house=house, person=person, contact=contact, as_second=False, now=now)
    people.put_preferences(session, person, wanted, now=now)
    person.state = SubscriberState.PENDING
    asked = confirmations.ask(session, house=house, person=person, contact=contact, now=now)
    if asked.sent:
        _note(session, person, source=source, by=by, now=now)
    return Subscribed(person.id, asked.confirmation_id)


def enrol(session: Session, *, house: House, request: SubscribeRequest, by: str, now: datetime) -> Subscribed:
    """An agent subscribes a caller. The caller confirms: by the link, or by reading the SMS code to the agent,
    who passes it to confirm_by_code with the confirmation's id."""
    return subscribe(session, house=house, request=request, source=AGENT, by=by, now=now)


def resend(session: Session, *, house: House, subscriber_id: int, now: datetime) -> Subscribed:
    """Another link or code to somebody's preferred address, within the same limits. Raises NotThere."""
    person = people.subscriber(session, subscriber_id, lock=True)
    contact = read_contact(house, person.channel, person.address or "")
    return _ask_again(session, house=house, person=person, contact=contact, as_second=False, now=now)


def ask_again(session: Session, *, house: House, confirmation_id: int, now: datetime) -> Subscribed:
    """Another link or code to the address that a confirmation waits for. Raises NotThere."""
    entry = confirmations.by_id(session, confirmation_id)
    person = people.subscriber(session, entry.subscriber_id, lock=True)
    contact = read_contact(house, entry.channel, entry.address)
    return _ask_again(
        session, house=house, person=person, contact=contact, as_second=entry.as_fallback, now=now
    )


def _ask_again(
    session: Session, *, house: House, person: Subscriber, contact: Contact, as_second: bool, now: datetime
) -> Subscribed:
    settled = people.is_second(person, contact) if as_second else people.is_preferred(person, contact)
    if person.state is SubscriberState.CONFIRMED and settled:
        asked = confirmations.remind(session, house=house, person=person, contact=contact, now=now)
        return Subscribed(person.id, asked.confirmation_id, already=True)
    asked = confirmations.ask(
        session, house=house, person=person, contact=contact, as_second=as_second, now=now
    )
    return Subscribed(person.id, asked.confirmation_id)


def _note(session: Session, person: Subscriber, *, source: str, by: str | None, now: datetime) -> None:
    audit.record(
        session,
        by=by or people.subject_of(person),
        action="subscriber.asked",
        subject=people.subject_of(person),
        detail={"channel": person.channel.value, "language": person.language, "source": source},
        now=now,
    )
