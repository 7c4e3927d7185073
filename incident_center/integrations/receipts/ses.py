"""Amazon SES over SNS: bounces, complaints, deliveries, in both formats (notifications and event publishing).

https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html
"""

from __future__ import annotations

from collections.abc import Iterator

from flask import Response, abort, current_app, request

from incident_center import clock
from incident_center.delivery.receipts import Told
from incident_center.delivery.sns import Sns
from incident_center.delivery.transports.references import read_letter_reference
from incident_center.integrations.receipts.bodies import Body
from incident_center.integrations.receipts.door import heard, hooks, keep_all, require, secrets
from incident_center.states import Channel, DeliveryState

SOURCE = "ses"
EXTENSION = "incident_center_sns"
_FIELDS = (
    *("Type", "MessageId", "TopicArn", "Subject", "Message", "Timestamp", "Token", "SubscribeURL"),
    *("SignatureVersion", "Signature", "SigningCertURL"),
)
# Each with the part of the event that tells of it. A rejected message held a virus, says SES.
_PLAIN = {
    "Delivery": (DeliveryState.DELIVERED, "delivery"),
    "Reject": (DeliveryState.BOUNCED, "reject"),
    "DeliveryDelay": (DeliveryState.ACCEPTED, "deliveryDelay"),
    "Send": (DeliveryState.ACCEPTED, "send"),
}


@hooks.post("/ses")
def ses() -> Response:
    topics = secrets(SOURCE)
    said = Body.read(request.get_data())
    message = {name: said.whole_text(name) for name in _FIELDS}
    # Before anything is fetched: nobody but our own topic makes us ask Amazon for a certificate.
    require(message["TopicArn"] in topics)
    sns: Sns = current_app.extensions[EXTENSION]
    require(sns.verified(message, now=clock.now()))
    if message["Type"] == "SubscriptionConfirmation":
        if not sns.confirm(message["SubscribeURL"]):
            abort(503)  # Amazon repeats it
        return heard()
    if message["Type"] != "Notification":
        return heard()
    return keep_all(_events(Body.read(message["Message"].encode("utf-8", "replace")), message["MessageId"]))


def _events(said: Body, sns_id: str) -> Iterator[Told]:
    """None for opens, clicks and a test from the console."""
    kind = said.text("notificationType") or said.text("eventType")
    if kind == "Bounce":
        yield from _bounces(said, sns_id)
    elif kind == "Complaint":
        yield from _complaints(said, sns_id)
    elif kind in _PLAIN:
        state, part = _PLAIN[kind]
        words = said.text("reject", "reason")
        code = kind if state is DeliveryState.BOUNCED else ""
        for address in said.texts("delivery", "recipients") or said.texts("mail", "destination"):
            yield _told(said, state, part, address, sns_id, code=code, words=words)


def _bounces(said: Body, sns_id: str) -> Iterator[Told]:
    """Permanent is what SES calls an address that does not exist or that it has given up. What is transient may be
    an out-of-office reply."""
    kind, more = said.text("bounce", "bounceType"), said.text("bounce", "bounceSubType")
    for one in said.items("bounce", "bouncedRecipients"):
        yield _told(
            said,
            DeliveryState.BOUNCED,
            "bounce",
            one.text("emailAddress"),
            sns_id,
            permanent=kind == "Permanent" and more not in {"ContentRejected", "AttachmentRejected"},
            code=one.text("status") or f"{kind} {more}".strip(),
            words=one.text("diagnosticCode"),
        )


def _complaints(said: Body, sns_id: str) -> Iterator[Told]:
    if said.text("complaint", "complaintFeedbackType") in {"not-spam", "auth-failure"}:
        return
    for one in said.items("complaint", "complainedRecipients"):
        yield _told(
            said, DeliveryState.COMPLAINED, "complaint", one.text("emailAddress"), sns_id, code="complaint"
        )


def _told(
    said: Body,
    state: DeliveryState,
    part: str,
    recipient: str,
    sns_id: str,
    *,
    permanent: bool = False,
    code: str = "",
    words: str = "",
) -> Told:
    identity = said.text(part, "feedbackId") or said.text("mail", "messageId") or sns_id
    return Told(
        source=SOURCE,
        event=f"{part} {identity} {recipient}",
        channel=Channel.EMAIL,
        state=state,
        at=said.moment(part, "timestamp"),
        letter=_letter(said),
        recipient=recipient,
        permanent=permanent,
        code=code,
        words=words,
    )


def _letter(said: Body) -> str:
    """Our Message-ID: from the tag that we gave along, or from the headers where SES is told to repeat them. SES gives
    every message a Message-ID of its own."""
    for tag in said.texts("mail", "tags", "letter"):
        try:
            return read_letter_reference(tag)
        except ValueError:
            continue
    for header in said.items("mail", "headers"):
        if header.text("name").lower() == "message-id":
            return header.text("value")
    return said.text("mail", "commonHeaders", "messageId")
