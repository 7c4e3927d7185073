"""When an update fails over one channel for good and its reader has allowed the other: it goes there, once.

docs/decisions/0012-second-address.md says what a customer may expect of it. Call `after_failure` in the transaction
that writes the outcome, after the address has been suppressed: by then a mailbox that is gone has been replaced by
the second address.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, select, tuple_
from sqlalchemy.orm import Session

from incident_center.delivery import rows  # as a module: it settles failures by calling us
from incident_center.delivery.fanout import LIVE
from incident_center.delivery.ledger import Result
from incident_center.delivery.second import other
from incident_center.delivery.sql import insert_all, skip_locked
from incident_center.models import Attempt, Delivery, Fanout, Subscriber
from incident_center.states import Channel, DeliveryState, SubscriberState

Key = tuple[int, int]  # update, subscriber

_FAILED = (DeliveryState.FAILED, DeliveryState.BOUNCED)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A delivery that has ended badly. `tried` are the channels that it has been tried over, this one included;
    `doubtful` says that an earlier try may have been accepted."""

    channel: Channel
    state: DeliveryState
    code: str = ""
    doubtful: bool = False
    tried: frozenset[Channel] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Reader:
    """`preferred` is the channel by now; `second` says that the other one may stand in for it."""

    preferred: Channel
    second: bool
    subscribed: bool


def goes_over(failure: Failure, reader: Reader) -> Channel | None:
    """The channel that gets its one chance now, or None.

    What may have arrived is not sent again elsewhere: neither `unknown`, nor what was unknown before it was
    refused, nor a bounce that may still end well. Only where the address has been given up since
    (the preferred channel is another one) is it certain that nobody has read it.
    """
    if failure.state not in _FAILED or not reader.subscribed:
        return None
    target = other(failure.channel)
    if target in failure.tried:
        return None
    if reader.preferred is target:
        return target
    certain = not failure.doubtful and (failure.state is DeliveryState.FAILED or is_final(failure))
    return target if reader.second and certain else None


def is_final(bounce: Failure) -> bool:
    """Whether a bounce leaves no hope. A report about a text message says how it ended; of an e-mail's, only those
    with a permanent code (RFC 3463 and 5321: 5…) do: absence notes come as bounces too."""
    return bounce.channel is Channel.SMS or bounce.code.startswith("5")


def failed(results: Iterable[Result]) -> list[Key]:
    """The people of a batch whose delivery may have ended badly: refused, or refused for now once too often."""
    return [
        (result.due.update_id, result.due.subscriber_id)
        for result in results
        if result.outcome is not None and result.outcome.state in ("failed", "retry")
    ]


def after_failure(session: Session, keys: Collection[Key], *, now: datetime) -> int:
    """Those of the deliveries `keys` that failed for good and may go over the other channel are due there now.

    One row stays one row: its failed tries are in `attempts`. Answers how many; repeating it does nothing.
    """
    if not keys:
        return 0
    return _move(session, _candidates(now).where(_is_one_of(keys)), now=now)


def after_move(session: Session, person: Subscriber, *, now: datetime) -> int:
    """Somebody has moved to the other channel: what has failed at the address that they left is due there now."""
    session.flush()
    return _move(session, _candidates(now).where(Delivery.subscriber_id == person.id), now=now)


def _candidates(now: datetime) -> Select[Delivery, Subscriber]:
    """Failed deliveries of updates that are still going out, with their readers who can be reached otherwise."""
    return (
        select(Delivery, Subscriber)
        .join(Subscriber, Subscriber.id == Delivery.subscriber_id)
        .join(Fanout, Fanout.update_id == Delivery.update_id)
        .where(
            Delivery.state.in_(_FAILED),
            Subscriber.state == SubscriberState.CONFIRMED,
            (Subscriber.channel != Delivery.channel) | Subscriber.fallback_since.is_not(None),
            Fanout.state.in_(LIVE),
            Fanout.expires_at > now,
        )
        .order_by(Delivery.update_id, Delivery.subscriber_id)
        .execution_options(populate_existing=True)
    )


def _move(session: Session, wanted: Select[Delivery, Subscriber], *, now: datetime) -> int:
    found = session.execute(skip_locked(session, wanted, of=Delivery)).all()
    if not found:
        return 0
    tried = _tried(session, [(row.update_id, row.subscriber_id) for row, _ in found])
    moved = 0
    for row, person in found:
        failure = Failure(
            channel=row.channel,
            state=row.state,
            code=row.code or "",
            doubtful=row.possibly_twice,
            tried=frozenset({row.channel, *tried.get((row.update_id, row.subscriber_id), ())}),
        )
        reader = Reader(
            preferred=person.channel,
            second=person.fallback_since is not None,
            subscribed=person.state is SubscriberState.CONFIRMED,
        )
        to = goes_over(failure, reader)
        if to is not None:
            _send_over(session, row, to, now=now)
            moved += 1
    session.flush()
    return moved


def _send_over(session: Session, row: Delivery, to: Channel, *, now: datetime) -> None:
    """`since` stays: an update is as old as before, and ends when it would have ended."""
    if row.state is DeliveryState.BOUNCED:  # the try was accepted, so no attempt tells of its end
        _keep_bounce(session, row)
    rows.move_channel(session, row, to)
    row.since = row.since or row.at
    row.channel, row.apart = to, True
    row.state, row.not_before, row.at = DeliveryState.DUE, now, now
    row.owner = row.lease_until = row.wording_id = row.provider_id = None
    row.provider_ref = row.code = row.detail = None
    row.fence += 1


def _keep_bounce(session: Session, row: Delivery) -> None:
    bounce = {
        "update_id": row.update_id,
        "subscriber_id": row.subscriber_id,
        "channel": row.channel,
        "number": row.attempts,
        "at": row.at,
        "provider": row.provider,
        "state": row.state,
        "code": row.code,
        "detail": row.detail,
    }
    insert_all(session, Attempt, [bounce])


def _tried(session: Session, keys: Collection[Key]) -> dict[Key, set[Channel]]:
    """The channels that deliveries have been tried over, as far as their attempts tell."""
    tried: dict[Key, set[Channel]] = {}
    mine = tuple_(Attempt.update_id, Attempt.subscriber_id).in_(keys)
    found = session.execute(select(Attempt.update_id, Attempt.subscriber_id, Attempt.channel).where(mine))
    for update_id, subscriber_id, channel in found:
        if update_id is not None and subscriber_id is not None and channel is not None:
            tried.setdefault((update_id, subscriber_id), set()).add(channel)
    return tried


def _is_one_of(keys: Collection[Key]) -> ColumnElement[bool]:
    return tuple_(Delivery.update_id, Delivery.subscriber_id).in_(keys)
