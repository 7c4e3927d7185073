"""Twilio: status callbacks, and texts to our number. https://www.twilio.com/docs/messaging/guides/webhook-request

Its signature's key is the account's auth token. It stands in the twilio:// entries of INCIDENT_CENTER_SMS_URLS; where
those log in with an API key, it is given as twilio= in INCIDENT_CENTER_HOOK_SECRETS.
"""

from __future__ import annotations

from html import escape
from urllib.parse import parse_qs, unquote, urlsplit

from flask import Response, abort, request

from incident_center.delivery.receipts import Told
from incident_center.delivery.references import read_receipt_reference
from incident_center.errors import NotThere
from incident_center.integrations.receipts import signatures
from incident_center.integrations.receipts.door import center, hooks, keep_all, require
from incident_center.integrations.receipts.texts import hear
from incident_center.states import Channel, DeliveryState

SOURCE = "twilio"
# queued and sending say nothing that the answer to our request has not said.
_STATES = {
    "sent": DeliveryState.ACCEPTED,
    "delivered": DeliveryState.DELIVERED,
    "read": DeliveryState.DELIVERED,
    "undelivered": DeliveryState.BOUNCED,
    "failed": DeliveryState.BOUNCED,
    "canceled": DeliveryState.BOUNCED,
}
# The one code that says that nobody has this number. A phone that is off (30003), a carrier's filter (30007), a
# landline that may be ported (30006) and a STOP that START takes back (21610) are no reason to give it up.
_NOBODY_THERE = frozenset({"30005"})
_WORDS = {
    "21610": "this number has sent STOP",
    "30001": "Twilio's queue was full",
    "30002": "the account is suspended",
    "30003": "the phone is off or out of reach",
    "30004": "the phone or its network blocks the message",
    "30005": "nobody has this number",
    "30006": "this is a landline, or a network out of reach",
    "30007": "the network took it for spam",
    "30008": "the network gave no reason",
    "30010": "the message cost more than the account allows",
    "30036": "the phone was out of reach until the message ran out",
}


@hooks.post("/twilio")
def twilio() -> Response:
    return _status("")


@hooks.post("/twilio/<reference>")
def twilio_letter(reference: str) -> Response:
    return _status(reference)


@hooks.post("/twilio/inbound")
def twilio_inbound() -> Response:
    """Answered as TwiML. Twilio says what it has understood of STOP itself (OptOutType) and has replied then."""
    _verify()
    form = request.form
    opted = form.get("OptOutType", "")
    told = hear(
        source=SOURCE,
        event=form.get("MessageSid", ""),
        sender=form.get("From", ""),
        text=opted or form.get("Body", ""),
    )
    reply = (
        "" if told is None or told.told or opted else f"<Message>{escape(told.reply, quote=False)}</Message>"
    )
    body = f'<?xml version="1.0" encoding="UTF-8"?><Response>{reply}</Response>'
    return Response(body, content_type="text/xml; charset=utf-8")


def _status(reference: str) -> Response:
    _verify()
    form = request.form
    status, code = form.get("MessageStatus", ""), form.get("ErrorCode", "")
    sid = form.get("MessageSid", "")
    state = _STATES.get(status)
    if not sid:
        abort(400)
    if state is None:
        return keep_all(())
    told = Told(
        source=SOURCE,
        event=f"{sid} {status}",
        channel=Channel.SMS,
        state=state,
        letter=letter_of(reference),
        provider_ref=sid,
        recipient=form.get("To", ""),
        permanent=state is DeliveryState.BOUNCED and code in _NOBODY_THERE,
        code=f"{status} {code}".strip() if state is DeliveryState.BOUNCED else "",
        words=_WORDS.get(code, ""),
    )
    return keep_all((told,))


def letter_of(reference: str) -> str:
    """The Message-ID behind a reference that we gave along; "" for any other text."""
    try:
        return read_receipt_reference(center().settings.secret_key, reference)
    except NotThere:
        return ""


def _verify() -> None:
    settings = center().settings
    tokens = [*_tokens(settings.sms_urls), *settings.hook_secrets_of(SOURCE)]
    if not tokens:
        abort(404)
    # The address that we told Twilio: what a proxy makes of Host and scheme does not matter.
    query = request.query_string.decode("latin-1")
    url = settings.public_url + request.path + (f"?{query}" if query else "")
    form = list(request.form.items(multi=True))
    require(
        signatures.twilio(tokens, url=url, form=form, signature=request.headers.get("X-Twilio-Signature", ""))
    )


def _tokens(urls: tuple[str, ...]) -> list[str]:
    """The auth tokens in twilio://SID:TOKEN@sender entries; an API key's secret signs nothing."""
    found = []
    for url in urls:
        scheme, _, rest = url.partition("://")
        parts = urlsplit(f"//{rest}")
        if scheme.lower() == SOURCE and "apikey" not in parse_qs(parts.query.lower()):
            found.append(unquote(parts.netloc.rpartition("@")[0].partition(":")[2]))
    return [token for token in found if token]
