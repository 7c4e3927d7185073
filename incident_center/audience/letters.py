"""Queues the single messages of a subscription, each to one address and in the reader's language."""

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from incident_center.audience.present import standing
from incident_center.audience.requests import Contact
from incident_center.delivery import messages, singles
from incident_center.delivery.messages import SingleText
from incident_center.house import House
from incident_center.models import Subscriber
from incident_center.states import MessageKind

_LASTS = timedelta(hours=24)  # after that a welcome or a goodbye only puzzles


def send_link(
    session: Session,
    *,
    house: House,
    person: Subscriber,
    contact: Contact,
    token: str,
    lifetime: timedelta,
    now: datetime,
) -> None:
    text = messages.confirm_email(
        house,
        language=person.language,
        confirm_url=f"{house.settings.public_url}/c/{token}",
        hours=int(lifetime.total_seconds() // 3600),
    )
    _queue(session, MessageKind.CONFIRM, person, contact, text, lifetime, now)


def send_code(
    session: Session,
    *,
    house: House,
    person: Subscriber,
    contact: Contact,
    code: str,
    lifetime: timedelta,
    now: datetime,
) -> None:
    minutes = int(lifetime.total_seconds() // 60)
    text = messages.confirm_sms(house, language=person.language, code=code, minutes=minutes)
    _queue(session, MessageKind.CONFIRM, person, contact, text, lifetime, now)


def send_already(
    session: Session, *, house: House, person: Subscriber, contact: Contact, now: datetime
) -> None:
    text = messages.already(house, channel=contact.channel, language=person.language, subscriber_id=person.id)
    _queue(session, MessageKind.ALREADY, person, contact, text, _LASTS, now)


def send_welcome(session: Session, *, house: House, person: Subscriber, now: datetime) -> None:
    text = messages.welcome(
        house,
        channel=person.channel,
        language=person.language,
        subscriber_id=person.id,
        standing=standing(session, house=house, person=person, now=now),
        name=person.name,
        form=person.form,
    )
    _queue(session, MessageKind.WELCOME, person, _own(person), text, _LASTS, now)


def send_goodbye(session: Session, *, house: House, person: Subscriber, now: datetime) -> None:
    text = messages.goodbye(house, channel=person.channel, language=person.language)
    _queue(session, MessageKind.GOODBYE, person, _own(person), text, _LASTS, now)


def _own(person: Subscriber) -> Contact:
    return Contact(person.channel, person.address or "", "")


def _queue(
    session: Session,
    kind: MessageKind,
    person: Subscriber,
    contact: Contact,
    text: SingleText,
    lifetime: timedelta,
    now: datetime,
) -> None:
    singles.queue_message(
        session,
        kind=kind,
        channel=contact.channel,
        address=contact.address,
        language=person.language,
        subject=text.subject,
        text=text.text,
        html=text.html,
        headers=dict(text.headers),
        subscriber_id=person.id,
        now=now,
        lifetime=lifetime,
    )
