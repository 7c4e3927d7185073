"""What providers tell us after they had accepted a message: kept first, applied once its row is there.

A receipt may come before the outcome of its own message is written, twice, late, or before an earlier one. The row
of `receipts` makes it happen once; `receipt_rules` makes the order not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from incident_center.delivery import receipt_rows
from incident_center.delivery.letter_ids import LetterId, read_letter_id
from incident_center.delivery.outcome import scrub
from incident_center.delivery.receipt_recipients import by_recipient
from incident_center.delivery.receipt_rows import UNSUBSCRIBED, Target, apply_some, receipts_once
from incident_center.delivery.sql import insert_ignoring
from incident_center.house import House
from incident_center.models import Message, Receipt, Wording
from incident_center.states import Channel, DeliveryState

__all__ = ["Told", "apply_some", "first_time", "keep", "keep_smpp", "receipts_once"]

SMPP = "smpp"
_AHEAD = timedelta(minutes=5)  # how far a provider's clock may be before ours
_LONG_AGO = timedelta(days=60)
_SECOND = timedelta(seconds=1)
_SMPP_STATES = {
    "delivered": DeliveryState.DELIVERED,
    "failed": DeliveryState.BOUNCED,
    "unknown": DeliveryState.ACCEPTED,
}


@dataclass(frozen=True, kw_only=True)
class Told:
    """One event as its provider tells it.

    `event` is the same whenever the same event is told. `letter` is a Message-ID of ours, `provider_ref` the
    provider's own number; one of them is needed. `permanent` is a bounce of which the address is the cause, for
    good. `signed` says that nobody but the provider can have said it. `recipient` is compared and not kept;
    `by_recipient` says that it may have to tell which text is meant.
    """

    source: str
    event: str
    channel: Channel
    state: DeliveryState
    at: datetime | None = None
    letter: str = ""
    provider_ref: str = ""
    recipient: str = ""
    by_recipient: bool = False
    permanent: bool = False
    unsubscribed: bool = False
    signed: bool = True
    code: str = ""
    words: str = ""


class SmppReceipt(Protocol):
    """As the SMPP courier hands it over; `state` is delivered, failed or unknown."""

    @property
    def provider_ref(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def code(self) -> str: ...
    @property
    def at(self) -> datetime: ...


def keep(session: Session, *, house: House, told: Told, now: datetime) -> bool:
    """Stores a receipt and applies it when its row is there; answers whether it was news.

    What is about nothing of ours is forgotten, and so is an acceptance that the row knows already.
    """
    provider_ref = _plain(told.provider_ref, 200)
    target = _target(session, house, told)
    if target is None and told.channel is Channel.SMS and provider_ref:
        target = receipt_rows.by_reference(session, told.source, provider_ref, now=now)
    if target is None and told.by_recipient:
        target = by_recipient(session, told.recipient, at=_within_reason(told.at, now), now=now)
    if target is None and not (told.channel is Channel.SMS and provider_ref):
        return False
    same = _same_address(session, house, told, target)
    if not same and not told.signed:
        return False
    if _is_known(session, told, target):
        return False
    row = _row(told, target, provider_ref=provider_ref, suppresses=_suppresses(told) and same, now=now)
    if insert_ignoring(session, Receipt, [row]) != 1:
        return False
    kept = session.scalars(
        select(Receipt).where(Receipt.source == row["source"], Receipt.event_key == row["event_key"])
    ).one()
    if told.signed:  # a wish is heard also when its row has long been tidied away
        receipt_rows.suppress_reader(session, house, kept, now=now)
    receipt_rows.apply(session, house, kept, now=now)
    return True


def keep_smpp(
    session: Session, *, house: House, provider_name: str, receipt: SmppReceipt, now: datetime
) -> bool:
    """A receipt from an SMPP session. Operators' numbers for messages are short and come again, so they count only
    together with the provider's name, and the same words are a repetition only on the same day. No code of theirs is
    sure enough to suppress a number."""
    told = Told(
        source=f"{SMPP} {provider_name}"[:24],
        event=f"{receipt.provider_ref} {receipt.state} {receipt.code} {receipt.at.date()}",
        channel=Channel.SMS,
        state=_SMPP_STATES.get(receipt.state, DeliveryState.ACCEPTED),
        at=receipt.at,
        provider_ref=receipt.provider_ref,
        code=receipt.code,
    )
    return keep(session, house=house, told=told, now=now)


def first_time(session: Session, *, source: str, event: str, now: datetime) -> bool:
    """Whether this event, which is about no delivery (a customer's text, a token), has not been seen before."""
    row = {
        "source": source,
        "event_key": _key(event),
        "channel": Channel.SMS,
        "state": DeliveryState.ACCEPTED,
        "permanent": False,
        "code": "seen",
        "happened_at": now,
        "received_at": now,
        "applied_at": now,
    }
    return insert_ignoring(session, Receipt, [row]) == 1


def _row(
    told: Told, target: Target | None, *, provider_ref: str, suppresses: bool, now: datetime
) -> dict[str, Any]:
    return {
        "source": told.source,
        "event_key": _key(told.event),
        "channel": told.channel,
        "update_id": target.update_id if target else None,
        "subscriber_id": target.subscriber_id if target else None,
        "message_id": target.message_id if target else None,
        "provider_ref": provider_ref or None,
        "state": told.state,
        "permanent": suppresses,
        "code": UNSUBSCRIBED if told.unsubscribed else _plain(told.code, 24) or None,
        "detail": _plain(scrub(told.words), 300) or None,
        "happened_at": _within_reason(told.at, now),
        "received_at": now,
        "applied_at": None,
    }


def _is_known(session: Session, told: Told, target: Target | None) -> bool:
    if told.state is not DeliveryState.ACCEPTED or told.unsubscribed or target is None:
        return False
    return receipt_rows.knows_of_acceptance(session, target)


def _suppresses(told: Told) -> bool:
    return told.permanent or told.unsubscribed or told.state is DeliveryState.COMPLAINED


def _target(session: Session, house: House, told: Told) -> Target | None:
    """The row that the letter's Message-ID names, if there is such a letter. An earlier database under the same name
    gave the same numbers at other times."""
    letter = read_letter_id(told.letter, public_url=house.settings.public_url)
    if letter is None:
        return None
    at = datetime.fromtimestamp(letter.second, UTC)
    look: Callable[[Session, LetterId, datetime], Target | None]
    look = _update_letter if letter.kind == "update" else _single_letter
    return look(session, letter, at)


def _update_letter(session: Session, letter: LetterId, at: datetime) -> Target | None:
    """A silent fix has a moment of its own, and so a Message-ID of its own."""
    said = select(Wording.id).where(
        Wording.update_id == letter.about, Wording.published_at >= at, Wording.published_at < at + _SECOND
    )
    if session.scalar(said.limit(1)) is None:
        return None
    return Target(update_id=letter.about, subscriber_id=letter.reader)


def _single_letter(session: Session, letter: LetterId, at: datetime) -> Target | None:
    row = session.get(Message, letter.about)
    if row is None or row.kind.value != letter.kind or not at <= row.created_at < at + _SECOND:
        return None
    return Target(message_id=row.id, subscriber_id=row.subscriber_id)


def _same_address(session: Session, house: House, told: Told, target: Target | None) -> bool:
    """Whether the address that the receipt is about still is the subscriber's. A single message may have gone to
    another one, so there the receipt has to name it."""
    if target is None:
        return True  # nobody is known yet
    if not told.recipient:
        return told.signed and target.message_id is None
    own = receipt_rows.address_of(session, target.subscriber_id, told.channel)
    return own is not None and receipt_rows.is_same(house, told.channel, own, told.recipient)


def _key(event: str) -> str:
    return sha256(event.encode("utf-8", "surrogatepass")).hexdigest()


def _plain(text: str, most: int) -> str:
    """What every database stores: no NUL, no half of a character, nothing that cannot be seen."""
    return "".join(letter for letter in text if letter.isprintable())[:most]


def _within_reason(at: datetime | None, now: datetime) -> datetime:
    return at if at is not None and now - _LONG_AGO <= at <= now + _AHEAD else now
