"""DKIM signatures (RFC 6376) for those whose relay does not sign."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from incident_center.delivery.transports.stock import UnusablePlugin

# RFC 6376 §5.4.1, and the two that RFC 8058 wants covered. A name that the message does not carry is listed all the
# same: nobody can add such a header later.
_SIGNED = (
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "References",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
)


class DkimSigner:
    """Signs with one key; made once, when the URL is read."""

    def __init__(self, *, selector: str, domain: str, key: bytes) -> None:
        """Raises UnusablePlugin when the library or the key cannot be used."""
        try:
            self._dkim: Any = importlib.import_module("dkim")
        except ImportError as error:
            raise UnusablePlugin(
                "asks for DKIM, but dkimpy is not installed: pip install incident-center[dkim]"
            ) from error
        self._selector, self._domain, self._key = selector.encode(), domain.encode(), key
        try:
            self.header(b"From: probe@" + self._domain + b"\r\n\r\nprobe\r\n")
        except Exception as error:
            # The library's errors have no base of their own, and ASN.1 that it cannot read raises anything.
            raise UnusablePlugin(
                "names a DKIM key that cannot be used; it must be an RSA key in PEM form"
            ) from error

    def header(self, message: bytes) -> bytes:
        """The signature as a header line with its line end, to be put in front of the message."""
        signature: bytes = self._dkim.sign(
            message, self._selector, self._domain, self._key, include_headers=list(_SIGNED)
        )
        return signature if signature.endswith(b"\r\n") else signature + b"\r\n"


def dkim_signer(option: str, domain: str) -> DkimSigner:
    """Reads `selector:/path/to/key.pem`. Raises UnusablePlugin."""
    selector, _, path = option.partition(":")
    if not selector or not path:
        raise UnusablePlugin("has an odd dkim option; write dkim=selector:/path/to/key.pem")
    try:
        key = Path(path).read_bytes()
    except OSError as error:
        raise UnusablePlugin("names a DKIM key file that cannot be read") from error
    return DkimSigner(selector=selector, domain=domain, key=key)
