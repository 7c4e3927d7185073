"""Asking an address's owner for a yes, within limits that keep us from being used to pester anybody."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, func, not_, or_, select, update
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


def ask(
    session: Session,
    *,
    house: House,
    person: Subscriber,
    contact: Contact,
    as_second: bool = False,
    now: datetime,
) -> Asked:
    """Sends a link or a code to `contact`, unless one went out within two minutes or six within a day. A yes makes
    it the preferred address, or with `as_second` the second one."""
    held = _held_back(session, person, contact, as_second=as_second, now=now)
    if held is not None:
        return held
    if contact.channel is Channel.SMS:
        _end_open(session, person, Channel.SMS, now=now)  # else each new code would add five tries
        code = proofs.new_code()
        secret_hash = proofs.code_hash(house, contact.address, code)
        entry = _add(session, person, contact, secret_hash, CODE_LASTS, now, as_second=as_second)
        letters.send_code(
            session, house=house, person=person, contact=contact, code=code, lifetime=CODE_LASTS, now=now
        )
    else:
        token = proofs.new_token()
        secret_hash = proofs.token_hash(house, token)
        entry = _add(session, person, contact, secret_hash, LINK_LASTS, now, as_second=as_second)
        letters.send_link(
            session, house=house, person=person, contact=contact, token=token, lifetime=LINK_LASTS, now=now
        )
    return Asked(entry.id, sent=True)


def remind(session: Session, *, house: House, person: Subscriber, contact: Contact, now: datetime) -> Asked:
    """Tells somebody who is subscribed that they are. To whoever asked it looks as if a code or link had been
    sent: there is a confirmation with the same limits, but no secret opens it."""
    held = _held_back(session, person, contact, as_second=False, now=now)
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


def end_second(session: Session, person: Subscriber, *, now: datetime) -> None:
    """A yes to a question about the second address counts no more."""
    session.flush()
    session.execute(
        update(Confirmation)
        .where(
            Confirmation.subscriber_id == person.id,
            Confirmation.as_fallback,
            Confirmation.used_at.is_(None),
            Confirmation.expires_at > now,
        )
        .values(expires_at=now)
    )


def must_wait(
    session: Session, person: Subscriber, contact: Contact, *, as_second: bool, now: datetime
) -> bool:
    """Whether they had us ask another address, or this one for the other purpose, less than two minutes ago.

    The preferred address and a second one on the other channel do not wait for each other.
    """
    this = and_(Confirmation.address == contact.address, Confirmation.as_fallback == as_second)
    rivals = or_(Confirmation.as_fallback == as_second, Confirmation.channel == contact.channel)
    fresh = select(Confirmation.id).where(
        Confirmation.subscriber_id == person.id,
        Confirmation.used_at.is_(None),
        Confirmation.created_at > now - RESEND_AFTER,
        rivals,
        not_(this),
    )
    return session.scalar(fresh.limit(1)) is not None


def _held_back(
    session: Session, person: Subscriber, contact: Contact, *, as_second: bool, now: datetime
) -> Asked | None:
    """The confirmation that must do for now; None when another may be sent."""
    own = select(Confirmation).where(Confirmation.subscriber_id == person.id)
    same = own.where(
        Confirmation.channel == contact.channel,
        Confirmation.address == contact.address,
        Confirmation.as_fallback == as_second,
    )
    latest = session.scalar(same.order_by(Confirmation.id.desc()).limit(1))
    if latest is not None and latest.used_at is None and latest.created_at > now - RESEND_AFTER:
        return Asked(latest.id, sent=False)
    today = own.where(Confirmation.created_at > now - A_DAY).subquery()
    if (session.scalar(select(func.count()).select_from(today)) or 0) < MOST_A_DAY:
        return None
    entry = latest or _add(session, person, contact, _nobodys_hash(), CODE_LASTS, now, as_second=as_second)
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
    session: Session,
    person: Subscriber,
    contact: Contact,
    secret_hash: str,
    lasts: timedelta,
    now: datetime,
    *,
    as_second: bool = False,
) -> Confirmation:
    entry = Confirmation(
        subscriber_id=person.id,
        channel=contact.channel,
        address=contact.address,
        secret_hash=secret_hash,
        as_fallback=as_second,
        created_at=now,
        expires_at=now + lasts,
    )
    session.add(entry)
    session.flush()
    return entry
