"""Vonage: delivery receipts and texts, of the SMS API (signed by `sig`) and of the Messages API (signed by a JWT).

https://developer.vonage.com/en/messaging/sms/guides/delivery-receipts
"""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Response, request

from incident_center.audience.inbound import answer_by_message
from incident_center.delivery.receipts import Told
from incident_center.integrations.receipts import signatures
from incident_center.integrations.receipts.bodies import Body, NotReadable
from incident_center.integrations.receipts.door import heard, hooks, keep_all, require, secrets
from incident_center.integrations.receipts.texts import hear
from incident_center.integrations.receipts.twilio import letter_of
from incident_center.states import Channel, DeliveryState

SOURCE = "vonage"
_STATES = {
    "accepted": DeliveryState.ACCEPTED,
    "buffered": DeliveryState.ACCEPTED,
    "unknown": DeliveryState.ACCEPTED,
    "submitted": DeliveryState.ACCEPTED,
    "delivered": DeliveryState.DELIVERED,
    "read": DeliveryState.DELIVERED,
    "failed": DeliveryState.BOUNCED,
    "rejected": DeliveryState.BOUNCED,
    "expired": DeliveryState.BOUNCED,
    "deleted": DeliveryState.BOUNCED,
    "undeliverable": DeliveryState.BOUNCED,
}
_NOBODY_THERE = frozenset({"3", "4"})  # no longer active; barred for good. Vonage asks to remove both.
_WORDS = {
    "1": "the network gave no reason",
    "2": "the phone is off or out of reach",
    "3": "the number is no longer active",
    "4": "the number is barred",
    "5": "the number is being moved to another network",
    "6": "the network took it for spam",
    "7": "the phone was busy",
    "8": "the network had an error",
    "9": "the customer refuses such messages",
    "10": "the network could not read the message",
    "11": "Vonage found no route",
    "12": "the number cannot be reached",
    "13": "the network refuses the content for the customer's age",
    "14": "the network blocks the sender",
    "15": "the customer's prepaid account is empty",
    "99": "Vonage had an error",
}


@hooks.post("/vonage")
def vonage() -> Response:
    return _status("")


@hooks.post("/vonage/<reference>")
def vonage_letter(reference: str) -> Response:
    return _status(reference)


@hooks.post("/vonage/inbound")
def vonage_inbound() -> Response:
    """Vonage sends no reply for us: what is to be said goes out as a message of its own."""
    said = _verified()
    sender = said.text("msisdn") or said.text("from")
    event = said.text("messageId") or said.text("message_uuid")
    if not sender:
        raise NotReadable
    number = f"+{sender.lstrip('+')}"
    hear(source=SOURCE, event=event, sender=number, text=said.text("text"), answer=answer_by_message)
    return heard()


def _status(reference: str) -> Response:
    said = _verified()
    identity = said.text("messageId") or said.text("message-id") or said.text("message_uuid")
    status = said.text("status").lower()
    if not identity or not status:
        raise NotReadable
    state = _STATES.get(status)
    if state is None:
        return keep_all(())
    code = said.text("err-code")
    failed = state is DeliveryState.BOUNCED
    told = Told(
        source=SOURCE,
        event=f"{identity} {status} {code}",
        channel=Channel.SMS,
        state=state,
        at=_scts(said.text("message-timestamp")) or said.moment("timestamp"),
        letter=letter_of(reference) or letter_of(said.text("client-ref") or said.text("client_ref")),
        provider_ref=identity,
        # The SMS API's `msisdn` is the customer; its `to` is our own sender.
        recipient=said.text("msisdn") or said.text("to"),
        permanent=failed and code in _NOBODY_THERE,
        code=f"{status} {code}".strip() if failed else "",
        words=_WORDS.get(code, "") or said.text("error", "title"),
    )
    return keep_all((told,))


def _verified() -> Body:
    """What was posted, as JSON or as a form, once its signature is right."""
    known = secrets(SOURCE)
    raw = request.get_data()
    authorization = request.headers.get("Authorization", "")
    if authorization.startswith("Bearer "):
        require(signatures.vonage_token(known, authorization=authorization, body=raw))
        return Body.read(raw)
    said = Body(dict(request.form)) if request.form else Body.read(raw)
    require(signatures.vonage_parameters(known, parameters=said.flat()))
    return said


def _scts(text: str) -> datetime | None:
    """ "2026-11-20 13:00:05", in UTC."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        return None
