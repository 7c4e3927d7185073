"""The owner's yes: by a link that leads to a button, or by a code of six digits."""

import hmac
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from incident_center.audience import confirmations, letters, people, proofs
from incident_center.audience.requests import Contact, read_contact
from incident_center.delivery import fallback, fanout, suppress
from incident_center.delivery.second import drop_address, forget_second, promote_second, second_address
from incident_center.errors import Flaw, NotThere, Refused
from incident_center.house import House
from incident_center.models import Confirmation, Subscriber
from incident_center.staff import audit
from incident_center.states import Channel, SubscriberState

MOST_TRIES = 5


@dataclass(frozen=True)
class CodeAnswer:
    """Either the subscriber, or what was wrong. Flaw codes: code.malformed, code.wrong, confirm.expired,
    confirm.used, confirm.too_many."""

    subscriber: Subscriber | None
    flaw: Flaw | None = None
    tries_left: int = 0


def _wrong(code: str, message: str, *, left: int = 0) -> CodeAnswer:
    return CodeAnswer(None, Flaw("code", code, message), left)


_TOO_MANY = _wrong("confirm.too_many", "was tried too often; ask for a new one")


def waiting(session: Session, *, house: House, token: str, now: datetime) -> Confirmation:
    """What a link would confirm, for the page with the button: asking changes nothing, because mail scanners
    fetch every link. Raises NotThere (not ours) or Refused (confirm.expired)."""
    entry = _by_token(session, house, token, lock=False)
    _refuse_expired(entry, now=now)
    return entry


def confirm_by_token(session: Session, *, house: House, token: str, now: datetime) -> Subscriber:
    """The link's button was pressed. Pressing it again while the link lasts answers the same and does nothing.

    Raises NotThere (not ours) or Refused: confirm.expired (also: they have unsubscribed since), confirm.used.
    """
    entry = _by_token(session, house, token, lock=True)
    _refuse_expired(entry, now=now)
    person = people.subscriber(session, entry.subscriber_id, lock=True)
    if entry.used_at is None:
        _accept(session, house=house, entry=entry, person=person, now=now)
    elif person.state is not SubscriberState.CONFIRMED and not entry.as_fallback:
        raise Refused(Flaw("token", "confirm.used", "was used before; subscribe again"))
    return person


def confirm_by_code(
    session: Session, *, house: House, confirmation_id: int, code: str, now: datetime
) -> CodeAnswer:
    """Five tries within fifteen minutes. A wrong code is answered, not raised: its count must be committed, or
    tries would be free. Raises NotThere for a confirmation that takes no code."""
    entry = confirmations.by_id(session, confirmation_id)
    if entry.channel is not Channel.SMS:
        raise NotThere("This confirmation takes no code.")
    wrong = _closed(entry, now=now)
    if wrong is not None:
        return wrong
    digits = proofs.read_code(code)
    if digits is None:
        return _wrong("code.malformed", "must be six digits", left=MOST_TRIES - entry.tries)
    counted = _count_try(session, entry)
    if not counted or not hmac.compare_digest(
        proofs.code_hash(house, entry.address, digits), entry.secret_hash
    ):
        left = MOST_TRIES - entry.tries
        return _wrong("code.wrong", "is not the code that was sent", left=left) if left > 0 else _TOO_MANY
    person = people.subscriber(session, entry.subscriber_id, lock=True)
    _accept(session, house=house, entry=entry, person=person, now=now)
    return CodeAnswer(person)


def _closed(entry: Confirmation, *, now: datetime) -> CodeAnswer | None:
    """Why no code opens this any more; None while one does."""
    if entry.used_at is not None:
        return _wrong("confirm.used", "was used before")
    if entry.expires_at <= now:
        return _wrong("confirm.expired", "has expired; ask for a new one")
    return _TOO_MANY if entry.tries >= MOST_TRIES else None


