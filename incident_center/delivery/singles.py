"""Single messages: one person, outside any fan-out. Queued by verbs, sent by the engine before bulk."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from incident_center.delivery.sql import insert_ignoring
from incident_center.house import House
from incident_center.models import Message
from incident_center.states import Channel, DeliveryState, MessageKind


def queue_message(
    session: Session,
    *,
    kind: MessageKind,
    channel: Channel,
    address: str,
    language: str,
    subscriber_id: int | None = None,
    subject: str | None,
    text: str,
    html: str | None = None,
    headers: Mapping[str, str] | None = None,
    key: str | None = None,
    now: datetime,
    lifetime: timedelta,
) -> None:
    """One finished message to one address, due now. With a `key` it is queued once, however often this is
    called.

    After `lifetime` it is no longer tried: a code that has run out helps nobody.
    """
    _insert(
        session,
        kind=kind,
        channel=channel,
        address=address,
        language=language,
        subscriber_id=subscriber_id,
        subject=subject,
        text=text,
        html=html,
        headers=dict(headers or {}),
        key=key,
        now=now,
        lifetime=lifetime,
    )


def queue_staff(
    session: Session,
    *,
    house: House,
    key: str,
    subject: str,
    text: str,
    incident_id: int | None,
    now: datetime,
    lifetime: timedelta,
    group: str = "",
) -> bool:
    """A note to the crisis team over INCIDENT_CENTER_STAFF_URLS, once for each `key`.

    group: a value of states.StaffGroup, or "" for everybody on duty.

    Answers whether it was queued now: False when this key was queued before, or when there is nobody to tell.
    """
    if not house.settings.staff_urls:
        return False
    return _insert(
        session,
        kind=MessageKind.STAFF,
        channel=None,
        address=None,
        language="en",
        incident_id=incident_id,
        subject=subject,
        text=text,
        headers={"group": group} if group else {},
        key=key,
        now=now,
        lifetime=lifetime,
    )


def _insert(session: Session, *, now: datetime, lifetime: timedelta, **columns: object) -> bool:
    session.flush()  # the row may name a subscriber who is still in the session
    row = {
        "state": DeliveryState.DUE,
        "attempts": 0,
        "fence": 0,
        "possibly_twice": False,
        "not_before": now,
        "at": now,
        "created_at": now,
        "expires_at": now + lifetime,
    }
    return insert_ignoring(session, Message, [row | columns]) == 1
