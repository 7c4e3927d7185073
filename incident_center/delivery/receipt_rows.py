"""Applies kept receipts to the rows that they are about, and keeps writing to addresses that are gone from
happening."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, and_, func, select, text, update
from sqlalchemy.orm import Session

from incident_center.db import Database
from incident_center.delivery.fallback import after_failure
from incident_center.delivery.receipt_rules import NOT_SETTLED, Standing, changes
from incident_center.delivery.sql import changed, skip_locked
from incident_center.delivery.suppress import address_hash, suppress
from incident_center.house import House
from incident_center.models import Delivery, Message, Provider, Receipt, Subscriber
from incident_center.states import Channel, DeliveryState, SuppressionReason

UNSUBSCRIBED = "unsubscribed"  # the code of an event that is a wish
WAIT_FOR_ROW = timedelta(hours=24)
_NUMBER_LASTS = timedelta(days=4)  # providers' numbers come again
_AT_ONCE = 200
_SMPP_ = "smpp "
_REASONS = {
    DeliveryState.BOUNCED: SuppressionReason.BOUNCE,
    DeliveryState.COMPLAINED: SuppressionReason.COMPLAINT,
}
_WIPED: dict[str, Any] = {"subject": None, "text": None, "html": None, "headers": {}, "address": None}
# Said literally: with a parameter the database could not tell that the partial index holds these rows.
_IS_SMS = text("deliveries.channel = 'sms'")
_IS_SINGLE_SMS = text("messages.channel = 'sms'")

Row = TypeVar("Row", Delivery, Message)


@dataclass(frozen=True, kw_only=True)
class Target:
    """The row that a receipt is about: a delivery, or a single message."""

    update_id: int | None = None
    subscriber_id: int | None = None
    message_id: int | None = None


def receipts_once(database: Database, house: House, *, now: datetime) -> bool:
    """One step of a worker: applies receipts whose rows have come meanwhile."""
    with database.reading() as session:
        if not _anything(session, now):
            return False
    with database.transaction() as session:
        return apply_some(session, house=house, now=now)


def apply_some(session: Session, *, house: House, now: datetime) -> bool:
    """Applies up to some hundred receipts that wait; gives up on those whose row never came. Answers whether it found
    any."""
    found = False
    for wanted in (*_ready(now), _too_old(now)):
        waiting = skip_locked(
            session, select(Receipt).where(Receipt.id.in_(wanted.limit(_AT_ONCE))), of=Receipt
        )
        for receipt in session.scalars(waiting.order_by(Receipt.id)):
            if apply(session, house, receipt, now=now):
                found = True
            elif receipt.received_at <= now - WAIT_FOR_ROW:
                _done(receipt, "no such delivery came within a day", now=now)
                found = True
    session.flush()
    return found


def apply(session: Session, house: House, receipt: Receipt, *, now: datetime) -> bool:
    """Puts one receipt into effect. False while its row is not there, is being sent, or is in other hands."""
    row = _row_of(session, receipt, now=now)
    if row is None or row.state in NOT_SETTLED:
        return False
    if isinstance(row, Delivery):
        receipt.update_id = row.update_id
        if row.channel is not receipt.channel:
            _done(receipt, "the customer is written to over another channel since", now=now)
            return True
    elif receipt.message_id is None:  # found by its number: to which address it went is not known any more
        receipt.message_id, receipt.permanent = row.id, False
    receipt.subscriber_id = row.subscriber_id
    told = Standing(receipt.state, receipt.permanent)
    if not changes(_standing(session, row), told):
        _done(receipt, None if _follows(row) else f"the row is {row.state.value}", now=now)
    elif _put(session, row, receipt, now=now):
        _done(receipt, None, now=now)
    else:
        return False
    suppress_reader(session, house, receipt, now=now)
    if isinstance(row, Delivery) and receipt.state is DeliveryState.BOUNCED:
        after_failure(session, [(row.update_id, row.subscriber_id)], now=now)
    return True


def suppress_reader(session: Session, house: House, receipt: Receipt, *, now: datetime) -> None:
    """The address is written to no more, if the receipt says so and its owner has not confirmed it since."""
    if not receipt.permanent or receipt.subscriber_id is None:
        return
    wish = receipt.code == UNSUBSCRIBED
    reason = SuppressionReason.UNSUBSCRIBED if wish else _REASONS.get(receipt.state)
    person = session.get(Subscriber, receipt.subscriber_id, populate_existing=True)
    if reason is None or person is None:
        return
    address = _address(person, receipt.channel)
    since = [at for at in (person.confirmed_at, person.links_since) if at is not None]
    if address is not None and all(at <= receipt.happened_at for at in since):
        suppress(session, house=house, channel=receipt.channel, address=address, reason=reason, now=now)


def address_of(session: Session, subscriber_id: int | None, channel: Channel) -> str | None:
    person = None if subscriber_id is None else session.get(Subscriber, subscriber_id)
    return None if person is None else _address(person, channel)


def is_same(house: House, channel: Channel, own: str, told: str) -> bool:
    """Whether a provider means this address, however it writes it."""
    if channel is Channel.SMS:
        return _digits(own) == _digits(told)
    whole = told.encode("utf-8", "replace").decode()  # half a character is in no address
    return address_hash(house, channel, own) == address_hash(house, channel, whole.strip().strip("<>"))


def by_reference(session: Session, source: str, provider_ref: str, *, now: datetime) -> Target | None:
    """The delivery or the single message by SMS to which the provider gave this number: the newer one."""
    row = session.execute(
        _numbered(source, provider_ref, now=now).with_only_columns(
            Delivery.at, Delivery.update_id, Delivery.subscriber_id
        )
    ).first()
    single = session.execute(
        _numbered_single(source, provider_ref, now=now).with_only_columns(
            Message.at, Message.id, Message.subscriber_id
        )
    ).first()
    if single is not None and (row is None or single.at > row.at):
        return Target(message_id=single.id, subscriber_id=single.subscriber_id)
    return None if row is None else Target(update_id=row.update_id, subscriber_id=row.subscriber_id)


def knows_of_acceptance(session: Session, target: Target) -> bool:
    """Whether the row is where another receipt for its acceptance would change nothing."""
    if target.message_id is not None:
        state = session.scalar(select(Message.state).where(Message.id == target.message_id))
    else:
        key = (target.update_id, target.subscriber_id)
        state = session.scalar(
            select(Delivery.state).where(Delivery.update_id == key[0], Delivery.subscriber_id == key[1])
        )
    if state is None or state in NOT_SETTLED:
        return False
    return not changes(Standing(state), Standing(DeliveryState.ACCEPTED))


def _address(person: Subscriber, channel: Channel) -> str | None:
    return person.email if channel is Channel.EMAIL else person.phone


def _digits(number: str) -> str:
    return "".join(digit for digit in number if digit.isdigit()).removeprefix("00")


def _numbered(source: str, provider_ref: str, *, now: datetime) -> Select[Delivery]:
    wanted = select(Delivery).where(_IS_SMS, Delivery.provider_ref == provider_ref, _recent(Delivery, now))
    if source.startswith(_SMPP_):
        named = Provider.name.startswith(source.removeprefix(_SMPP_), autoescape=True)
        wanted = wanted.join(Provider, Provider.id == Delivery.provider_id).where(named)
    return wanted.order_by(Delivery.at.desc()).limit(1)


def _numbered_single(source: str, provider_ref: str, *, now: datetime) -> Select[Message]:
    wanted = select(Message).where(
        _IS_SINGLE_SMS, Message.provider_ref == provider_ref, _recent(Message, now)
    )
    if source.startswith(_SMPP_):
        wanted = wanted.where(Message.provider.startswith(source.removeprefix(_SMPP_), autoescape=True))
    return wanted.order_by(Message.at.desc()).limit(1)


def _recent(table: type[Delivery | Message], now: datetime) -> ColumnElement[bool]:
    return table.at >= now - _NUMBER_LASTS


def _row_of(session: Session, receipt: Receipt, *, now: datetime) -> Delivery | Message | None:
    """The row, locked; None while there is none, or while somebody else works on it."""
    target: Target | None = Target(
        update_id=receipt.update_id, subscriber_id=receipt.subscriber_id, message_id=receipt.message_id
    )
    if receipt.message_id is None and receipt.update_id is None:
        number = receipt.provider_ref
        target = None if number is None else by_reference(session, receipt.source, number, now=now)
    if target is None:
        return None
    if target.message_id is not None:
        return _locked(session, select(Message).where(Message.id == target.message_id), Message)
    key = and_(Delivery.update_id == target.update_id, Delivery.subscriber_id == target.subscriber_id)
    return _locked(session, select(Delivery).where(key), Delivery)


def _locked(session: Session, wanted: Select[Any], table: type[Row]) -> Row | None:
    row: Row | None = session.scalar(
        skip_locked(session, wanted, of=table).execution_options(populate_existing=True)
    )
    return row


def _standing(session: Session, row: Delivery | Message) -> Standing:
    """Whether a bounce was for good stands in its receipt alone; one without a receipt is taken to be."""
    if row.state is not DeliveryState.BOUNCED:
        return Standing(row.state)
    if isinstance(row, Message):
        own = and_(
            Receipt.update_id.is_(None), Receipt.message_id == row.id
        )  # the index begins with update_id
    else:
        own = Receipt.update_id == row.update_id
    bounces = session.scalars(
        select(Receipt.permanent).where(
            own,
            Receipt.subscriber_id == row.subscriber_id,
            Receipt.state == DeliveryState.BOUNCED,
            Receipt.applied_at.is_not(None),
        )
    ).all()
    return Standing(row.state, permanent=any(bounces) or not bounces)


def _follows(row: Delivery | Message) -> bool:
    return Standing(row.state).rank is not None


def _put(session: Session, row: Delivery | Message, receipt: Receipt, *, now: datetime) -> bool:
    """Nothing more is tried: the fence moves on, so that a worker who still has the row cannot write over it."""
    values: dict[str, Any] = {
        "state": receipt.state,
        "not_before": None,
        "owner": None,
        "lease_until": None,
        "code": receipt.code,
        "detail": receipt.detail,
        "fence": row.fence + 1,
        "at": now,
    }
    if row.channel is Channel.SMS and row.provider_ref is None:
        values["provider_ref"] = receipt.provider_ref
    if isinstance(row, Message):
        statement = update(Message).where(Message.id == row.id, Message.fence == row.fence)
        return changed(session, statement.values(**values, **_WIPED)) == 1
    key = and_(Delivery.update_id == row.update_id, Delivery.subscriber_id == row.subscriber_id)
    return changed(session, update(Delivery).where(key, Delivery.fence == row.fence).values(**values)) == 1


def _done(receipt: Receipt, note: str | None, *, now: datetime) -> None:
    receipt.applied_at = now
    if note:
        receipt.detail = f"{note}; {receipt.detail}"[:300] if receipt.detail else note


def _ready(now: datetime) -> tuple[Select[int], ...]:
    """Ids of receipts that wait and whose row is there. Those without one cost a look into an index each."""
    settled = Delivery.state.not_in(NOT_SETTLED)
    by_key = and_(Delivery.update_id == Receipt.update_id, Delivery.subscriber_id == Receipt.subscriber_id)
    by_number = and_(Delivery.provider_ref == Receipt.provider_ref, _IS_SMS)
    unnamed = (
        func.coalesce(Receipt.update_id, 0) == 0
    )  # hidden from SQLite, which would take another index for it
    settled_single = Message.state.not_in(NOT_SETTLED)
    single_by_number = and_(Message.provider_ref == Receipt.provider_ref, _IS_SINGLE_SMS)
    waiting = select(Receipt.id).where(Receipt.applied_at.is_(None))
    return (
        waiting.join(Delivery, by_key).where(settled),
        waiting.join(Delivery, by_number).where(unnamed, settled, _recent(Delivery, now)),
        waiting.join(Message, Message.id == Receipt.message_id).where(settled_single),
        waiting.join(Message, single_by_number).where(unnamed, settled_single, _recent(Message, now)),
    )


def _too_old(now: datetime) -> Select[int]:
    waiting = select(Receipt.id).where(Receipt.applied_at.is_(None))
    return waiting.where(Receipt.received_at <= now - WAIT_FOR_ROW)


def _anything(session: Session, now: datetime) -> bool:
    """Most rounds find nothing and cost one look."""
    waiting = select(Receipt.id).where(Receipt.applied_at.is_(None))
    if session.scalar(waiting.limit(1)) is None:
        return False
    return any(session.scalar(one.limit(1)) is not None for one in (*_ready(now), _too_old(now)))
