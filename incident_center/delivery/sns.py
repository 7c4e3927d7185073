"""Amazon SNS: whether a message was signed by it, and saying yes to a subscription.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from http.client import HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.x509 import Certificate, load_pem_x509_certificate

TIMEOUT_SECONDS = 5
_MOST_BYTES = 64 * 1024
_KEPT = 8  # certificates; Amazon changes them about once a year
_HOST = re.compile(r"sns\.[a-z0-9-]+\.amazonaws\.com(\.cn)?")
_CERTIFICATE_PATH = re.compile(r"/[A-Za-z0-9_-]{1,120}\.pem")
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    **dict.fromkeys(
        ("SubscriptionConfirmation", "UnsubscribeConfirmation"),
        ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    ),
}
_HASHES = {"1": SHA1, "2": SHA256}  # version 1 is what a topic uses unless it is told otherwise

Fetch = Callable[[str], bytes | None]


def fetch(url: str) -> bytes | None:
    """What an address of SNS answers with 200; None for anything else. No redirects, no other host, five seconds."""
    parts = urlsplit(url)
    if not is_amazon(url):
        return None
    connection = HTTPSConnection(parts.netloc, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}" if parts.query else parts.path)
        answer = connection.getresponse()
        return answer.read(_MOST_BYTES) if answer.status == 200 else None
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()


def is_amazon(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "https" and _HOST.fullmatch(parts.netloc) is not None and url.isprintable()


class Sns:
    """Keeps the certificates that it has fetched."""

    def __init__(self, fetch: Fetch = fetch) -> None:
        self._fetch = fetch
        self._certificates: OrderedDict[str, Certificate] = OrderedDict()

    def verified(self, message: Mapping[str, str], *, now: datetime) -> bool:
        """Whether Amazon signed these fields. The caller has compared the topic."""
        names, kind = _SIGNED.get(message["Type"]), _HASHES.get(message["SignatureVersion"])
        if names is None or kind is None:
            return False
        certificate = self._certificate(message["SigningCertURL"])
        if certificate is None or not _is_valid(certificate, now):
            return False
        key = certificate.public_key()
        said = "".join(f"{name}\n{message[name]}\n" for name in names if message[name] or name != "Subject")
        try:
            signature = b64decode(message["Signature"], validate=True)
            if not isinstance(key, RSAPublicKey):
                return False
            key.verify(signature, said.encode("utf-8", "replace"), PKCS1v15(), kind())
        except (InvalidSignature, Base64Error, ValueError):
            return False
        return True

    def confirm(self, subscribe_url: str) -> bool:
        """Says yes to a subscription whose message was verified."""
        return is_amazon(subscribe_url) and self._fetch(subscribe_url) is not None

    def _certificate(self, url: str) -> Certificate | None:
        if url in self._certificates:
            return self._certificates[url]
        if not is_amazon(url) or not _CERTIFICATE_PATH.fullmatch(urlsplit(url).path) or urlsplit(url).query:
            return None
        raw = self._fetch(url)
        try:
            certificate = None if raw is None else load_pem_x509_certificate(raw)
        except ValueError:
            return None
        if certificate is not None:
            self._certificates[url] = certificate
            while len(self._certificates) > _KEPT:
                self._certificates.popitem(last=False)
        return certificate


def _is_valid(certificate: Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
