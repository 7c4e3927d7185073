"""Postmark: Delivery, Bounce, SpamComplaint, SubscriptionChange. https://postmarkapp.com/developer/webhooks/webhooks-overview

Postmark signs nothing; the webhook's URL carries a login (HTTP Basic).
"""

from __future__ import annotations

from collections.abc import Iterator

from flask import Response, abort, request

from incident_center.delivery.receipts import Told
from incident_center.integrations.receipts import signatures
from incident_center.integrations.receipts.bodies import Body, NotReadable
from incident_center.integrations.receipts.door import hooks, keep_all, secrets
from incident_center.states import Channel, DeliveryState

SOURCE = "postmark"
# Blocks, policies, full mailboxes, trouble with DNS: not the mailbox's own end.
_NOBODY_THERE = frozenset({"HardBounce", "BadEmailAddress"})
_STILL_TRYING = frozenset(
    {"Transient", "AutoResponder", "Subscribe", "AddressChange", "ChallengeVerification"}
)


@hooks.post("/postmark")
def postmark() -> Response:
    known = secrets(SOURCE)
    if not signatures.basic(known, authorization=request.headers.get("Authorization", "")):
        abort(401)
    said = Body.read(request.get_data())
    if not said.text("RecordType") or not said.text("MessageID"):
        raise NotReadable
    return keep_all(_events(said))


def _events(said: Body) -> Iterator[Told]:
    """At most one; none for opens, clicks and what else Postmark may tell."""
    kind = said.text("RecordType")
    if kind == "Delivery":
        yield _told(said, DeliveryState.DELIVERED, at="DeliveredAt", words=said.text("Details"))
    elif kind == "SpamComplaint":
        yield _told(said, DeliveryState.COMPLAINED, at="BouncedAt", code="complaint")
    elif kind == "Bounce":
        yield _bounce(said)
    elif kind == "SubscriptionChange" and said.truth("SuppressSending"):
        yield _suppression(said)


def _bounce(said: Body) -> Told:
    kind, words = said.text("Type"), said.text("Details") or said.text("Description")
    if kind == "SpamComplaint":
        return _told(said, DeliveryState.COMPLAINED, at="BouncedAt", code="complaint", words=words)
    if kind == "Unsubscribe":
        return _told(said, DeliveryState.ACCEPTED, at="BouncedAt", unsubscribed=True)
    if kind in _STILL_TRYING:
        return _told(said, DeliveryState.ACCEPTED, at="BouncedAt", code=kind, words=words)
    gone = kind in _NOBODY_THERE
    return _told(said, DeliveryState.BOUNCED, at="BouncedAt", permanent=gone, code=kind, words=words)


def _suppression(said: Body) -> Told:
    """Postmark writes to this address no more: somebody's wish, or what it has told us as a bounce or a complaint."""
    reason = said.text("SuppressionReason")
    if reason == "HardBounce":
        return _told(said, DeliveryState.BOUNCED, at="ChangedAt", permanent=True, code=reason)
    if reason == "SpamComplaint":
        return _told(said, DeliveryState.COMPLAINED, at="ChangedAt", code="complaint")
    return _told(said, DeliveryState.ACCEPTED, at="ChangedAt", unsubscribed=True)


def _told(
    said: Body,
    state: DeliveryState,
    *,
    at: str,
    permanent: bool = False,
    unsubscribed: bool = False,
    code: str = "",
    words: str = "",
) -> Told:
    identity = (said.text(name) for name in ("RecordType", "MessageID", "ID", "Type", at))
    return Told(
        source=SOURCE,
        event=" ".join(identity),
        channel=Channel.EMAIL,
        state=state,
        at=said.moment(at),
        letter=said.text("Metadata", "letter"),
        recipient=said.text("Recipient") or said.text("Email"),
        permanent=permanent,
        unsubscribed=unsubscribed,
        code=code if state is not DeliveryState.DELIVERED else "",
        words=words if state is not DeliveryState.DELIVERED else "",
    )
