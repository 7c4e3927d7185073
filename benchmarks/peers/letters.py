"""The messages that peers send: ours, as a worker has handed them to a relay."""

from __future__ import annotations

import email
import email.policy
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

SENDER = "status@pay.example"


@dataclass(frozen=True)
class Words:
    """One message taken apart, for peers that put it together themselves."""

    subject: str
    text: str
    html: str
    headers: dict[str, str]


def recipient(number: int) -> str:
    return f"reader{number}@customers{number % 50}.example.com"


def finished(folder: Path) -> list[bytes]:
    """Whole messages with CRLF line ends."""
    found = [path.read_bytes() for path in sorted(folder.glob("*.eml"))]
    if not found:
        raise FileNotFoundError(f"no messages in {folder}")
    return found


def taken_apart(folder: Path) -> list[Words]:
    return [_words(raw) for raw in finished(folder)]


def _words(raw: bytes) -> Words:
    message = email.message_from_bytes(raw, policy=email.policy.default)
    if not isinstance(message, EmailMessage):
        raise TypeError("not a message")
    kept = ("List-Unsubscribe", "List-Unsubscribe-Post", "Auto-Submitted")
    return Words(
        subject=str(message["Subject"]),
        text=_part(message, "plain"),
        html=_part(message, "html"),
        headers={name: str(message[name]) for name in kept if message[name]},
    )


def _part(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    if not isinstance(part, EmailMessage):
        raise TypeError(f"the message has no {kind} part")
    return str(part.get_content())
