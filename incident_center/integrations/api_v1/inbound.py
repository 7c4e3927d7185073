"""What customers text to our number, handed in by a program with a token: an SMS gateway's webhook calls this (or a
few lines that turn its own format into ours do). The providers that we know ourselves come in under /hooks/."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from incident_center.audience.inbound import answer_text
from incident_center.integrations.api_v1 import answers
from incident_center.integrations.api_v1.api import Answered, api, center, roles
from incident_center.integrations.api_v1.bodies import IdempotencyHeader, InboundSmsIn
from incident_center.integrations.api_v1.callers import INBOUND
from incident_center.integrations.api_v1.document import errors
from incident_center.integrations.api_v1.idempotency import once

_TAG: list[Any] = [{"name": "inbound"}]


@api.post(
    "/inbound/sms",
    tags=_TAG,
    summary="A customer's text to our number",
    responses={200: answers.InboundOut, **errors(409, body=True)},
)
@roles(INBOUND)
def inbound_sms(header: IdempotencyHeader, body: InboundSmsIn) -> Answered:
    """STOP ends SMS at once, also for a number that we do not know. START brings back who was subscribed before.
    `reply` is what the gateway may send back; null where nothing more is to be said."""

    def deed(session: Session, now: datetime) -> tuple[int, answers.InboundOut]:
        told = answer_text(session, house=center().house, sender=body.sender, text=body.text, now=now)
        return 200, answers.InboundOut(action=told.action, reply=None if told.told else told.reply)

    return once(header.key, deed)
