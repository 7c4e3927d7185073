"""One wording for everybody who reads it with the same times: what is left for each reader is their own parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from html import escape

from incident_center.delivery.letters import ENVELOPE, Segments, Template, email_segments, header, quoted
from incident_center.delivery.messages import one_click
from incident_center.delivery.texts import FrozenLike
from incident_center.playbooks import Parts, Slot, fill, from_json, mark, normalise_sms, slots, unmark
from incident_center.playbooks import render as render_parts

_SOFT_BREAK = b"=\r\n"
_VALUES = (*ENVELOPE, "subject", "greeting", "greeting_html", "manage", "unsubscribe")


@dataclass(slots=True)
class Greeting:
    """A salutation in each form that a letter needs."""

    text: str
    quoted: bytes
    quoted_html: bytes


def greeting(text: str) -> Greeting:
    return Greeting(text, quoted(text), quoted(escape(text)))


@dataclass(slots=True)
class LinkBases:
    """What stands before the tokens in everybody's links."""

    manage: str
    unsubscribe: str


@dataclass(slots=True)
class ReaderParts:
    """What is one reader's own. The tokens are the ends of their links, as links.LinkTokens makes them."""

    greeting: Greeting
    manage: bytes
    unsubscribe: bytes

    def texts(self, links: LinkBases) -> dict[str, str]:
        """The values of the reader's slots, as `composer.reader_values` makes them."""
        return {
            "salutation": self.greeting.text,
            "manage_url": links.manage + self.manage.decode(),
            "unsubscribe_url": links.unsubscribe + self.unsubscribe.decode(),
        }


class PreparedEmail:
    """One wording for everybody who reads it by e-mail and says its `times` alike.

    Bytes and texts are each made when they are first asked for: a provider wants one or the other.
    """

    def __init__(
        self, wording: FrozenLike, *, times: Mapping[str, str], thread: str, links: LinkBases
    ) -> None:
        """`thread` is a Message-ID that all updates of the incident refer to, so that they stand together."""
        self._content, self._times, self._thread, self._links = wording.content, times, thread, links
        self._subject = self._parts("subject")
        self._plain_subject = None if slots(self._subject) else render_parts(self._subject, {})

    def subject(self, reader: ReaderParts) -> str:
        if self._plain_subject is not None:
            return self._plain_subject
        return render_parts(self._subject, reader.texts(self._links))

    def text(self, reader: ReaderParts) -> str:
        return render_parts(self._text, reader.texts(self._links))

    def html(self, reader: ReaderParts) -> str:
        values = reader.texts(self._links)
        return render_parts(self._html, {name: escape(value) for name, value in values.items()})

    def raw(self, reader: ReaderParts, *, to: bytes, message_id: bytes, date: bytes) -> bytes:
        """The message but for its From line. `to` is a `wire_address`; the others are made by us."""
        own = reader.greeting
        subject = b"" if self._plain_subject is not None else _subject_line(self.subject(reader))
        return self._template.fill(
            (to, date, message_id, subject, own.quoted, own.quoted_html, reader.manage, reader.unsubscribe)
        )

    def _parts(self, name: str) -> Parts:
        return fill(from_json(self._content[name]), self._times)

    @cached_property
    def _text(self) -> Parts:
        return self._parts("text")

    @cached_property
    def _html(self) -> Parts:
        return self._parts("html")

    @cached_property
    def _template(self) -> Template:
        one_clicks = one_click(self._links.unsubscribe + mark((Slot("unsubscribe"),)))
        lines = {"References": self._thread, **one_clicks}
        written = unmark("".join(f"{name}: {value}\r\n" for name, value in lines.items()))
        subject = Slot("subject") if self._plain_subject is None else _subject_line(self._plain_subject)
        segments = email_segments(
            headers=(*(part if isinstance(part, Slot) else part.encode() for part in written), subject),
            text=self._segments(self._parts("text"), "greeting", lambda base: base),
            html=self._segments(self._parts("html"), "greeting_html", escape),
        )
        return Template(segments, _VALUES)

    def _segments(self, parts: Parts, salutation: str, written: Callable[[str], str]) -> Segments:
        """A link's base is everybody's; tokens need neither escaping nor quoting."""
        own: dict[str, Segments] = {
            "salutation": (_SOFT_BREAK, Slot(salutation), _SOFT_BREAK),
            "manage_url": _link(written(self._links.manage), "manage"),
            "unsubscribe_url": _link(written(self._links.unsubscribe), "unsubscribe"),
        }
        made: list[bytes | Slot] = []
        for part in parts:
            made += own[part.name] if isinstance(part, Slot) else (quoted(part),)
        return tuple(made)


def _link(base: str, token: str) -> Segments:
    return (_SOFT_BREAK + quoted(base) + _SOFT_BREAK, Slot(token), _SOFT_BREAK)


@lru_cache(maxsize=1024)
def _subject_line(subject: str) -> bytes:
    """Kept, because a subject that greets its reader says the same to all who gave no name."""
    return header("Subject", subject)


class PreparedSms:
    """One wording for everybody who reads it by SMS and says its `times` alike. `same` is what they all read,
    None when it holds something of the reader's own."""

    def __init__(self, wording: FrozenLike, *, times: Mapping[str, str], links: LinkBases) -> None:
        self._parts = fill(from_json(wording.content["text"]), times)
        self._links = links
        self.same = None if slots(self._parts) else normalise_sms(render_parts(self._parts, {}))

    def text(self, reader: ReaderParts) -> str:
        return normalise_sms(render_parts(self._parts, reader.texts(self._links)))
