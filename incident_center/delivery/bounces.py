"""Reads mails that come back: delivery reports (RFC 3464, RFC 6533) and complaints (ARF, RFC 5965). Pure.

Nobody signs such mails. What is read here is a claim; `bounce_mail` holds it against what we have sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, message_from_string
from email.errors import MessageError
from email.message import Message as Mail
from email.utils import parsedate_to_datetime
from typing import Literal

Kind = Literal["failed", "delayed", "delivered", "complaint", "unsubscribe"]

# RFC 3463: bad mailbox, bad domain, bad syntax, moved, no mail accepted there. Everything else (full, too large,
# policy, network) is not the mailbox's own end.
_GONE = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10"})
_DISABLED = "5.2.1"
_SAYS_DISABLED = re.compile(r"\b(?:disabled|inactive)\b", re.IGNORECASE)

_ACTIONS: dict[str, Kind] = {"failed": "failed", "delayed": "delayed", "delivered": "delivered"}
_FEEDBACK: dict[str, Kind] = {"abuse": "complaint", "fraud": "complaint", "opt-out": "unsubscribe"}
_RETURNED = frozenset({"message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers"})
_STATUS = re.compile(r"\b[245]\.\d{1,3}\.\d{1,3}\b")
_UNSUBSCRIBE = re.compile(r"<(https?://[^>\s]+)>")
_MOST_RECIPIENTS = 50
_MOST_FIELD = 1000


@dataclass(frozen=True, kw_only=True)
class Returned:
    """What a returned mail says about one recipient. `recipients` are the addresses under which it may mean them;
    `unsubscribe` is the link that stood in the letter it is about, which nobody but its reader has."""

    kind: Kind
    message_id: str
    recipients: tuple[str, ...] = ()
    status: str = ""
    words: str = ""
    at: datetime | None = None
    unsubscribe: str = ""

    @property
    def is_gone(self) -> bool:
        """The mailbox does not exist any more."""
        return self.kind == "failed" and says_gone(self.status, self.words)


def says_gone(status: str, words: str) -> bool:
    """Whether an enhanced status says that the mailbox does not exist any more. Gmail's 5.2.1 also means one that gets
    mail too fast, so there the words have to say it."""
    return status in _GONE or (status == _DISABLED and _SAYS_DISABLED.search(words) is not None)


def read_returned(raw: bytes) -> list[Returned]:
    """Whatever the mail reports, one entry a recipient; nothing for any other mail, however broken it is."""
    try:
        mail = message_from_bytes(raw)
        return _read(mail)
    except (MessageError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return []  # the standard library's parser lets some broken mails out as these


def _read(mail: Mail) -> list[Returned]:
    parts = list(mail.walk())
    original = _original(parts)
    if original is None:
        return []
    message_id = _field(original, "Message-ID")
    link = _UNSUBSCRIBE.search(_field(original, "List-Unsubscribe"))
    at = _moment(_field(mail, "Date"))
    found: list[Returned] = []
    for part in parts:
        kind = part.get_content_type()
        if kind in {"message/delivery-status", "message/global-delivery-status"}:
            found += _recipients(part, message_id, at, link[1] if link else "")
        elif kind == "message/feedback-report":
            found += _complaint(part, message_id, at, link[1] if link else "")
    return found[:_MOST_RECIPIENTS] if message_id else []


def _original(parts: list[Mail]) -> Mail | None:
    """The headers of the mail that is reported on."""
    for part in parts[1:]:
        if part.get_content_type() not in _RETURNED:
            continue
        inside = part.get_payload()
        if isinstance(inside, list) and inside and isinstance(inside[0], Mail):
            return inside[0]
        return message_from_string(_text(part))
    return None


def _recipients(part: Mail, message_id: str, at: datetime | None, link: str) -> Iterator[Returned]:
    for fields in _groups(part):
        action = _ACTIONS.get(_field(fields, "Action").lower())
        named = (_field(fields, "Original-Recipient"), _field(fields, "Final-Recipient"))
        recipients = tuple(_typed(name) for name in named if _typed(name))
        if action is None or not recipients:
            continue
        words = _field(fields, "Diagnostic-Code").partition(";")[2].strip()
        yield Returned(
            kind=action,
            message_id=message_id,
            recipients=recipients,
            status=_sharper(_field(fields, "Status"), words),
            words=words,
            at=at,
            unsubscribe=link,
        )


def _complaint(part: Mail, message_id: str, at: datetime | None, link: str) -> Iterator[Returned]:
    """Whom it names is not read: some mailbox providers black the recipient out, and the letter's own link proves more
    than a name does."""
    for fields in _groups(part):
        kind = _FEEDBACK.get(_field(fields, "Feedback-Type").lower())
        if kind is None:
            continue
        yield Returned(kind=kind, message_id=message_id, at=at, unsubscribe=link)


def _groups(part: Mail) -> list[Mail]:
    """The groups of fields of a report: the parser gives them as messages, or leaves them as text."""
    inside = part.get_payload()
    if isinstance(inside, list):
        return [group for group in inside if isinstance(group, Mail)]
    return [message_from_string(group) for group in re.split(r"\r?\n\r?\n", _text(part)) if group.strip()]


def _sharper(status: str, words: str) -> str:
    """Some servers say 5.0.0 and put the true status into their words."""
    found = _STATUS.match(status)
    plain = found[0] if found else ""
    if plain.endswith(".0.0") or not plain:
        inner = _STATUS.search(words)
        if inner is not None and (not plain or inner[0][0] == plain[0]):
            return inner[0]
    return plain


def _typed(field: str) -> str:
    """The address in "rfc822; somebody@example.com"."""
    kind, semicolon, address = field.partition(";")
    if semicolon and kind.strip().lower() not in {"rfc822", "utf-8"}:
        return ""
    return (address if semicolon else field).strip().strip("<>")


def _field(mail: Mail, name: str) -> str:
    return " ".join(str(mail.get(name, "")).split())[:_MOST_FIELD]


def _text(part: Mail) -> str:
    raw = part.get_payload(decode=True)
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(part.get_payload())


def _moment(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
