"""Couriers: a batch of letters in, one honest outcome each out. All of them hand over through
`Apprise.notify()`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from apprise import Apprise

from incident_center.delivery.mailbox import MailboxStore
from incident_center.delivery.outcome import Letter, Outcome
from incident_center.delivery.transports.plugins import Batch, LetterPlugin, MailboxPlugin, SmtpPlugin
from incident_center.delivery.transports.smtp import SmtpConnection
from incident_center.delivery.transports.smtp_server import SmtpServer
from incident_center.delivery.transports.stock import StockPlugin, quiet_asset

MayGo = Callable[[], bool]


class Courier(Protocol):
    """One provider of one channel, with whatever connection it keeps; not for several threads.

    `send` answers in the order of the letters; None says that a letter was not tried because `may_go` said
    no.
    """

    name: str
    wants_raw: bool

    def send(self, letters: Sequence[Letter], may_go: MayGo) -> list[Outcome | None]: ...

    def close(self) -> None: ...

    def abort(self) -> None:
        """From another thread, when the process must end: gives up waiting for an answer."""


class _OwnPlugins:
    """A row of reusable plugin objects, one a letter, and one `notify()` a batch: results come in their
    order."""

    wants_raw = True

    def __init__(self, name: str, make: Callable[[], LetterPlugin]) -> None:
        self.name = name
        self._make = make
        self._asset = quiet_asset()
        self._row: list[LetterPlugin] = []

    def send(self, letters: Sequence[Letter], may_go: MayGo) -> list[Outcome | None]:
        while len(self._row) < len(letters):
            self._row.append(self._make())
        row = self._row[: len(letters)]
        apprise, batch = Apprise(asset=self._asset), Batch(may_go)
        for plugin, letter in zip(row, letters, strict=True):
            plugin.load(letter, batch)
            apprise.add(plugin)
        with apprise.notify(body=self.name, tag=None):
            outcomes = [plugin.outcome for plugin in row]
        for plugin in row:
            plugin.load(None, None)
        return outcomes


class SmtpCourier(_OwnPlugins):
    """One kept SMTP connection."""

    def __init__(self, name: str, server: SmtpServer) -> None:
        self._connection = SmtpConnection(server)
        asset = quiet_asset()
        super().__init__(name, lambda: SmtpPlugin(self._connection, asset=asset))

    def close(self) -> None:
        self._connection.close()

    def abort(self) -> None:
        self._connection.abort()


class MailboxCourier(_OwnPlugins):
    """The demo's mailbox."""

    def __init__(
        self, name: str, store: MailboxStore, *, now: Callable[[], datetime], from_line: bytes = b""
    ) -> None:
        asset = quiet_asset()
        super().__init__(name, lambda: MailboxPlugin(store, now=now, from_line=from_line, asset=asset))

    def close(self) -> None:
        """Nothing is kept open."""

    def abort(self) -> None:
        """A file does not keep anybody waiting."""


class StockCourier:
    """One of Apprise's own plugins: one `notify()` a letter, because its answer is for the whole object."""

    wants_raw = False

    def __init__(self, name: str, plugin: StockPlugin) -> None:
        self.name = name
        self._plugin = plugin

    def send(self, letters: Sequence[Letter], may_go: MayGo) -> list[Outcome | None]:
        batch = Batch(may_go)
        return [self._one(letter, batch) for letter in letters]

    def _one(self, letter: Letter, batch: Batch) -> Outcome | None:
        if batch.stopped or not batch.may_go():
            return None
        outcome = self._plugin.deliver(letter)
        batch.note(outcome)
        return outcome

    def close(self) -> None:
        """The library opens a connection for each message."""

    def abort(self) -> None:
        """The library waits for 25 seconds at the most."""
