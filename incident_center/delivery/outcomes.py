"""Outcomes of people who were marked in a chunk, as rows of the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from incident_center.delivery import fallback
from incident_center.delivery.ledger import (
    QUEUED,
    Result,
    columns_of,
    keep_attempts,
    suppress_bounced,
    worth_an_attempt_row,
)
from incident_center.delivery.sql import (
    AlreadyThere,
    changed,
    copy_text,
    insert_all,
    insert_fast,
    insert_ignoring,
    plain_time,
)
from incident_center.house import House
from incident_center.models import Delivery
from incident_center.states import DeliveryState

# What a plain acceptance is made of; everything else of its row is NULL.
_PLAIN = (
    "at",
    "update_id",
    "subscriber_id",
    "wording_id",
    "provider_id",
    "attempts",
    "fence",
    "possibly_twice",
    "apart",
    "channel",
    "state",
    "provider_ref",
)


def write(
    session: Session,
    *,
    house: House,
    tried: Sequence[Result],
    now: datetime,
    provider_ids: Mapping[str, int],
    one_by_one: bool,
) -> None:
    """One row a person. Raises AlreadyThere, unless `one_by_one`, when somebody has got a row meanwhile."""
    plain = (
        []
        if one_by_one
        else [result for result in tried if not worth_an_attempt_row(result) and result.tries]
    )
    others = [result for result in tried if one_by_one or worth_an_attempt_row(result) or not result.tries]
    insert_fast(
        session, "deliveries", _PLAIN, _plain_rows(session, plain, now=now, provider_ids=provider_ids)
    )
    if not others:
        return
    if one_by_one:  # whoever has their outcome already (the answer to a commit was lost) keeps it
        others = [
            result for result in others if _insert_one(session, result, now=now, provider_ids=provider_ids)
        ]
    else:
        _insert(session, [_row(result, now=now, provider_ids=provider_ids) for result in others])
    keep_attempts(session, others, now=now)
    suppress_bounced(session, house, others, now=now)
    fallback.after_failure(session, fallback.failed(others), now=now)


def _insert(session: Session, rows: Sequence[dict[str, Any]]) -> None:
    try:
        insert_all(session, Delivery, rows)
    except IntegrityError as error:
        raise AlreadyThere from error


def number_new(session: Session, tried: Sequence[Result]) -> int:
    """How many of these people have no row yet."""
    if not tried:
        return 0
    there = session.scalar(
        select(func.count(Delivery.subscriber_id)).where(
            Delivery.update_id == tried[0].due.update_id,
            Delivery.subscriber_id.in_([result.due.subscriber_id for result in tried]),
        )
    )
    return len(tried) - (there or 0)


def _plain_rows(
    session: Session, results: Sequence[Result], *, now: datetime, provider_ids: Mapping[str, int]
) -> list[tuple[Any, ...]]:
    if not results:
        return []
    at, state, channel = plain_time(session, now), DeliveryState.ACCEPTED.value, results[0].due.channel.value
    return [
        (
            at,
            result.due.update_id,
            result.due.subscriber_id,
            result.wording_id,
            provider_ids.get(result.tries[0].provider),
            1,
            0,
            False,
            False,
            channel,
            state,
            copy_text(result.tries[0].outcome.provider_ref),
        )
        for result in results
    ]


def _row(result: Result, *, now: datetime, provider_ids: Mapping[str, int]) -> dict[str, Any]:
    due = result.due
    return {
        "update_id": due.update_id,
        "subscriber_id": due.subscriber_id,
        "channel": due.channel,
        "fence": 0,
        "possibly_twice": False,
        "apart": False,
        "since": due.since,
        **columns_of(result, now=now, provider_ids=provider_ids),
    }


def _insert_one(session: Session, result: Result, *, now: datetime, provider_ids: Mapping[str, int]) -> bool:
    """A row queued for somebody while they were on the wire is settled: they have had it, and over this channel,
    whichever they have chosen since. False when there is a row that is settled already."""
    if insert_ignoring(session, Delivery, [_row(result, now=now, provider_ids=provider_ids)]):
        return True
    queued = update(Delivery).where(
        Delivery.update_id == result.due.update_id,
        Delivery.subscriber_id == result.due.subscriber_id,
        *QUEUED,
    )
    columns = columns_of(result, now=now, provider_ids=provider_ids)
    return (
        changed(session, queued.values(channel=result.due.channel, fence=Delivery.fence + 1, **columns)) == 1
    )
