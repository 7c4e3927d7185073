"""Couriers for SMS over our own plugins: up to four messages on the wire, one honest outcome each."""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy.exc import DataError, DBAPIError

from incident_center.delivery.courier import StandsStill
from incident_center.delivery.limits import NO_LIMITS, ProviderLimits
from incident_center.delivery.outcome import Letter, Outcome
from incident_center.delivery.transports.http_line import TlsContext
from incident_center.delivery.transports.http_sms import IN_FLIGHT, HttpSmsPlugin, SmsApi
from incident_center.delivery.transports.posted import MayGo, Posted
from incident_center.delivery.transports.smpp import SmppPlugin
from incident_center.delivery.transports.smpp_inbox import SmppReceipt, Text
from incident_center.delivery.transports.smpp_link import SmppServer

Item = TypeVar("Item")


class _SmsCourier(StandsStill):
    """What both have in common: a batch is written by `post`, its answers are read by `collect`."""

    wants_raw = False

    def __init__(self, name: str, plugin: HttpSmsPlugin | SmppPlugin, limits: ProviderLimits) -> None:
        self.name = name
        self.limits = limits
        self._handover = plugin

    def post(self, letters: Sequence[Letter], may_go: MayGo) -> Posted:
        return self._handover.post(letters, may_go)

    def collect(self, posted: Posted) -> list[Outcome | None]:
        self._handover.finish(posted)
        return posted.outcomes

    def send(self, letters: Sequence[Letter], may_go: MayGo) -> list[Outcome | None]:
        return self.collect(self.post(letters, may_go))

    def allow(self, connections: int) -> None:
        self._handover.allow(connections)

    def close(self) -> None:
        self._handover.close()

    def abort(self) -> None:
        self._handover.abort()


class HttpSmsCourier(_SmsCourier):
    """Twilio or Vonage over kept HTTPS connections."""

    def __init__(
        self,
        name: str,
        api: SmsApi,
        *,
        limits: ProviderLimits = NO_LIMITS,
        tls_context: TlsContext = ssl.create_default_context,
    ) -> None:
        plugin = HttpSmsPlugin(api, connections=limits.connections or IN_FLIGHT, tls_context=tls_context)
        super().__init__(name, plugin, limits)


class SmppCourier(_SmsCourier):
    """A mobile operator's message centre over one kept session, which also brings receipts and texts."""

    def __init__(
        self,
        name: str,
        server: SmppServer,
        *,
        clock: Callable[[], datetime],
        limits: ProviderLimits = NO_LIMITS,
        tls_context: TlsContext = ssl.create_default_context,
    ) -> None:
        self._plugin = SmppPlugin(
            server, clock=clock, shared=limits.connections is not None, tls_context=tls_context
        )
        super().__init__(name, self._plugin, limits)

    def listen(self) -> None:
        """Keeps the session up and takes in what has arrived on it; does not wait for more."""
        self._plugin.listen()

    def receipts(self, keep: Callable[[SmppReceipt], object]) -> None:
        """Gives `keep` each receipt that has been taken in, and lets go of it afterwards."""
        _take_each(self._plugin.inbox.receipts, keep)

    def texts(self, answer: Callable[[Text], object]) -> None:
        """Gives `answer` each text that a customer has sent (number, words), and lets go of it afterwards."""
        _take_each(self._plugin.inbox.texts, answer)


def _take_each(waiting: deque[Item], deed: Callable[[Item], object]) -> None:
    """Takes each one out once its deed is done: the SMSC has been told that we have it. While the database is away it
    stays, and all behind it; whatever else the deed fails at, it would fail at again."""
    while waiting:
        try:
            deed(waiting[0])
        except DBAPIError as error:
            if isinstance(error, DataError):
                waiting.popleft()
            raise
        except Exception:
            waiting.popleft()
            raise
        waiting.popleft()
