"""What the audience's tests say often: a wish, and what was sent about it."""

import re
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from incident_center.audience.verbs import SubscribeRequest
from incident_center.models import Message
from incident_center.states import Channel

ANNA = "anna.berg@example.com"
PHONE = "+4915123456789"


def a_wish(address: str = ANNA, **parts: Any) -> SubscribeRequest:
    """Anna's: German e-mail about everything, in Berlin; a number wishes for SMS."""
    given: dict[str, Any] = {
        "channel": Channel.EMAIL if "@" in address else Channel.SMS,
        "language": "de",
        "zone": "Europe/Berlin",
        "name": "Anna Berg",
    }
    return SubscribeRequest(address=address, **(given | parts))


def mail(session: Session) -> list[Message]:
    """Everything that was queued, oldest first."""
    session.flush()
    return list(session.scalars(select(Message).order_by(Message.id)))


def token_in(message: Message) -> str:
    found = re.search(r"/c/([\w-]+)", message.text or "")
    assert found, message.text
    return found[1]


def code_in(message: Message) -> str:
    found = re.search(r"\b\d{6}\b", message.text or "")
    assert found, message.text
    return found[0]


def wrong_code(right: str) -> str:
    return f"{(int(right) + 1) % 1_000_000:06d}"
