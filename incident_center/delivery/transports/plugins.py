"""Our Apprise plugins: one object carries a whole batch, and the outcomes are kept outside of Apprise's result.

The library answers once for the object; each recipient's own outcome is in the ticket (`Posted`). The objects are
made by us, never from a URL with somebody's address in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from email import message_from_bytes
from email.policy import default
from typing import Any, ClassVar

from apprise import Apprise, NotifyBase

from incident_center.delivery.mailbox import MailboxStore
from incident_center.delivery.outcome import Letter, Outcome
from incident_center.delivery.transports.posted import MayGo, Posted
from incident_center.delivery.transports.smtp_pool import SmtpPool
from incident_center.delivery.transports.stock import quiet_asset

# The library's annotations contradict its own plugins (`protocol` is None there, a text in every subclass).
_NotifyBase: Any = NotifyBase


class BatchPlugin(_NotifyBase):  # type: ignore[misc] # see above
    """A batch of letters; `send`, Apprise's call, hands them over."""

    service_name = "Incident Center"
    request_rate_per_sec = 0  # rate limits are the engine's, not a sleep in the library
    body_maxlen = 2**31
    persistent_storage = False

    def __init__(self, **kwargs: Any) -> None:
        asset = quiet_asset()
        super().__init__(asset=asset, **kwargs)
        self._posted: Posted | None = None
        self._apprise = Apprise(asset=asset)
        self._apprise.add(self)

    def post(self, letters: Sequence[Letter], may_go: MayGo) -> Posted:
        """Hands the letters over through one `Apprise.notify()`; the ticket tells what became of each."""
        posted = self._posted = Posted(letters, may_go)
        if letters:
            # The letters are what is sent; the body only makes the library go.
            with self._apprise.notify(body=self.service_name, tag=None):
                self._posted = None
        return posted

    def send(self, *args: Any, **kwargs: Any) -> bool:  # noqa: ARG002 (Apprise's signature)
        """True says that the letters were handed over, not that anybody has taken them."""
        posted = self._posted
        if posted is None:
            return False
        self.hand_over(posted)
        return True

    def hand_over(self, posted: Posted) -> None:
        """One letter after the other."""
        for place, letter in enumerate(posted.letters):
            if posted.stopped or not posted.may_go():
                posted.give_back()
                continue
            # Should the transport itself break, nobody knows how far it came.
            posted.outcomes[place] = Outcome(state="unknown", code="crash", detail="the transport broke off")
            posted.settle(place, self.deliver(letter))

    def deliver(self, letter: Letter) -> Outcome:
        raise NotImplementedError

    def url(self, privacy: bool = False, *args: Any, **kwargs: Any) -> str:  # noqa: ARG002 (Apprise's signature)
        """Nobody's address and no password: Apprise copies this into its results."""
        return f"{self.service_name}://"


class SmtpPlugin(BatchPlugin):
    """smtp:// and smtps://."""

    service_name = "smtp"
    protocol: ClassVar[str] = "smtp"
    secure_protocol: ClassVar[str] = "smtps"

    def __init__(self, pool: SmtpPool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._pool = pool

    def hand_over(self, posted: Posted) -> None:
        """Puts the letters on their way; the answers are collected later."""
        self._pool.post(posted)


class MailboxPlugin(BatchPlugin):
    """demo-mailbox://: keeps the letter in a file on this machine and sends nothing."""

    service_name = "demo-mailbox"
    protocol: ClassVar[str] = "demo-mailbox"

    def __init__(
        self, store: MailboxStore, *, now: Callable[[], datetime], from_line: bytes = b"", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._store, self._now, self._from_line = store, now, from_line

    def deliver(self, letter: Letter) -> Outcome:
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
