"""smpp:// and smpps://, ours: reads the SMSC's answer to each message, which Apprise's own plugin never does.

A message of several segments is one recipient with one outcome. Its next segment goes out only when the one before
was accepted: a refusal of the first leaves nothing behind, a refusal of a later one leaves an unknown. The last one
names the message and is the only one that the SMSC reports on: nobody has to remember which segments belong together.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar
from zlib import crc32

from incident_center.delivery.outcome import Letter, Outcome
from incident_center.delivery.transports import smpp_pdu as pdu
from incident_center.delivery.transports.http_line import TlsContext
from incident_center.delivery.transports.http_sms import IN_FLIGHT, phone
from incident_center.delivery.transports.plugins import BatchPlugin
from incident_center.delivery.transports.posted import Posted
from incident_center.delivery.transports.smpp_inbox import SmppInbox
from incident_center.delivery.transports.smpp_link import NotBound, SmppLink, SmppServer
from incident_center.delivery.transports.smpp_pdu import Address, Submit
from incident_center.delivery.transports.smpp_status import refused
from incident_center.delivery.transports.smpp_text import segments

_VALIDITY = "000000001500000R"  # 15 minutes from now (SMPP 3.4 §7.1.1.2)
_PROBE_AFTER = 10.0  # SMSCs close idle sessions after 30 s or more
_REBIND_EVERY = 60.0
_LOST = "the connection ended before the server answered"


class _Message:
    """One letter on its way, segment by segment."""

    def __init__(self, place: int, parts: Sequence[bytes]) -> None:
        self.place = place
        self.parts = parts
        self.ids: list[str] = []  # of the accepted segments

    @property
    def complete(self) -> bool:
        return len(self.ids) == len(self.parts)


class _Window:
    """A batch, and which of its messages wait for which answer."""

    def __init__(self, posted: Posted) -> None:
        self.posted = posted
        self.flying: list[tuple[_Message, SmppLink, int]] = []
        self.going_on: list[_Message] = []  # their next segment is due
        self.following = 0

    @property
    def ended(self) -> bool:
        return not self.flying and not self.going_on and self.following == len(self.posted.letters)


class SmppPlugin(BatchPlugin):
    """One kept session, bound as transceiver. `shared`: it waits until `allow` says that the session is this
    worker's."""

    service_name = "smpp"
    protocol: ClassVar[str] = "smpp"
    secure_protocol: ClassVar[str] = "smpps"

    def __init__(
        self,
        server: SmppServer,
        *,
        clock: Callable[[], datetime],
        shared: bool = False,
        tls_context: TlsContext = ssl.create_default_context,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._server = server
        self._sender = sender_address(server.sender)
        self._make_context = tls_context
        self._link: SmppLink | None = None
        self._open: _Window | None = None
        self._aborted = False
        self._allowed = not shared
        self._bound_at = float("-inf")
        self.inbox = SmppInbox(clock, hex_ids=server.hex_ids)

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return self._make_context()

    def hand_over(self, posted: Posted) -> None:
        """Writes the first four messages. An earlier batch ends first: four are in flight, not more."""
        self._end()
        self._open = _Window(posted)
        self._write(self._open)

    def finish(self, posted: Posted) -> None:
        """Until each letter has its outcome."""
        if self._open is not None and self._open.posted is posted:
            self._end()

    def _end(self) -> None:
        window = self._open
        while window is not None and not window.ended:
            self._read(window)
            self._write(window)
        self._open = None
        if not self._allowed:
            self._unbind()

    def listen(self) -> None:
        """Takes in receipts and texts that have arrived. Binds, and keeps the session alive, whether anything is sent
        or not: customers say STOP the day after. Does not wait for more."""
        link = self._link
        if self._open is not None or not self._allowed:
            return
        if link is not None and link.alive:
            link.hear()
            if link.idle > _PROBE_AFTER:
                link.probe()
        elif time.monotonic() - self._bound_at > _REBIND_EVERY:
            with suppress(NotBound):
                self._ready().hear()

    def allow(self, connections: int) -> None:
        """One session, or none: then it ends with the batch that is on its way, so that another worker can bind."""
        self._allowed = connections > 0
        if self._open is None and not self._allowed:
            self._unbind()

    def close(self) -> None:
        """For good: nobody looks into the inbox any more, so the SMSC keeps what it still has."""
        self.inbox.closed = True
        self._unbind()

    def _unbind(self) -> None:
        link, self._link = self._link, None
        if link is not None and link.alive:
            link.unbind()

    def abort(self) -> None:
        self._aborted = True
        if self._link is not None:
            self._link.abort()

    def _ready(self) -> SmppLink:
        """The session, renewed when it is lost. Raises NotBound."""
        if self._aborted:
            raise NotBound(Outcome(state="retry", code="lost", detail="the worker is ending"))
        link = self._link
        if link is not None:
            link.hear()
            if link.alive and (link.idle <= _PROBE_AFTER or link.probe()):
                return link
        self._bound_at = time.monotonic()
        self._link = SmppLink(self._server, self.inbox, lambda: self._context)
        return self._link

    def _write(self, window: _Window) -> None:
        going_on, window.going_on = window.going_on, []
        for message in going_on:
            self._write_segment(window, message)
        posted = window.posted
        while window.following < len(posted.letters) and len(window.flying) < IN_FLIGHT:
            place = window.following
            window.following += 1
            if posted.stopped or not posted.may_go():
                posted.give_back()
                continue
            try:
                message = _Message(place, self._parts(posted.letters[place]))
            except ValueError as error:
                posted.settle(place, Outcome(state="failed", code="address", detail=str(error)))
                continue
            # Should the transport itself break, nobody knows how far it came.
            broke = Outcome(state="unknown", code="crash", detail="the transport broke off")
            posted.outcomes[place] = broke
            self._write_segment(window, message)

    def _parts(self, letter: Letter) -> list[bytes]:
        """The bodies of a letter's submit_sm. Raises ValueError."""
        to = Address(phone(letter).lstrip("+"), 1, 1)
        # The same for each attempt, so that a repeated segment fills the same gap on the phone.
        cut = segments(letter.text, reference=crc32(letter.message_id.encode()) & 0xFF)
        return [
            Submit(
                sender=self._sender,
                to=to,
                octets=octets,
                data_coding=cut.data_coding,
                joined=cut.joined,
                validity=_VALIDITY,
                wants_receipt=place == len(cut.parts),
            ).pack()
            for place, octets in enumerate(cut.parts, start=1)
        ]

    def _write_segment(self, window: _Window, message: _Message) -> None:
        """Sends the next segment; a kept session that turns out to be lost is bound once more."""
        body = message.parts[len(message.ids)]
        for last in (False, True):
            try:
                link = self._ready()
                window.flying.append((message, link, link.request(pdu.SUBMIT_SM, body)))
            except NotBound as error:
                self._settle(window, message, error.outcome)
                return
            except OSError:  # it has not left as a whole
                if last:
                    lost = Outcome(state="retry", code="lost", detail=_LOST, provider_wide=True)
                    self._settle(window, message, lost)
            else:
                return

    def _read(self, window: _Window) -> None:
        flying, window.flying = window.flying, []
        end = time.monotonic() + self._server.answer_timeout
        silent = []
        for message, link, sequence in flying:
            answer = link.answer(sequence, seconds=max(0.0, end - time.monotonic()))
            if answer is not None:
                self._answered(window, message, answer)
            elif link.alive:
                silent.append(link)
                words = "the server did not answer in time"
                self._settle(window, message, Outcome(state="unknown", code="timeout", detail=words))
            else:
                self._settle(window, message, Outcome(state="unknown", code="lost", detail=_LOST))
        for link in silent:
            link.drop()  # what it may still say would be taken for an answer to something else

    def _answered(self, window: _Window, message: _Message, answer: pdu.Pdu) -> None:
        if answer.status != pdu.OK:
            self._settle(window, message, refused(answer.status))
            return
        identity = pdu.message_id(answer.body)
        if not identity:
            words = "the provider said yes but named no message"
            self._settle(window, message, Outcome(state="unknown", code="SMPP no-id", detail=words))
            return
        message.ids.append(identity)
        if not message.complete:
            window.going_on.append(message)
            return
        reference = (pdu.from_hex(identity) if self._server.hex_ids else identity)[:200]
        window.posted.settle(
            message.place, Outcome(state="accepted", code="SMPP 0x00", provider_ref=reference)
        )

    def _settle(self, window: _Window, message: _Message, outcome: Outcome) -> None:
        """What is not accepted; a message whose first part is already on its way may arrive in part."""
        if message.ids and outcome.state != "unknown":
            words = f"the first part was accepted, a later one was not: {outcome.detail}"
            outcome = Outcome(
                state="unknown", code=outcome.code, detail=words, provider_ref=message.ids[0][:200]
            )
        window.posted.settle(message.place, outcome)


def sender_address(sender: str) -> Address:
    """A number in international form, a short code, or a name."""
    digits = sender.removeprefix("+")
    if re.fullmatch(r"[0-9]{3,6}", digits):
        return Address(digits, 0, 0)
    if digits.isdigit():
        return Address(digits, 1, 1)
    return Address(sender, 5, 0)
