"""The ledger's vocabulary and what chunks and rows have in common: who is due, what became of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, tuple_, update
from sqlalchemy.orm import Session

from incident_center.delivery.outcome import Outcome
from incident_center.delivery.rules import Settled, Try, settled
from incident_center.delivery.sql import changed, insert_all
from incident_center.delivery.suppress import suppress
from incident_center.house import House
from incident_center.models import Attempt, Chunk, Delivery, Update
from incident_center.states import Channel, DeliveryState, SuppressionReason

LEASE = timedelta(seconds=60)
BATCH = {Channel.EMAIL: 50, Channel.SMS: 4}  # bounds what a crash makes doubtful
# A batch goes out in so many waves: while one is on the wire, the one before it is settled and the next is marked.
WAVES = {Channel.EMAIL: 2, Channel.SMS: 1}
HELD_BACK = timedelta(seconds=2)  # while older words to the same person are on the wire
# Rows that nobody has tried; a lead may have stopped them while their reader was on the wire.
QUEUED = (Delivery.attempts == 0, Delivery.state.in_((DeliveryState.DUE, DeliveryState.CANCELLED)))


@dataclass(slots=True, kw_only=True)
class Due:
    """One person to be written to about one update, as read when they were marked.

    `attempts` are those before; `resend` says that an earlier one may have been accepted, `provider` by whom.
    `fence` is a row's own; people of a chunk have none yet.
    """

    update_id: int
    incident_id: int
    subscriber_id: int
    channel: Channel
    address: str
    language: str
    zone: str
    name: str | None
    form: str | None
    since: datetime
    attempts: int = 0
    resend: bool = False
    provider: str | None = None
    fence: int = 0


@dataclass(slots=True)
class Result:
    """What became of one person: the tries in their order, or why nothing could be composed."""

    due: Due
    tries: list[Try] = field(default_factory=list)
    wording_id: int | None = None
    poison: str | None = None

    @property
    def outcome(self) -> Outcome | None:
        """The last try's; None when there was none."""
        return self.tries[-1].outcome if self.tries else None

    @property
    def was_tried(self) -> bool:
        return bool(self.tries) or self.poison is not None


def columns_of(result: Result, *, now: datetime, provider_ids: Mapping[str, int]) -> dict[str, Any]:
    """The delivery's columns that an outcome decides."""
    due, outcome = result.due, result.outcome
    if outcome is None:
        said = Settled(DeliveryState.QUARANTINED, None, result.poison or "")
        code, reference = "compose", None
    else:
        said = settled(
            outcome,
            attempts=due.attempts + len(result.tries),
            resend=due.resend,
            since=due.since,
            now=now,
            chance=random.random(),  # noqa: S311 (spreads retries, guards nothing)
        )
        code, reference = outcome.code, outcome.provider_ref
    return {
        "state": said.state,
        "not_before": said.not_before,
        "attempts": due.attempts + len(result.tries),
        "provider_id": provider_ids.get(result.tries[-1].provider) if result.tries else None,
        "provider_ref": reference,
        "code": code[:24],
        "detail": said.detail or None,
        "wording_id": result.wording_id,
        "at": now,
    }


def worth_an_attempt_row(result: Result) -> bool:
    """A first try that was accepted is told by the delivery alone: a million rows that nobody would read."""
    outcome = result.outcome
    return outcome is not None and not (
        outcome.state == "accepted" and result.due.attempts + len(result.tries) == 1
    )


def keep_attempts(session: Session, results: Iterable[Result], *, now: datetime) -> None:
    """The tries that are worth a row."""
    rows = [
        {
            "update_id": result.due.update_id,
            "subscriber_id": result.due.subscriber_id,
            "channel": result.due.channel,
            "number": result.due.attempts + number,
            "at": now,
            "provider": one.provider,
            "state": attempt_state(one.outcome),
            "code": one.outcome.code[:24],
            "detail": one.outcome.detail or None,
        }
        for result in results
        if worth_an_attempt_row(result)
        for number, one in enumerate(result.tries, start=1)
    ]
    insert_all(session, Attempt, rows)


def attempt_state(outcome: Outcome) -> DeliveryState:
    return DeliveryState(outcome.state)


def suppress_bounced(session: Session, house: House, results: Iterable[Result], *, now: datetime) -> None:
    """Mailboxes that do not exist are written to no more."""
    for result in results:
        if result.outcome is not None and result.outcome.suppress:
            suppress(
                session,
                house=house,
                channel=result.due.channel,
                address=result.due.address,
                reason=SuppressionReason.BOUNCE,
                now=now,
            )


