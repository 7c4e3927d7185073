"""What a provider repeats in its receipts: which message it is about, signed, so that nobody can make one up."""

from __future__ import annotations

from functools import lru_cache

from itsdangerous import BadData, Signer

from incident_center.delivery.transports.references import letter_reference, read_letter_reference
from incident_center.errors import NotThere


def receipt_reference(secret_key: str, message_id: str) -> str:
    """A reference to the message of this Message-ID, safe in a URL."""
    return _signer(secret_key).sign(letter_reference(message_id)).decode()


def read_receipt_reference(secret_key: str, reference: str) -> str:
    """The Message-ID in a reference, without angle brackets. Raises NotThere for a forged one."""
    try:
        return read_letter_reference(_signer(secret_key).unsign(reference).decode())
    except (BadData, ValueError) as error:
        raise NotThere("no such message") from error


@lru_cache(maxsize=4)
def _signer(secret_key: str) -> Signer:
    return Signer(secret_key, salt="receipt-reference")