def _count_try(session: Session, entry: Confirmation) -> bool:
    """Counted before it is compared and by the database, so that parallel guesses get five tries together."""
    counted = session.execute(
        update(Confirmation)
        .where(Confirmation.id == entry.id, Confirmation.tries < MOST_TRIES, Confirmation.used_at.is_(None))
        .values(tries=Confirmation.tries + 1)
        .returning(Confirmation.tries)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    session.refresh(entry)
    return counted is not None


def _accept(
    session: Session, *, house: House, entry: Confirmation, person: Subscriber, now: datetime
) -> None:
    contact = read_contact(house, entry.channel, entry.address)
    entry.used_at = now
    # Whose preferred address has come back in the meantime has this one alone: it is the preferred one then.
    if entry.as_fallback and person.state is not SubscriberState.SUPPRESSED:
        _accept_second(session, house=house, person=person, contact=contact, now=now)
    else:
        _accept_preferred(session, house=house, person=person, contact=contact, now=now)


def _accept_second(
    session: Session, *, house: House, person: Subscriber, contact: Contact, now: datetime
) -> None:
    """From now on it may be used when the preferred address fails; nothing is sent there until then."""
    _let_go(session, person, contact, now=now)
    people.put_second(person, contact, now=now)
    session.flush()
    suppress.lift(session, house=house, channel=contact.channel, address=contact.address)
    _note(session, person, "subscriber.second_address_confirmed", contact, now=now)


def _accept_preferred(
    session: Session, *, house: House, person: Subscriber, contact: Contact, now: datetime
) -> None:
    was = person.state
    moved = person.address is not None and person.address != contact.address
    if moved:
        # Links carry whole seconds; the new ones must still work.
        person.links_since = now.replace(microsecond=0)
    if person.channel is not contact.channel:
        confirmations.end_second(session, person, now=now)  # their channel is the preferred one now
        # Where both may be used they change places; an address that nobody has confirmed takes no place.
        both = person.fallback_since is not None and was is SubscriberState.CONFIRMED
        person.fallback_since = now if both else None
    _let_go(session, person, contact, now=now)
    people.put_address(person, contact)
    person.state, person.updated_at, person.ended_at = SubscriberState.CONFIRMED, now, None
    if was is not SubscriberState.CONFIRMED:
        person.confirmed_at = now
    session.flush()
    suppress.lift(session, house=house, channel=contact.channel, address=contact.address)
    _note(
        session, person, "subscriber.address_changed" if moved else "subscriber.confirmed", contact, now=now
    )
    if moved or was is not SubscriberState.CONFIRMED:  # who moves needs a link that works
        letters.send_welcome(session, house=house, person=person, now=now)
    # Also after a move: the other channel's chunks may have gone past them already.
    fanout.queue_current_status(session, subscriber=person, now=now)
    fallback.after_move(session, person, now=now)


def _let_go(session: Session, person: Subscriber, contact: Contact, *, now: datetime) -> None:
    """Whoever proves that an address is theirs gets it; a row that held it before lets go of it. Where it was the
    preferred one, the row's second address takes its place; without one that subscription ends."""
    holder = people.find(session, contact, lock=True)
    if holder is None or holder.id == person.id:
        return
    if holder.channel is not contact.channel:
        forget_second(holder, now=now)
    elif second_address(holder) is not None:
        promote_second(session, holder, now=now)
    else:
        drop_address(holder, contact.channel)
        holder.state, holder.ended_at = SubscriberState.UNSUBSCRIBED, now
        holder.updated_at = now
    session.flush()  # before the new holder's row, or the unique key is hit
    audit.record(
        session,
        by=people.subject_of(person),
        action="subscriber.address_taken_over",
        subject=people.subject_of(holder),
        detail={"channel": contact.channel.value},
        now=now,
    )


def _note(session: Session, person: Subscriber, action: str, contact: Contact, *, now: datetime) -> None:
    audit.record(
        session,
        by=people.subject_of(person),
        action=action,
        subject=people.subject_of(person),
        detail={"channel": contact.channel.value},
        now=now,
    )


def _by_token(session: Session, house: House, token: str, *, lock: bool) -> Confirmation:
    wanted = select(Confirmation).where(Confirmation.secret_hash == proofs.token_hash(house, token))
    entry = session.scalar(wanted.with_for_update() if lock else wanted)
    if entry is None:
        raise NotThere("This link is not one of ours.")
    return entry


def _refuse_expired(entry: Confirmation, *, now: datetime) -> None:
    if entry.expires_at <= now:
        raise Refused(Flaw("token", "confirm.expired", "has expired; subscribe again to get a new link"))
