"""Addresses that must not be written to, kept as keyed hashes: they outlive erasure and re-import."""

from __future__ import annotations

import hmac
import unicodedata
from datetime import datetime

import idna
from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from incident_center.delivery.second import forget_second, promote_second, second_address
from incident_center.delivery.sql import insert_ignoring
from incident_center.house import House
from incident_center.models import Subscriber, Suppression
from incident_center.states import Channel, SubscriberState, SuppressionReason

_BY_WISH = {SuppressionReason.STOP, SuppressionReason.UNSUBSCRIBED}
_SUBSCRIBED = {SubscriberState.PENDING, SubscriberState.CONFIRMED}


def suppress(
    session: Session,
    *,
    house: House,
    channel: Channel,
    address: str,
    reason: SuppressionReason,
    now: datetime,
) -> None:
    """Writes to `address` no more. Repeating is no fault.

    Whoever is subscribed with it leaves the audience, but for one case: the address does not exist any more
    and they have confirmed a second one. Then that one takes its place. Whoever has it as their second
    address loses that and stays.
    """
    row = {
        "channel": channel,
        "address_hash": address_hash(house, channel, address),
        "reason": reason,
        "at": now,
    }
    insert_ignoring(session, Suppression, [row])
    held = select(Subscriber).where(_stored_as(channel, address)).with_for_update()
    person = session.scalar(held.execution_options(populate_existing=True))
    if person is None:
        return
    if person.channel is not channel:
        if second_address(person) is not None:
            forget_second(person, now=now)
    elif person.state in _SUBSCRIBED:
        _lose(session, person, reason, now=now)
    session.flush()


def _lose(session: Session, person: Subscriber, reason: SuppressionReason, *, now: datetime) -> None:
    """Their preferred address is gone: by a bounce the second one steps in, by a wish or a complaint nothing does."""
    if second_address(person) is not None:
        if reason is SuppressionReason.BOUNCE:
            promote_second(session, person, now=now)
            return
        forget_second(person, now=now)
    person.state = SubscriberState.UNSUBSCRIBED if reason in _BY_WISH else SubscriberState.SUPPRESSED
    person.ended_at = person.updated_at = now


def lift(session: Session, *, house: House, channel: Channel, address: str) -> None:
    """The owner of `address` has confirmed it anew: it may be written to again."""
    session.execute(delete(Suppression).where(_row(house, channel, address)))


def is_suppressed(session: Session, *, house: House, channel: Channel, address: str) -> bool:
    return session.scalar(select(Suppression.id).where(_row(house, channel, address)).limit(1)) is not None


def address_hash(house: House, channel: Channel, address: str) -> str:
    """64 hexadecimal digits: without the secret key nobody can test whether an address is in the list."""
    folded = _email_key(address) if channel is Channel.EMAIL else address
    key = f"suppression:{house.settings.secret_key}".encode()
    return hmac.digest(key, f"{channel.value}:{folded}".encode(), "sha256").hex()


def _row(house: House, channel: Channel, address: str) -> ColumnElement[bool]:
    return (Suppression.channel == channel) & (
        Suppression.address_hash == address_hash(house, channel, address)
    )


def _stored_as(channel: Channel, address: str) -> ColumnElement[bool]:
    if channel is Channel.SMS:
        return Subscriber.phone == address
    return Subscriber.email_key == _email_key(address)


def _email_key(address: str) -> str:
    """The same mailbox however it is typed: small letters, composed, the domain in ASCII (IDNA 2008)."""
    local, _, domain = address.rpartition("@")
    try:
        domain = idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError:
        domain = domain.lower()
    return unicodedata.normalize("NFC", f"{local}@{domain}".lower())
