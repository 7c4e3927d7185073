"""Any SMS gateway: signed JSON of our own making, for whoever translates their provider's receipts and texts."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Response, jsonify, request

from incident_center import clock
from incident_center.delivery.receipts import Told, keep
from incident_center.integrations.receipts import signatures
from incident_center.integrations.receipts.bodies import Body, NotReadable
from incident_center.integrations.receipts.door import center, hooks, require, secrets
from incident_center.integrations.receipts.texts import hear_in
from incident_center.integrations.receipts.twilio import letter_of
from incident_center.states import Channel, DeliveryState

SOURCE = "generic"
_STATES = {
    "accepted": DeliveryState.ACCEPTED,
    "delivered": DeliveryState.DELIVERED,
    "undelivered": DeliveryState.BOUNCED,
    "failed": DeliveryState.BOUNCED,
}


@hooks.post("/sms")
def sms() -> Response:
    """Answers what may be sent back to the texts: {"replies": [{"to": …, "text": …}]}."""
    raw = request.get_data()
    stamp = request.headers.get("X-Signature-Timestamp", "")
    signature = request.headers.get("X-Signature", "")
    known = secrets("sms")
    require(signatures.stamped(known, stamp=stamp, signature=signature, body=raw, now=clock.now()))
    body = Body.read(raw)
    events, replies = list(_events(body)), []
    with center().database.transaction() as session:
        for told in events:
            keep(session, house=center().house, told=told, now=clock.now())
        for place, text in enumerate(body.items("texts")):
            sender = text.text("from")
            event = text.text("id") or f"{stamp} {signature} {place}"
            answer = hear_in(session, source=SOURCE, event=event, sender=sender, text=text.text("text"))
            if answer is not None and not answer.told:
                replies.append({"to": sender, "text": answer.reply})
    return jsonify({"replies": replies})


def _events(body: Body) -> Iterator[Told]:
    """Raises NotReadable for an event without a number, a name or a status that we know."""
    for event in body.items("events"):
        identity, state = event.text("id"), _STATES.get(event.text("status"))
        letter, provider_ref = letter_of(event.text("reference")), event.text("provider_ref")
        if not identity or state is None:
            raise NotReadable
        failed = state is DeliveryState.BOUNCED
        yield Told(
            source=SOURCE,
            event=identity,
            channel=Channel.SMS,
            state=state,
            at=event.moment("at"),
            letter=letter,
            provider_ref=provider_ref,
            recipient=event.text("to"),
            by_recipient=True,
            permanent=failed and event.truth("permanent"),
            code=event.text("code") if failed else "",
            words=event.text("words"),
        )
