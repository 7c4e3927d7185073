"""Mailgun: delivered, failed, complained, unsubscribed.
https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/webhook-payloads

The signature covers a time and a token, not the event. So a token counts once: whoever has seen one cannot sign an
event of their own with it.
"""

from __future__ import annotations

import re

from flask import Response, request

from incident_center import clock
from incident_center.delivery.bounces import says_gone
from incident_center.delivery.receipts import Told, first_time, keep
from incident_center.integrations.receipts import signatures
from incident_center.integrations.receipts.bodies import Body, NotReadable
from incident_center.integrations.receipts.door import center, heard, hooks, require, secrets
from incident_center.states import Channel, DeliveryState

SOURCE = "mailgun"
_STATES = {
    "accepted": DeliveryState.ACCEPTED,
    "delivered": DeliveryState.DELIVERED,
    "failed": DeliveryState.BOUNCED,
    "rejected": DeliveryState.BOUNCED,
    "complained": DeliveryState.COMPLAINED,
    "unsubscribed": DeliveryState.ACCEPTED,
}
_ENHANCED = re.compile(r"\b5\.\d{1,3}\.\d{1,3}\b")


@hooks.post("/mailgun")
def mailgun() -> Response:
    known, now = secrets(SOURCE), clock.now()
    said = Body.read(request.get_data())
    stamp, token = said.text("signature", "timestamp"), said.text("signature", "token")
    signature = said.text("signature", "signature")
    require(signatures.mailgun(known, stamp=stamp, token=token, signature=signature, now=now))
    told = _told(said.inner("event-data"))
    with center().database.transaction() as session:
        news = first_time(session, source=SOURCE, event=f"token {token}", now=now)
        if news and told is not None:
            keep(session, house=center().house, told=told, now=now)
    return heard()


def _told(said: Body) -> Told | None:
    """None for opens, clicks and what else Mailgun may tell."""
    event, identity = said.text("event"), said.text("id")
    if not event or not identity:
        raise NotReadable
    state = _STATES.get(event)
    if state is None:
        return None
    reason = said.text("reason")
    words = said.text("delivery-status", "description") or said.text("delivery-status", "message")
    if event == "failed" and said.text("severity") != "permanent":
        state = DeliveryState.ACCEPTED  # Mailgun goes on trying
    failed = state is DeliveryState.BOUNCED
    return Told(
        source=SOURCE,
        event=f"{event} {identity}",
        channel=Channel.EMAIL,
        state=state,
        at=said.moment("timestamp"),
        letter=said.text("user-variables", "letter") or said.text("message", "headers", "message-id"),
        recipient=said.text("recipient"),
        permanent=failed and _nobody_there(said, reason, words),
        unsubscribed=event == "unsubscribed" or reason == "suppress-unsubscribe",
        code=f"{said.text('delivery-status', 'code')} {reason}".strip() if failed else "",
        words=words if state is not DeliveryState.DELIVERED else "",
    )


def _nobody_there(said: Body, reason: str, words: str) -> bool:
    """Mailgun calls every refusal permanent, a policy's too; only the status says that the mailbox is gone."""
    status = said.text("delivery-status", "enhanced-code")
    found = _ENHANCED.search(status) or _ENHANCED.search(words)
    return reason == "suppress-bounce" or (found is not None and says_gone(found[0], words))
