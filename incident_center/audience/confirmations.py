"""Asking an address's owner for a yes, within limits that keep us from being used to pester anybody."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from incident_center.audience import letters, proofs
from incident_center.audience.requests import Contact
from incident_center.errors import NotThere
from incident_center.house import House
from incident_center.models import Confirmation, Subscriber
from incident_center.states import Channel

LINK_LASTS = timedelta(hours=48)
CODE_LASTS = timedelta(minutes=15)
RESEND_AFTER = timedelta(minutes=2)
A_DAY = timedelta(hours=24)
MOST_A_DAY = 6


@dataclass(frozen=True)
class Asked:
    """confirmation_id names the page for the code; `sent` is false when a message went out a moment ago."""

    confirmation_id: int
    sent: bool


def ask(session: Session, *, house: House, person: Subscriber, contact: Contact, now: datetime) -> Asked:
    """Sends a link or a code to `contact`, unless one went out within two minutes or six within a day."""
    held = _held_back(session, person, contact, now=now)
    if held is not None:
        return held
    if contact.channel is Channel.SMS:
        _end_open(session, person, Channel.SMS, now=now)  # else each new code would add five tries
        code = proofs.new_code()
        entry = _add(
            session, person, contact, proofs.code_hash(house, contact.address, code), CODE_LASTS, now
        )
        letters.send_code(
            session, house=house, person=person, contact=contact, code=code, lifetime=CODE_LASTS, now=now
        )
    else:
        token = proofs.new_token()
        entry = _add(session, person, contact, proofs.token_hash(house, token), LINK_LASTS, now)
        letters.send_link(
            session, house=house, person=person, contact=contact, token=token, lifetime=LINK_LASTS, now=now
        )
    return Asked(entry.id, sent=True)


def remind(session: Session, *, house: House, person: Subscriber, contact: Contact, now: datetime) -> Asked:
    """Tells somebody who is subscribed that they are. To whoever asked it looks as if a code or link had been
    sent: there is a confirmation with the same limits, but no secret opens it."""
    held = _held_back(session, person, contact, now=now)
    if held is not None:
        return held
    lasts = CODE_LASTS if contact.channel is Channel.SMS else LINK_LASTS
    entry = _add(session, person, contact, _nobodys_hash(), lasts, now)
    letters.send_already(session, house=house, person=person, contact=contact, now=now)
    return Asked(entry.id, sent=True)


def end_all(session: Session, person: Subscriber, *, now: datetime) -> None:
    """Links and codes from before somebody left must not bring them back."""
    session.flush()
    session.execute(
        update(Confirmation)
        .where(Confirmation.subscriber_id == person.id, Confirmation.expires_at > now)
        .values(expires_at=now)
    )


def by_id(session: Session, confirmation_id: int) -> Confirmation:
    """For the page on which a code is entered; NotThere when there is none."""
    entry = session.get(Confirmation, confirmation_id)
    if entry is None:
        raise NotThere("There is no such confirmation.")
    return entry


def last_asked(session: Session, person: Subscriber) -> Confirmation | None:
    """The latest question to somebody, whatever the address and its outcome."""
    own = select(Confirmation).where(Confirmation.subscriber_id == person.id)
    return session.scalar(own.order_by(Confirmation.id.desc()).limit(1))


def _held_back(session: Session, person: Subscriber, contact: Contact, *, now: datetime) -> Asked | None:
    """The confirmation that must do for now; None when another may be sent."""
    own = select(Confirmation).where(Confirmation.subscriber_id == person.id)
    same = own.where(Confirmation.channel == contact.channel, Confirmation.address == contact.address)
    latest = session.scalar(same.order_by(Confirmation.id.desc()).limit(1))
    if latest is not None and latest.used_at is None and latest.created_at > now - RESEND_AFTER:
        return Asked(latest.id, sent=False)
    today = own.where(Confirmation.created_at > now - A_DAY).subquery()
    if (session.scalar(select(func.count()).select_from(today)) or 0) < MOST_A_DAY:
        return None
    entry = latest or _add(session, person, contact, _nobodys_hash(), CODE_LASTS, now)
    return Asked(entry.id, sent=False)


def _nobodys_hash() -> str:
    """A hash that no secret leads to."""
    return proofs.new_token()


def _end_open(session: Session, person: Subscriber, channel: Channel, *, now: datetime) -> None:
    session.execute(
        update(Confirmation)
        .where(
            Confirmation.subscriber_id == person.id,
            Confirmation.channel == channel,
            Confirmation.expires_at > now,
        )
        .values(expires_at=now)
    )


def _add(
    session: Session, person: Subscriber, contact: Contact, secret_hash: str, lasts: timedelta, now: datetime
) -> Confirmation:
    entry = Confirmation(
        subscriber_id=person.id,
        channel=contact.channel,
        address=contact.address,
        secret_hash=secret_hash,
        created_at=now,
        expires_at=now + lasts,
    )
    session.add(entry)
    session.flush()
    return entry
