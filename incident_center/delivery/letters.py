"""E-mails as bytes: everything that readers share is encoded once, a reader's own parts are joined in.

Bodies are quoted-printable, so they pass servers without 8BITMIME. A soft line break stands on either side
of a reader's own part, so pieces that were encoded apart make one valid body.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from email.utils import format_datetime
from functools import lru_cache
from html import escape
from urllib.parse import urlsplit

import idna

from incident_center.delivery.composer import READER, times_said
from incident_center.delivery.messages import one_click
from incident_center.delivery.texts import FrozenLike
from incident_center.playbooks import Parts, Slot, fill, from_json, normalise_sms
from incident_center.playbooks import render as render_parts
from incident_center.playbooks.parts import odd_character

# "=_" cannot occur in quoted-printable text, so this can never be mistaken for content.
_BOUNDARY = b"=_incident-center_="
_SOFT_BREAK = b"=\r\n"
# RFC 3834: keeps out-of-office replies away. The second line is what Microsoft's servers read for the same
# purpose.
_AUTOMATIC = b"Auto-Submitted: auto-generated\r\nX-Auto-Response-Suppress: OOF, AutoReply\r\n"

_Segments = tuple[bytes | Slot, ...]


def wire_address(address: str) -> str:
    """An address as a server takes it: the domain in ASCII (IDNA 2008), the local part as it is.

    Raises ValueError for what cannot stand in an envelope or a header.
    """
    local, _, domain = address.rpartition("@")
    if not local or not domain or not address.isprintable() or set(address) & set("<>"):
        raise ValueError("not an address that a mail server could be given")
    if " " in domain or (" " in local and not (local.startswith('"') and local.endswith('"'))):
        raise ValueError("an address cannot hold a blank")
    try:
        ascii_domain = domain if domain.isascii() else idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise ValueError("the domain is not a name") from error
    return f"{local}@{ascii_domain}"


def message_id(public_url: str, *, kind: str, about: int, reader: int, at: datetime) -> str:
    """The same for every attempt, so that mail systems can drop a copy; `at` keeps it apart from another
    database's."""
    host = urlsplit(public_url).hostname or "localhost"
    return f"<{kind}.{int(at.timestamp())}.{about}.{reader}@{host}>"


def quoted(text: str) -> bytes:
    """Text as quoted-printable with CRLF line ends."""
    return binascii.b2a_qp(text.encode(), istext=True).replace(b"\n", b"\r\n")


def header(name: str, value: str) -> bytes:
    """One header line, encoded (RFC 2047) and folded where needed, with its line end.

    Raises ValueError for what could break the line. What merely cannot be seen may stand there: a pasted
    no-break space or an emoji's joiner in a subject must not cost everybody their e-mail.
    """
    if odd_character(value, keep="") is not None:
        raise ValueError(f"the header {name} holds a control character")
    if value.isascii() and len(name) + len(value) < 76:
        return f"{name}: {value}\r\n".encode()
    encoded = Header(value, "ascii" if value.isascii() else "utf-8", header_name=name).encode(linesep="\r\n")
    return f"{name}: {encoded}\r\n".encode()


def raw_email(
    *,
    to: str,
    subject: bytes,
    message_id: str,
    date: datetime,
    headers: Mapping[str, str],
    text: bytes,
    html: bytes | None,
) -> bytes:
    """The whole message but for its From line, which is the provider's. `subject` is a finished header
    line."""
    # These are written as they are: ASCII, checked or made by us, and must not be folded inside an address.
    own = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"To: {wire_address(to)}\r\nDate: {format_datetime(date)}\r\nMessage-ID: {message_id}\r\n{own}"
    start = (head.encode(), subject, _AUTOMATIC, b"MIME-Version: 1.0\r\n")
    if html is None:
        return b"".join((*start, _part_head("plain"), text, b"\r\n"))
    return b"".join(
        (
            *start,
            b'Content-Type: multipart/alternative; boundary="' + _BOUNDARY + b'"\r\n\r\n',
            b"--" + _BOUNDARY + b"\r\n" + _part_head("plain"),
            text,
            b"\r\n--" + _BOUNDARY + b"\r\n" + _part_head("html"),
            html,
            b"\r\n--" + _BOUNDARY + b"--\r\n",
        )
    )


@lru_cache(maxsize=2)
def _part_head(kind: str) -> bytes:
    return (
        f"Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    ).encode()


def _segments(parts: Parts) -> _Segments:
    return tuple(part if isinstance(part, Slot) else quoted(part) for part in parts)


def _join(segments: _Segments, values: Mapping[str, bytes]) -> bytes:
    pieces: list[bytes] = []
    for segment in segments:
        if isinstance(segment, Slot):
            pieces += (_SOFT_BREAK, values[segment.name], _SOFT_BREAK)
        else:
            pieces.append(segment)
    return b"".join(pieces)


@dataclass(frozen=True)
class ReaderParts:
    """The values of the reader's own slots, as `composer.reader_values` makes them."""

    salutation: str
    manage_url: str
    unsubscribe_url: str

    def text(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in READER}


class PreparedEmail:
    """One wording for everybody in one time zone who reads it by e-mail."""

    def __init__(self, wording: FrozenLike, *, zone: str, thread: str) -> None:
        """`thread` is a Message-ID that all updates of the incident refer to, so that they stand together."""
        times = times_said(wording, zone=zone)
        self._subject = fill(from_json(wording.content["subject"]), times)
        self._text = fill(from_json(wording.content["text"]), times)
        self._html = fill(from_json(wording.content["html"]), times)
        self._text_segments = _segments(self._text)
        self._html_segments = _segments(self._html)
        self._plain_subject = all(isinstance(part, str) for part in self._subject)
        self._subject_line = (
            header("Subject", "".join(map(str, self._subject))) if self._plain_subject else b""
        )
        self._thread = thread

    def subject(self, reader: ReaderParts) -> str:
        return render_parts(self._subject, reader.text())

    def text(self, reader: ReaderParts) -> str:
        return render_parts(self._text, reader.text())

    def html(self, reader: ReaderParts) -> str:
        return render_parts(self._html, {name: escape(value) for name, value in reader.text().items()})

    def raw(self, reader: ReaderParts, *, to: str, message_id: str, date: datetime) -> bytes:
        own = reader.text()
        subject = self._subject_line or header("Subject", self.subject(reader))
        return raw_email(
            to=to,
            subject=subject,
            message_id=message_id,
            date=date,
            headers={"References": self._thread, **one_click(reader.unsubscribe_url)},
            text=_join(self._text_segments, {name: quoted(value) for name, value in own.items()}),
            html=_join(self._html_segments, {name: quoted(escape(value)) for name, value in own.items()}),
        )


class PreparedSms:
    """One wording for everybody in one time zone who reads it by SMS."""

    def __init__(self, wording: FrozenLike, *, zone: str) -> None:
        times = times_said(wording, zone=zone, short=True)
        self._parts = fill(from_json(wording.content["text"]), times)

    def text(self, reader: ReaderParts) -> str:
        return normalise_sms(render_parts(self._parts, reader.text()))
