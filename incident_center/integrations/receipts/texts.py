"""Customers' texts that come in over a provider's webhook."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.orm import Session

from incident_center import clock
from incident_center.audience.inbound import TextAnswer, answer_text
from incident_center.delivery.receipts import first_time
from incident_center.errors import Refused
from incident_center.integrations.receipts.door import center

_MOST = 2000
Answer = Callable[..., TextAnswer]


def hear(
    *, source: str, event: str, sender: str, text: str, answer: Answer = answer_text
) -> TextAnswer | None:
    """Does what a text asks for, once. None for one that was heard before, and for one from no phone: a bank's
    short code must not be answered. `answer`: whether the reply goes back with the webhook's answer or by message."""
    with center().database.transaction() as session:
        return hear_in(session, source=source, event=event, sender=sender, text=text, answer=answer)


def hear_in(
    session: Session, *, source: str, event: str, sender: str, text: str, answer: Answer = answer_text
) -> TextAnswer | None:
    now = clock.now()
    if event and not first_time(session, source=source, event=f"text {event}", now=now):
        return None
    try:
        return answer(session, house=center().house, sender=sender, text=text[:_MOST], now=now)
    except Refused:
        return None
