"""Personal links in messages: signed, one purpose each, nothing to look up and nothing to guess.

Unsubscribe links never expire: RFC 8058 expects them to work long after the message was sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from itsdangerous import BadData, Signer, TimestampSigner

from incident_center.errors import NotThere
from incident_center.house import House

MANAGE_SECONDS = 366 * 24 * 3600


def manage_url(house: House, subscriber_id: int) -> str:
    """Where subscriber `subscriber_id` changes their settings; valid for a year."""
    token = _manage_signer(house.settings.secret_key).sign(str(subscriber_id)).decode()
    return f"{house.settings.public_url}/m/{token}"


def unsubscribe_url(house: House, subscriber_id: int) -> str:
    """Where subscriber `subscriber_id` unsubscribes: GET shows a button, POST does it (RFC 8058)."""
    token = _unsubscribe_signer(house.settings.secret_key).sign(str(subscriber_id)).decode()
    return f"{house.settings.public_url}/u/{token}"


@dataclass(frozen=True)
class ManageLink:
    """Whose settings a link opens, and when it was made (to the second)."""

    subscriber_id: int
    signed_at: datetime


def read_manage(house: House, token: str) -> ManageLink:
    """What a settings link says. Raises NotThere for a forged or old one.

    The caller holds `signed_at` against Subscriber.links_since: after a change of address the old links open nothing.
    """
    signer = _manage_signer(house.settings.secret_key)
    try:
        number, signed_at = signer.unsign(token, max_age=MANAGE_SECONDS, return_timestamp=True)
        return ManageLink(int(number), signed_at)
    except (BadData, ValueError) as error:
        raise NotThere("no such link") from error


def read_unsubscribe(house: House, token: str) -> int:
    """The subscriber whom an unsubscribe link was made for. Raises NotThere for a forged one."""
    try:
        return int(_unsubscribe_signer(house.settings.secret_key).unsign(token))
    except (BadData, ValueError) as error:
        raise NotThere("no such link") from error


# Deriving a signer's key costs more than signing with it, and every message carries two signatures.
@lru_cache(maxsize=4)
def _manage_signer(secret_key: str) -> TimestampSigner:
    return TimestampSigner(secret_key, salt="manage-subscription")


@lru_cache(maxsize=4)
def _unsubscribe_signer(secret_key: str) -> Signer:
    return Signer(secret_key, salt="unsubscribe")
