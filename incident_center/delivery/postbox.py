"""Single messages, row by row: claimed, sent, settled the same way as deliveries, and before them.

Once a message has found its end its words and its address are wiped: a confirmation holds a secret, and
nobody needs to read it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import Session

from incident_center.delivery.ledger import LEASE, attempt_state
from incident_center.delivery.retry import RESEND_UNKNOWN_AFTER
from incident_center.delivery.rows import NOT_TRIED_AGAIN
from incident_center.delivery.rules import Try, settled
from incident_center.delivery.sql import changed, insert_all, skip_locked
from incident_center.delivery.suppress import suppress
from incident_center.house import House
from incident_center.models import Attempt, Message, Subscriber
from incident_center.states import Channel, DeliveryState, MessageKind, SubscriberState, SuppressionReason

POSTBOX_BATCH = 10
# Whose messages one engine sends: channels, and None for the team, which is told over none of them.
Serves = frozenset[Channel | None]
EVERYBODY: Serves = frozenset([*Channel, None])
_WAITING = (DeliveryState.DUE, DeliveryState.RETRY, DeliveryState.UNKNOWN, DeliveryState.SENDING)
_TO_READERS = (MessageKind.WELCOME, MessageKind.ALREADY)  # whoever has left wants none of these
_WIPED: dict[str, Any] = {"subject": None, "text": None, "html": None, "headers": {}, "address": None}


@dataclass(frozen=True, kw_only=True)
class Single:
    """A leased message. `told` names the staff channels that have it already."""

    id: int
    fence: int
    kind: MessageKind
    channel: Channel | None
    address: str
    subject: str
    text: str
    html: str | None
    headers: dict[str, str]
    created_at: datetime
    attempts: int
    resend: bool
    provider: str | None
    told: frozenset[str] = frozenset()


def anything_waits(session: Session, *, now: datetime, serves: Serves = EVERYBODY) -> bool:
    """A look that takes no lock."""
    waiting = select(Message.id).where(Message.not_before <= now, _for(serves))
    return session.scalar(waiting.limit(1)) is not None


def claim(
    session: Session,
    *,
    owner: str,
    now: datetime,
    limit: int = POSTBOX_BATCH,
    serves: Serves = EVERYBODY,
) -> tuple[list[Single], bool]:
    """Leases messages that are due; also answers whether anything was found to do."""
    waiting = session.scalars(
        skip_locked(
            session,
            select(Message)
            .where(Message.not_before <= now, Message.state.in_(_WAITING), _for(serves))
            .order_by(Message.not_before)
            .limit(limit),
        )
    ).all()
    left = _left(session, waiting)
    leased = []
    for row in waiting:
        if row.state is DeliveryState.SENDING:
            _recover(session, row, now=now)
        elif row.expires_at <= now or row.text is None:
            _put(session, row, state=_ended(row), not_before=None, at=now, **_WIPED)
        elif row.id in left:
            unknown = row.state is DeliveryState.UNKNOWN
            end = DeliveryState.UNKNOWN if unknown else DeliveryState.CANCELLED
            _put(session, row, state=end, not_before=None, at=now, **_WIPED)
        else:
            leased.append(_lease(session, row, owner=owner, now=now))
    return leased, bool(waiting)


def _for(serves: Serves) -> ColumnElement[bool]:
    channels = Message.channel.in_([channel for channel in serves if channel is not None])
    return or_(channels, Message.channel.is_(None)) if None in serves else channels


def settle(
    session: Session,
    *,
    house: House,
    single: Single,
    tries: Sequence[Try],
    poison: str | None,
    now: datetime,
    chance: float,
) -> None:
    """Writes one message's outcome, where the lease is still ours."""
    if poison is not None:
        values: dict[str, Any] = {"state": DeliveryState.QUARANTINED, "not_before": None, "detail": poison}
    elif not tries:
        values = {"state": _waiting_state(single), "not_before": now + NOT_TRIED_AGAIN}
    else:
        values = _outcome(single, tries, now=now, chance=chance)
    if values["not_before"] is None and single.kind is not MessageKind.STAFF:
        values |= _WIPED
    statement = update(Message).where(Message.id == single.id, Message.fence == single.fence)
    kept = changed(
        session,
        statement.values(owner=None, lease_until=None, fence=single.fence + 1, at=now, **values),
    )
    if kept:
        _keep_attempts(session, single, tries, now=now)
    bounced = tries and tries[-1].outcome.suppress and single.channel is not None
    if bounced and single.channel is not None:
        suppress(
            session,
            house=house,
            channel=single.channel,
            address=single.address,
            reason=SuppressionReason.BOUNCE,
            now=now,
        )