def accept_late(
    session: Session, results: Iterable[Result], *, now: datetime, provider_ids: Mapping[str, int]
) -> None:
    """Outcomes of a worker that had lost its lease: somebody has called these people unknown meanwhile.

    Whom the provider did accept is told so, which saves them a second copy. Anything else stays as it is.
    """
    for result in results:
        outcome = result.outcome
        if outcome is None or outcome.state != "accepted":
            continue
        session.execute(
            update(Delivery)
            .where(
                Delivery.update_id == result.due.update_id,
                Delivery.subscriber_id == result.due.subscriber_id,
                Delivery.state == DeliveryState.UNKNOWN,
            )
            .values(
                state=DeliveryState.ACCEPTED,
                not_before=None,
                code=outcome.code[:24],
                wording_id=result.wording_id,
                provider_id=provider_ids.get(result.tries[-1].provider),
                provider_ref=outcome.provider_ref,
                detail="accepted; the answer came after the worker had lost its lease",
                at=now,
            )
            .execution_options(synchronize_session=False)
        )


def unknown_rows(
    session: Session, chunk: Any, people: Collection[int], *, now: datetime, again: datetime | None
) -> int:
    """People of a lost batch: each may or may not have been written to. Answers how many rows were written.

    A row that was queued for one of them meanwhile says so from now on; its chunk does not count it.
    """
    theirs = (Delivery.update_id == chunk.update_id, Delivery.subscriber_id.in_(people))
    there = session.scalars(select(Delivery.subscriber_id).where(*theirs)).all()
    queued = session.scalars(select(Delivery.subscriber_id).where(*theirs, *QUEUED)).all()
    lost = sorted(set(people).difference(there))
    about = {
        "update_id": chunk.update_id,
        "channel": chunk.channel,
        "state": DeliveryState.UNKNOWN,
        "at": now,
    }
    about |= {"code": "worker-lost", "detail": "the worker was lost while this was on the wire"}
    insert_all(
        session,
        Delivery,
        [
            about
            | {
                "subscriber_id": one,
                "attempts": 1,
                "fence": 0,
                "possibly_twice": False,
                "apart": False,
                "not_before": again,
                "since": chunk.batch_at or now,
            }
            for one in lost
        ],
    )
    session.execute(
        update(Delivery)
        .where(*theirs, *QUEUED)
        .values(**about, attempts=1, not_before=again, fence=Delivery.fence + 1)
        .execution_options(synchronize_session=False)
    )
    tried = [about | {"subscriber_id": one, "number": 1, "provider": None} for one in (*lost, *queued)]
    insert_all(session, Attempt, tried)
    return len(lost)


def in_flight_older(
    session: Session, *, incident_id: int, update_id: int, people: Sequence[int], or_this: bool = False
) -> set[int]:
    """Those of `people` to whom an older update of the incident may be on its way at this moment; with `or_this`
    also those whom a chunk of this update has on the wire.

    Sending them newer words now could let the older ones arrive last; sending the same ones, twice.
    """
    if not people:
        return set()
    batches = session.scalars(
        select(Chunk.batch).where(
            Chunk.incident_id == incident_id,
            Chunk.update_id <= update_id if or_this else Chunk.update_id < update_id,
            Chunk.batch_at.is_not(None),
            Chunk.first_id <= max(people),
            Chunk.last_id >= min(people),
        )
    )
    flying = {one for batch in batches for one in batch}
    flying.update(
        session.scalars(
            select(Delivery.subscriber_id).where(
                Delivery.update_id.in_(
                    select(Update.id).where(Update.incident_id == incident_id, Update.id < update_id)
                ),
                Delivery.subscriber_id.in_(people),
                Delivery.state == DeliveryState.SENDING,
            )
        )
    )
    return flying.intersection(people)


def renew(
    session: Session, table: Any, ids: Sequence[Any], fences: Sequence[int], *, until: datetime
) -> bool:
    """Prolongs leases while their people are on the wire; False when one of them is no longer ours.

    `ids` are keys: a number, or (update, subscriber) for deliveries.
    """
    kept = 0
    for key, fence in zip(ids, fences, strict=True):
        values: dict[str, Any] = {"lease_until": until}
        if table is not Chunk:
            values["not_before"] = until  # rows are found again by it when their worker is lost
        row = (
            tuple_(Delivery.update_id, Delivery.subscriber_id) == key
            if table is Delivery
            else table.id == key
        )
        kept += changed(session, update(table).where(row, table.fence == fence).values(values))
    return kept == len(ids)


def renewal(table: Any, ids: Sequence[Any], fences: Sequence[int]) -> Callable[[Session, datetime], bool]:
    """`renew` for these rows, as the lease keeper calls it."""
    return lambda session, until: renew(session, table, ids, fences, until=until)
