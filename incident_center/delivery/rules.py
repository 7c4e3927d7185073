"""What an outcome makes of a row: pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from incident_center.delivery.outcome import Outcome
from incident_center.delivery.retry import RESEND_UNKNOWN_AFTER, next_try
from incident_center.states import DeliveryState


@dataclass(frozen=True)
class Try:
    """One try at one provider."""

    provider: str
    outcome: Outcome


@dataclass(frozen=True)
class Settled:
    """The row's next state; `not_before` is None when nothing more will be tried."""

    state: DeliveryState
    not_before: datetime | None
    detail: str


def settled(
    outcome: Outcome, *, attempts: int, resend: bool, since: datetime, now: datetime, chance: float
) -> Settled:
    """The state after the last of `attempts` tries; `resend` says that an earlier one may have been accepted.

    What may have been accepted is sent again once at most; a resend that is refused for now may be tried
    again, because it has certainly not arrived.
    """
    if outcome.state == "accepted":
        return Settled(DeliveryState.ACCEPTED, None, outcome.detail)
    if outcome.state == "failed":
        return Settled(DeliveryState.FAILED, None, outcome.detail)
    if outcome.state == "unknown":
        again = None if resend else now + RESEND_UNKNOWN_AFTER
        return Settled(DeliveryState.UNKNOWN, again, outcome.detail)
    at = next_try(attempts, now=now, since=since, chance=chance, retry_after=outcome.retry_after)
    if resend:
        return Settled(DeliveryState.UNKNOWN, at, outcome.detail)
    if at is None:
        return Settled(DeliveryState.FAILED, None, f"given up after 4 hours; last: {outcome.detail}"[:300])
    return Settled(DeliveryState.RETRY, at, outcome.detail)