def _outcome(single: Single, tries: Sequence[Try], *, now: datetime, chance: float) -> dict[str, Any]:
    staff = single.kind is MessageKind.STAFF
    worst = _worst(tries) if staff else tries[-1]
    attempts = single.attempts + 1
    # A note that a staff channel may have shown is not shown again; the others are told all the same.
    once = single.resend or (staff and worst.outcome.state == "unknown")
    said = settled(
        worst.outcome,
        attempts=attempts,
        resend=once,
        since=single.created_at,
        now=now,
        chance=chance,
    )
    return {
        "state": said.state,
        "not_before": said.not_before,
        "attempts": attempts,
        "provider": worst.provider[:60],
        "provider_ref": worst.outcome.provider_ref,
        "code": worst.outcome.code[:24],
        "detail": said.detail or None,
    }


def _worst(tries: Sequence[Try]) -> Try:
    """A note to the team is done when every URL has it; what may have arrived is not sent twice."""
    order = {"retry": 0, "failed": 1, "unknown": 2, "accepted": 3}
    return min(tries, key=lambda one: order[one.outcome.state])


def _keep_attempts(session: Session, single: Single, tries: Sequence[Try], *, now: datetime) -> None:
    """Staff channels keep every outcome, one for each URL; others only what the row does not tell."""
    plain = len(tries) == 1 and single.attempts == 0 and tries[0].outcome.state == "accepted"
    if plain and single.kind is not MessageKind.STAFF:
        return
    rows = [
        {
            "message_id": single.id,
            "number": single.attempts + 1,
            "at": now,
            "provider": one.provider[:60],
            "state": attempt_state(one.outcome),
            "code": one.outcome.code[:24],
            "detail": one.outcome.detail or None,
        }
        for one in tries
    ]
    insert_all(session, Attempt, rows)


def _waiting_state(single: Single) -> DeliveryState:
    if single.resend:
        return DeliveryState.UNKNOWN
    return DeliveryState.RETRY if single.attempts else DeliveryState.DUE


def _ended(row: Message) -> DeliveryState:
    if row.state is DeliveryState.UNKNOWN:
        return DeliveryState.UNKNOWN
    return DeliveryState.EXPIRED if row.state is DeliveryState.DUE else DeliveryState.FAILED


def _left(session: Session, rows: Sequence[Message]) -> set[int]:
    """The messages whose reader has unsubscribed or been suppressed since they were queued."""
    to = {row.id: row.subscriber_id for row in rows if row.kind in _TO_READERS and row.subscriber_id}
    if not to:
        return set()
    gone = Subscriber.state.in_((SubscriberState.UNSUBSCRIBED, SubscriberState.SUPPRESSED))
    who = set(session.scalars(select(Subscriber.id).where(Subscriber.id.in_(to.values()), gone)))
    return {message_id for message_id, subscriber_id in to.items() if subscriber_id in who}


def _recover(session: Session, row: Message, *, now: datetime) -> None:
    again = None if row.possibly_twice else now + RESEND_UNKNOWN_AFTER
    _put(
        session,
        row,
        state=DeliveryState.UNKNOWN,
        attempts=row.attempts + 1,
        not_before=again,
        owner=None,
        lease_until=None,
        code="worker-lost",
        at=now,
    )


def _lease(session: Session, row: Message, *, owner: str, now: datetime) -> Single:
    resend = row.state is DeliveryState.UNKNOWN
    until = now + LEASE
    _put(
        session,
        row,
        state=DeliveryState.SENDING,
        owner=owner,
        lease_until=until,
        not_before=until,
        possibly_twice=row.possibly_twice or resend,
        at=now,
    )
    told: frozenset[str] = frozenset()
    if row.kind is MessageKind.STAFF and row.attempts:
        settled_tries = (DeliveryState.ACCEPTED, DeliveryState.UNKNOWN, DeliveryState.FAILED)
        names = select(Attempt.provider).where(Attempt.message_id == row.id, Attempt.state.in_(settled_tries))
        told = frozenset(name for name in session.scalars(names) if name)
    return Single(
        id=row.id,
        fence=row.fence + 1,
        kind=row.kind,
        channel=row.channel,
        address=row.address or "",
        subject=row.subject or "",
        text=row.text or "",
        html=row.html,
        headers={str(name): str(value) for name, value in row.headers.items()},
        created_at=row.created_at,
        attempts=row.attempts,
        resend=resend,
        provider=row.provider,
        told=told,
    )


def _put(session: Session, row: Message, **values: Any) -> None:
    statement = update(Message).where(Message.id == row.id, Message.fence == row.fence)
    changed(session, statement.values(fence=row.fence + 1, **values))
