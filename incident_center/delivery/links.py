"""Personal links in messages: signed, one purpose each, nothing to look up and nothing to guess.

Unsubscribe links never expire: RFC 8058 expects them to work long after the message was sent.
"""

from __future__ import annotations

from binascii import b2a_base64
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from itsdangerous import BadData, Signer, TimestampSigner
from itsdangerous.encoding import base64_encode, int_to_bytes

from incident_center import clock
from incident_center.errors import NotThere
from incident_center.house import House

MANAGE_SECONDS = 366 * 24 * 3600
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def manage_base(house: House) -> str:
    """What stands before the token in everybody's link to their settings."""
    return f"{house.settings.public_url}/m/"


def unsubscribe_base(house: House) -> str:
    """What stands before the token in everybody's link for unsubscribing."""
    return f"{house.settings.public_url}/u/"


def manage_url(house: House, subscriber_id: int) -> str:
    """Where subscriber `subscriber_id` changes their settings; valid for a year."""
    return manage_base(house) + LinkTokens(house, at=clock.now()).manage(subscriber_id).decode()


def unsubscribe_url(house: House, subscriber_id: int) -> str:
    """Where subscriber `subscriber_id` unsubscribes: GET shows a button, POST does it (RFC 8058)."""
    return unsubscribe_base(house) + LinkTokens(house, at=clock.now()).unsubscribe(subscriber_id).decode()


class LinkTokens:
    """The personal ends of many readers' links, made at one moment.

    Digits, letters, `.`, `-` and `_` only, at most 60 of them: they stand in a URL, in HTML and in a
    quoted-printable line as they are.
    """

    def __init__(self, house: House, *, at: datetime) -> None:
        secret = house.settings.secret_key
        self._manage, self._unsubscribe = _manage_seal(secret), _unsubscribe_seal(secret)
        self._signed_at = base64_encode(int_to_bytes(int(at.timestamp())))

    def manage(self, subscriber_id: int) -> bytes:
        return self._manage.sign(b"%d.%b" % (subscriber_id, self._signed_at))

    def unsubscribe(self, subscriber_id: int) -> bytes:
        return self._unsubscribe.sign(b"%d" % subscriber_id)


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


class _Seal:
    """Signs what `signer` would sign, to the same bytes, at a quarter of the cost.

    The signer derives its key for every signature and Python's hmac prepares it anew; here both of HMAC's hashes
    (RFC 2104) have taken in their half of the key once, and each signature goes on from copies of them.
    """

    def __init__(self, signer: Signer) -> None:
        digest = signer.digest_method
        # A derived key is a digest, which never is longer than a block.
        key = signer.derive_key().ljust(digest().block_size, b"\0")
        self._inner = digest(bytes(byte ^ 0x36 for byte in key))
        self._outer = digest(bytes(byte ^ 0x5C for byte in key))

    def sign(self, value: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(value)
        outer.update(inner.digest())
        return value + b"." + b2a_base64(outer.digest(), newline=False).translate(_URL_SAFE, b"=")


# A key is derived once for a process: that costs more than signing does.
@lru_cache(maxsize=4)
def _manage_signer(secret_key: str) -> TimestampSigner:
    return TimestampSigner(secret_key, salt="manage-subscription")


@lru_cache(maxsize=4)
def _unsubscribe_signer(secret_key: str) -> Signer:
    return Signer(secret_key, salt="unsubscribe")


@lru_cache(maxsize=4)
def _manage_seal(secret_key: str) -> _Seal:
    return _Seal(_manage_signer(secret_key))


@lru_cache(maxsize=4)
def _unsubscribe_seal(secret_key: str) -> _Seal:
    return _Seal(_unsubscribe_signer(secret_key))
