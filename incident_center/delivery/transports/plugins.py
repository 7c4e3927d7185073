"""Our Apprise plugins: SMTP step by step, and the demo's mailbox.

Each object carries one letter and keeps that letter's outcome; a batch is a row of them in one
`Apprise.notify()`. They are made by us, never from a URL with somebody's address in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes
from email.policy import default
from typing import Any, ClassVar

from apprise import NotifyBase

from incident_center.delivery.mailbox import MailboxStore
from incident_center.delivery.outcome import Letter, Outcome
from incident_center.delivery.transports.smtp import SmtpConnection

_GIVE_UP_AFTER = 3  # refusals in a row that are not about a recipient
_STOPPERS = ("connect", "tls", "timeout")  # each of these costs seconds or minutes; the next one would too


@dataclass
class Batch:
    """What the letters of one batch share: when to stop, and why."""

    may_go: Callable[[], bool]
    refusals: int = 0
    stopped: bool = False

    def note(self, outcome: Outcome) -> None:
        slow = outcome.code.startswith(_STOPPERS)
        self.refusals = self.refusals + 1 if outcome.provider_wide else 0
        if slow or self.refusals >= _GIVE_UP_AFTER:
            self.stopped = True  # the others are not tried, and are due as before


# The library's annotations contradict its own plugins (`protocol` is None there, a text in every subclass).
_NotifyBase: Any = NotifyBase


class LetterPlugin(_NotifyBase):  # type: ignore[misc] # see above
    """One letter for one recipient; `outcome` stays None when it was not tried."""

    service_name = "Incident Center"
    request_rate_per_sec = 0  # rate limits are the engine's, not a sleep in the library
    body_maxlen = 2**31
    persistent_storage = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.letter: Letter | None = None
        self.outcome: Outcome | None = None
        self.batch: Batch | None = None

    def load(self, letter: Letter | None, batch: Batch | None) -> None:
        self.letter, self.batch, self.outcome = letter, batch, None

    def send(self, *args: Any, **kwargs: Any) -> bool:  # noqa: ARG002 (Apprise's signature)
        """Apprise's call. The letter is what is sent; the body only makes the library go."""
        letter, batch = self.letter, self.batch
        if letter is None or batch is None or batch.stopped or not batch.may_go():
            return False
        # Should the transport itself break, nobody knows how far it came.
        self.outcome = Outcome(state="unknown", code="crash", detail="the transport broke off")
        self.outcome = self.hand_over(letter)
        batch.note(self.outcome)
        return self.outcome.state == "accepted"

    def hand_over(self, letter: Letter) -> Outcome:
        raise NotImplementedError

    def url(self, privacy: bool = False, *args: Any, **kwargs: Any) -> str:  # noqa: ARG002 (Apprise's signature)
        """Nobody's address and no password: Apprise copies this into its results."""
        return f"{self.service_name}://"


class SmtpPlugin(LetterPlugin):
    """smtp:// and smtps://. The objects of a batch share one kept connection."""

    service_name = "smtp"
    protocol: ClassVar[str] = "smtp"
    secure_protocol: ClassVar[str] = "smtps"

    def __init__(self, connection: SmtpConnection, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._connection = connection

    def hand_over(self, letter: Letter) -> Outcome:
        return self._connection.deliver(letter)


class MailboxPlugin(LetterPlugin):
    """demo-mailbox://: keeps the letter in a file on this machine and sends nothing."""

    service_name = "demo-mailbox"
    protocol: ClassVar[str] = "demo-mailbox"

    def __init__(
        self, store: MailboxStore, *, now: Callable[[], datetime], from_line: bytes = b"", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._store, self._now, self._from_line = store, now, from_line

    def hand_over(self, letter: Letter) -> Outcome:
        raw = self._from_line + b"\r\n" + letter.raw if letter.raw else b""
        text, html = _bodies(raw) if raw else (letter.text, letter.html or "")
        number = self._store.add(
            channel=letter.channel.value,
            to=letter.to,
            subject=letter.subject or "",
            raw=raw,
            text=text,
            html=html,
            at=self._now(),
        )
        return Outcome(state="accepted", code="250", provider_ref=str(number))


def _bodies(raw: bytes) -> tuple[str, str]:
    """The text and the HTML part as a mail program would show them."""
    mail = message_from_bytes(raw, policy=default)
    parts = [mail.get_body((kind,)) for kind in ("plain", "html")]
    text, html = (part.get_content() if part is not None else "" for part in parts)
    return text, html
