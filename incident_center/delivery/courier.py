"""Couriers: a batch of letters in, one honest outcome each out. All of them hand over through
`Apprise.notify()`.

A batch is posted first and collected later: what is posted while another batch is collected keeps the wire busy.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from incident_center.delivery.limits import NO_LIMITS, ProviderLimits
from incident_center.delivery.mailbox import MailboxStore
from incident_center.delivery.outcome import Letter, Outcome
from incident_center.delivery.transports.plugins import BatchPlugin, MailboxPlugin, SmtpPlugin
from incident_center.delivery.transports.posted import MayGo, Posted
from incident_center.delivery.transports.smtp_pool import SmtpPool
from incident_center.delivery.transports.smtp_server import SmtpServer
from incident_center.delivery.transports.stock import StockPlugin
from incident_center.exchange import wait_for

__all__ = ["Courier", "MailboxCourier", "MayGo", "Posted", "SmtpCourier", "StandsStill", "StockCourier"]


class Courier(Protocol):
    """One provider of one channel, with whatever connections it keeps; not for several threads.

    Outcomes come in the order of the letters; None says that a letter was not tried, because `may_go` said
    no or the provider was given up.
    """

    name: str
    wants_raw: bool
    limits: ProviderLimits

    def post(self, letters: Sequence[Letter], may_go: MayGo) -> Posted:
        """Hands the letters over, without waiting for answers where the transport can. Several tickets may be
        open."""

    def collect(self, posted: Posted) -> list[Outcome | None]:
        """Waits until each letter of the ticket has its outcome; the other tickets' letters move on meanwhile."""

    def send(self, letters: Sequence[Letter], may_go: MayGo) -> list[Outcome | None]:
        """Both at once."""

    def move_on(self) -> None:
        """Lets what is under way go on without waiting for it; for whoever is about to be busy elsewhere."""

    def until_readable(self, socket: int) -> None:
        """Lets it go on until something can be read from that socket."""

    def rest(self, seconds: float) -> None:
        """Lets it go on for so long."""

    def allow(self, connections: int) -> None:
        """This worker's share of the connections that the settings allow to all of them; takes hold bit by bit."""

    def close(self) -> None: ...

    def abort(self) -> None:
        """From another thread, when the process must end: gives up waiting for an answer."""


class StandsStill:
    """Between two calls nothing moves on."""

    def move_on(self) -> None:
        """There is nothing to see to."""

    def until_readable(self, socket: int) -> None:
        """There is nothing to do meanwhile."""
        wait_for(socket)

    def rest(self, seconds: float) -> None:
        """There is nothing to do meanwhile."""
        time.sleep(seconds)


class _OwnCourier(StandsStill):
    """One plugin object of ours that carries the whole batch."""

    wants_raw = True
    limits = NO_LIMITS

    def __init__(self, name: str, plugin: BatchPlugin) -> None:
        self.name = name
        self._plugin = plugin

    def post(self, letters: Sequence[Letter], may_go: MayGo) -> Posted:
        return self._plugin.post(letters, may_go)

    def collect(self, posted: Posted) -> list[Outcome | None]:
        return posted.outcomes

    def send(self, letters: Sequence[Letter], may_go: MayGo) -> list[Outcome | None]:
        return self.collect(self.post(letters, may_go))

    def allow(self, connections: int) -> None:
        """What keeps no connections has none to share."""


class SmtpCourier(_OwnCourier):
    """A mail server, over several kept connections."""

    def __init__(
        self, name: str, server: SmtpServer, *, tls_context: Callable[[], ssl.SSLContext] | None = None
    ) -> None:
        self._pool = SmtpPool(server, tls_context=tls_context)
        super().__init__(name, SmtpPlugin(self._pool))

    def collect(self, posted: Posted) -> list[Outcome | None]:
        self._pool.wait(posted)
        return posted.outcomes

    def move_on(self) -> None:
        self._pool.move_on()

    def until_readable(self, socket: int) -> None:
        self._pool.until_readable(socket)

    def rest(self, seconds: float) -> None:
        self._pool.rest(seconds)

    def allow(self, connections: int) -> None:
        self._pool.allow(connections)

    def close(self) -> None:
        self._pool.close()

    def abort(self) -> None:
        self._pool.abort()


class MailboxCourier(_OwnCourier):
    """The demo's mailbox."""

    def __init__(
        self, name: str, store: MailboxStore, *, now: Callable[[], datetime], from_line: bytes = b""
    ) -> None:
        super().__init__(name, MailboxPlugin(store, now=now, from_line=from_line))

    def close(self) -> None:
        """Nothing is kept open."""

    def abort(self) -> None:
        """A file does not keep anybody waiting."""


class StockCourier(StandsStill):
    """One of Apprise's own plugins: one `notify()` a letter, because its answer is for the whole object."""

    wants_raw = False
    limits = NO_LIMITS

    def __init__(self, name: str, plugin: StockPlugin) -> None:
        self.name = name
        self._plugin = plugin

    def post(self, letters: Sequence[Letter], may_go: MayGo) -> Posted:
        posted = Posted(letters, may_go)
        for place, letter in enumerate(letters):
            if posted.stopped or not may_go():
                posted.give_back()
            else:
                posted.settle(place, self._plugin.deliver(letter))
        return posted

    def collect(self, posted: Posted) -> list[Outcome | None]:
        return posted.outcomes

    def send(self, letters: Sequence[Letter], may_go: MayGo) -> list[Outcome | None]:
        return self.collect(self.post(letters, may_go))

    def allow(self, connections: int) -> None:
        """One at a time, whatever is allowed."""

    def close(self) -> None:
        """The library opens a connection for each message."""

    def abort(self) -> None:
        """The library waits for 25 seconds at the most."""
