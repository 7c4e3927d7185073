"""Whether a request was made by whoever it says: each provider's own scheme. Pure; compares in constant time."""

from __future__ import annotations

import hmac
import json
from base64 import b64decode, b64encode, urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

TOLERANCE_SECONDS = 300
MAILGUN_RETRIES_SECONDS = 12 * 3600  # Mailgun tries again for eight hours
_STANDARD_PORTS = {"https": 443, "http": 80}


def twilio(tokens: Iterable[str], *, url: str, form: Sequence[tuple[str, str]], signature: str) -> str | None:
    """The account's token that signed the request, or None. https://www.twilio.com/docs/usage/security"""
    said = "".join(name + value for name, value in sorted(set(form)))
    good = None
    for token in tokens:
        for form_of_url in _with_and_without_port(url):
            made = b64encode(hmac.digest(token.encode(), (form_of_url + said).encode(), "sha1")).decode()
            good = token if _same(made, signature) else good
    return good


def vonage_parameters(secrets: Iterable[str], *, parameters: Mapping[str, str]) -> bool:
    """The SMS API's `sig`: HMAC with SHA-256 or SHA-512, as the account's settings say. MD5 and SHA-1 are refused."""
    said = "".join(
        f"&{name}={_tame(value)}" for name, value in sorted(parameters.items()) if name != "sig"
    ).encode()
    given = parameters.get("sig", "").lower()
    kinds = ("sha256", "sha512")
    return _any(
        _same(hmac.digest(secret.encode(), said, kind).hex(), given) for secret in secrets for kind in kinds
    )


def vonage_token(secrets: Iterable[str], *, authorization: str, body: bytes) -> bool:
    """The Messages API's bearer JWT: HS256, and the hash of this very body inside."""
    head, _, rest = authorization.removeprefix("Bearer ").strip().partition(".")
    claims, _, signature = rest.partition(".")
    signed = f"{head}.{claims}".encode("ascii", "replace")
    good = _any(_same(_url64(hmac.digest(one.encode(), signed, "sha256")), signature) for one in secrets)
    if not good or _json64(head).get("alg") != "HS256":
        return False
    return _same(sha256(body).hexdigest(), str(_json64(claims).get("payload_hash", "")).lower())


def stamped(secrets: Iterable[str], *, stamp: str, signature: str, body: bytes, now: datetime) -> bool:
    """Our own scheme for SMS gateways: hex HMAC-SHA256 of "timestamp.body", five minutes of tolerance."""
    if not _is_fresh(stamp, now, past=TOLERANCE_SECONDS):
        return False
    said = stamp.encode() + b"." + body
    return _any(_same(hmac.digest(one.encode(), said, "sha256").hex(), signature.lower()) for one in secrets)


def mailgun(keys: Iterable[str], *, stamp: str, token: str, signature: str, now: datetime) -> bool:
    """HMAC-SHA256 of timestamp and token. It says nothing about the body, so a token counts once (see mailgun.py)."""
    if not token or not _is_fresh(stamp, now, past=MAILGUN_RETRIES_SECONDS):
        return False
    said = f"{stamp}{token}".encode("utf-8", "replace")
    return _any(_same(hmac.digest(key.encode(), said, "sha256").hex(), signature.lower()) for key in keys)


def basic(logins: Iterable[str], *, authorization: str) -> bool:
    """HTTP Basic with one of these user:password."""
    kind, _, value = authorization.partition(" ")
    try:
        given = b64decode(value.strip(), validate=True).decode("utf-8", "replace")
    except (Base64Error, ValueError):
        given = ""
    return _any(_same(login, given) for login in logins) and kind.lower() == "basic"


def _with_and_without_port(url: str) -> tuple[str, ...]:
    """Twilio has signed both forms over the years."""
    parts = urlsplit(url)
    port = parts.port or _STANDARD_PORTS.get(parts.scheme)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    rest = url.split("://", 1)[1][len(parts.netloc) :]
    return url, f"{parts.scheme}://{host}{rest}", f"{parts.scheme}://{host}:{port}{rest}"


def _tame(value: str) -> str:
    return value.replace("&", "_").replace("=", "_")


def _is_fresh(stamp: str, now: datetime, *, past: int) -> bool:
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        return False
    return -past <= int(stamp) - int(now.timestamp()) <= TOLERANCE_SECONDS


def _any(results: Iterable[bool]) -> bool:
    """All of them are computed, whichever is right."""
    return any(list(results))


def _same(made: str, given: str) -> bool:
    return hmac.compare_digest(made.encode(), given.encode("utf-8", "replace"))


def _url64(raw: bytes) -> str:
    return b64encode(raw, altchars=b"-_").decode().rstrip("=")


def _json64(text: str) -> dict[str, Any]:
    try:
        found = json.loads(urlsafe_b64decode(text.encode("ascii", "replace") + b"=" * (-len(text) % 4)))
    except (Base64Error, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
