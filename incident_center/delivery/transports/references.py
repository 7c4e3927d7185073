"""Our own reference to a letter, in the forms in which providers carry it through to their webhooks.

The provider's own number is not known for a letter whose answer was lost; this reference is known always.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

_PLAIN = re.compile(rb"[A-Za-z0-9-]")
_ESCAPED = re.compile(r"_([0-9a-f]{2})")


def letter_reference(message_id: str) -> str:
    """A Message-ID without its angle brackets, in A-Z a-z 0-9 _ - alone, which is all that SES takes in a tag."""
    bare = message_id.strip().removeprefix("<").removesuffix(">")
    return "".join(chr(byte) if _PLAIN.match(bytes((byte,))) else f"_{byte:02x}" for byte in bare.encode())


def read_letter_reference(text: str) -> str:
    """The Message-ID, without angle brackets, from which `letter_reference` made the text.

    Raises ValueError for a text that it cannot have made.
    """
    if not text.isascii() or "_" in _ESCAPED.sub("", text):
        raise ValueError("no reference of ours")
    return bytes.fromhex(
        "".join(part if place % 2 else part.encode().hex() for place, part in enumerate(_ESCAPED.split(text)))
    ).decode()


def _postmark(message_id: str) -> str:
    return f"X-PM-Metadata-letter: {_bare(message_id)}"


def _mailgun(message_id: str) -> str:
    return f"X-Mailgun-Variables: {json.dumps({'letter': _bare(message_id)})}"


def _ses(message_id: str) -> str:
    return f"X-SES-MESSAGE-TAGS: letter={letter_reference(message_id)}"


def _bare(message_id: str) -> str:
    return message_id.strip().removeprefix("<").removesuffix(">")


# What `metadata=` in an SMTP URL may say, and the header line that it adds.
METADATA: dict[str, Callable[[str], str]] = {"postmark": _postmark, "mailgun": _mailgun, "ses": _ses}
