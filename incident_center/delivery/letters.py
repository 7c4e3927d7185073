"""E-mails as bytes: everything that readers share is encoded once, a reader's own parts are joined in.

Bodies are quoted-printable, so they pass servers without 8BITMIME. A soft line break stands on either side
of a reader's own part, so pieces that were encoded apart make one valid body.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from email.header import Header
from email.utils import format_datetime
from functools import lru_cache
from operator import itemgetter
from urllib.parse import urlsplit

import idna

from incident_center.playbooks import Slot
from incident_center.playbooks.parts import odd_character

Segments = tuple[bytes | Slot, ...]

# "=_" cannot occur in quoted-printable text, so this can never be mistaken for content.
_DOT = b"=2E=\n"  # with a soft break behind it: no line becomes longer than 76
_BOUNDARY = b"=_incident-center_="
# RFC 3834: keeps out-of-office replies away. The second line is what Microsoft's servers read for the same
# purpose.
_AUTOMATIC = b"Auto-Submitted: auto-generated\r\nX-Auto-Response-Suppress: OOF, AutoReply\r\n"
# Visible ASCII without angle brackets on either side of the last @: nothing there to change or to refuse.
_ordinary = re.compile(r"[!-;=?-~]+@[!-;=?A-~]+").fullmatch


def wire_address(address: str) -> str:
    """An address as a server takes it: the domain in ASCII (IDNA 2008), the local part as it is.

    Raises ValueError for what cannot stand in an envelope or a header.
    """
    return address if _ordinary(address) else _checked_address(address)


def _checked_address(address: str) -> str:
    local, _, domain = address.rpartition("@")
    if not local or not domain or not address.isprintable() or set(address) & set("<>"):
        raise ValueError("not an address that a mail server could be given")
    if " " in domain or (" " in local and not (local.startswith('"') and local.endswith('"'))):
        raise ValueError("an address cannot hold a blank")
    return f"{local}@{domain if domain.isascii() else _ascii_domain(domain)}"


@lru_cache(maxsize=1024)
def _ascii_domain(domain: str) -> str:
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise ValueError("the domain is not a name") from error


def message_id(public_url: str, *, kind: str, about: int, reader: int, at: datetime) -> str:
    """The same for every attempt, so that mail systems can drop a copy; `at` keeps it apart from another
    database's."""
    return message_ids(public_url, kind=kind, about=about, at=at)(reader)


def message_ids(public_url: str, *, kind: str, about: int, at: datetime) -> Callable[[int], str]:
    """`message_id` for many readers of the same words."""
    start = f"<{kind}.{int(at.timestamp())}.{about}."
    end = f"@{urlsplit(public_url).hostname or 'localhost'}>"
    return lambda reader: f"{start}{reader}{end}"


def quoted(text: str) -> bytes:
    """Text as quoted-printable with CRLF line ends, and no line that begins with a dot.

    SMTP doubles such dots (RFC 5321 §4.5.2). Without them nobody has to search a message for them before it is sent.
    """
    lines = binascii.b2a_qp(text.encode(), istext=True)
    if lines.startswith(b"."):
        lines = _DOT + lines[1:]
    while b"\n." in lines:  # again, because the rest of the line may begin with one too
        lines = lines.replace(b"\n.", b"\n" + _DOT)
    return lines.replace(b"\n", b"\r\n")


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


def date_text(at: datetime) -> bytes:
    """A moment as the Date header says it."""
    return format_datetime(at).encode()


class Template:
    """What readers share, with a place between its pieces for each of `names`' values."""

    def __init__(self, segments: Iterable[bytes | Slot], names: tuple[str, ...]) -> None:
        """At least two segments must be slots."""
        places: list[int] = []
        self._pieces = [b""]  # shared, own, shared, own, …, shared
        for segment in segments:
            if isinstance(segment, Slot):
                places.append(names.index(segment.name))
                self._pieces += (b"", b"")
            else:
                self._pieces[-1] += segment
        self._pick = itemgetter(*places)

    def fill(self, values: tuple[bytes, ...]) -> bytes:
        """The whole, with one value for each name and in their order."""
        pieces = self._pieces.copy()
        pieces[1::2] = self._pick(values)
        return b"".join(pieces)


ENVELOPE = ("to", "date", "message_id")


def email_segments(*, headers: Segments, text: Segments, html: Segments | None) -> Segments:
    """The whole message but for its From line, which is the provider's; its ENVELOPE is left open.

    `headers` are finished lines, `text` and `html` quoted-printable.
    """
    start: Segments = (
        *(b"To: ", Slot("to"), b"\r\nDate: ", Slot("date"), b"\r\nMessage-ID: ", Slot("message_id"), b"\r\n"),
        *headers,
        _AUTOMATIC + b"MIME-Version: 1.0\r\n",
    )
    if html is None:
        return (*start, _part_head("plain"), *text, b"\r\n")
    return (
        *start,
        b'Content-Type: multipart/alternative; boundary="' + _BOUNDARY + b'"\r\n\r\n',
        b"--" + _BOUNDARY + b"\r\n" + _part_head("plain"),
        *text,
        b"\r\n--" + _BOUNDARY + b"\r\n" + _part_head("html"),
        *html,
        b"\r\n--" + _BOUNDARY + b"--\r\n",
    )


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
    """One message by itself, but for its From line. `subject` is a finished header line."""
    # These are written as they are: ASCII, checked or made by us, and must not be folded inside an address.
    own = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    segments = email_segments(
        headers=(own.encode(), subject), text=(text,), html=None if html is None else (html,)
    )
    values = (wire_address(to).encode(), date_text(date), message_id.encode())
    return Template(segments, ENVELOPE).fill(values)


@lru_cache(maxsize=2)
def _part_head(kind: str) -> bytes:
    return (
        f"Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    ).encode()
