"""Keeps what a returned mail claims, as far as it can be about a letter of ours.

Anybody can write such a mail. It counts only when it names a letter that we have sent, and the address that the
letter went to; and it suppresses only when it brings back that letter's own signed link, which nobody can make up.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from incident_center.delivery.bounces import Kind, Returned, read_returned
from incident_center.delivery.letter_ids import read_letter_id
from incident_center.delivery.links import read_unsubscribe, unsubscribe_base
from incident_center.delivery.receipt_rows import address_of, is_same
from incident_center.delivery.receipts import Told, keep
from incident_center.errors import NotThere
from incident_center.house import House
from incident_center.states import Channel, DeliveryState

SOURCE = "bounce"
_STATES: dict[Kind, DeliveryState] = {
    "failed": DeliveryState.BOUNCED,
    "delayed": DeliveryState.ACCEPTED,
    "delivered": DeliveryState.DELIVERED,
    "complaint": DeliveryState.COMPLAINED,
    "unsubscribe": DeliveryState.ACCEPTED,
}


def keep_returned_mail(session: Session, *, house: House, raw: bytes, now: datetime) -> int:
    """How many of a mail's reports were news about letters of ours; 0 for any other mail."""
    return sum(_keep(session, house, returned, now) for returned in read_returned(raw))


def _keep(session: Session, house: House, returned: Returned, now: datetime) -> bool:
    letter = read_letter_id(returned.message_id, public_url=house.settings.public_url)
    if letter is None or letter.kind != "update":
        return False
    own = address_of(session, letter.reader, Channel.EMAIL)
    if own is None:
        return False
    proved = _proves(house, returned, letter.reader)
    if not proved and not _names(house, returned, own):
        return False
    told = Told(
        source=SOURCE,
        # A forged report must not stand in the way of the true one.
        event=f"{returned.message_id} {returned.kind} {returned.status} {'proved' if proved else 'claimed'}",
        channel=Channel.EMAIL,
        state=_STATES[returned.kind],
        at=returned.at,
        letter=returned.message_id,
        recipient=own,
        permanent=proved and returned.is_gone,
        unsubscribed=returned.kind == "unsubscribe",
        signed=False,
        code=returned.status or ("complaint" if returned.kind == "complaint" else ""),
        words=returned.words,
    )
    return keep(session, house=house, told=told, now=now)


def _names(house: House, returned: Returned, own: str) -> bool:
    return any(is_same(house, Channel.EMAIL, own, told) for told in returned.recipients)


def _proves(house: House, returned: Returned, reader: int) -> bool:
    """The letter that is reported on carries its reader's own signed link."""
    base = unsubscribe_base(house)
    if not returned.unsubscribe.startswith(base):
        return False
    try:
        return read_unsubscribe(house, returned.unsubscribe.removeprefix(base)) == reader
    except NotThere:
        return False
