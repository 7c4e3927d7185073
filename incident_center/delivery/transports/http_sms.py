"""SMS over HTTPS: the requests of a batch go out side by side on kept connections, then the answers are read."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol

from incident_center.delivery.outcome import Letter, Outcome
from incident_center.delivery.transports.http_answers import unanswered, unsent
from incident_center.delivery.transports.http_line import (
    HttpAnswer,
    HttpLine,
    HttpRequest,
    HttpServer,
    TlsContext,
    Unanswered,
    Unsent,
    answers_until,
)
from incident_center.delivery.transports.plugins import BatchPlugin
from incident_center.delivery.transports.posted import Posted

IN_FLIGHT = 4  # a killed worker leaves at most so many messages unknown
VALID_SECONDS = 900  # an old text that arrives after newer news does harm
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")  # E.164


@dataclass(frozen=True)
class ReceiptUrls:
    """Where a provider reports to: `base`, and behind it a signed reference to the message."""

    base: str
    reference: Callable[[str], str]

    def of(self, letter: Letter) -> tuple[str, str]:
        """The whole URL, and the reference alone."""
        reference = self.reference(letter.message_id)
        return f"{self.base}/{reference}", reference


class SmsApi(Protocol):
    """One provider's way to ask and to answer."""

    @property
    def schema(self) -> str: ...

    @property
    def server(self) -> HttpServer: ...

    def request(self, letter: Letter) -> HttpRequest: ...

    def outcome(self, answer: HttpAnswer) -> Outcome: ...


def phone(letter: Letter) -> str:
    """The stored number. Raises ValueError for anything that is not E.164."""
    if not _PHONE.fullmatch(letter.to):
        raise ValueError("is no phone number in international form")
    return letter.to


class _Flight:
    """A batch, and which of its letters wait for an answer on which line."""

    def __init__(self, posted: Posted) -> None:
        self.posted = posted
        self.flying: list[tuple[int, HttpLine]] = []
        self.following = 0  # the first letter that was not looked at

    @property
    def ended(self) -> bool:
        return not self.flying and self.following == len(self.posted.letters)


class HttpSmsPlugin(BatchPlugin):
    """twilio:// and vonage://, ours. One TLS context for its life: loading the certificates costs 25 ms."""

    protocol: ClassVar[None] = None

    def __init__(
        self,
        api: SmsApi,
        *,
        connections: int = IN_FLIGHT,
        tls_context: TlsContext = ssl.create_default_context,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.service_name = api.schema
        self.secure_protocol = api.schema
        self._api = api
        self._make_context = tls_context
        self._lines = [
            HttpLine(api.server, lambda: self._context) for _ in range(max(1, min(connections, IN_FLIGHT)))
        ]
        self._allowed = len(self._lines)
        self._open: _Flight | None = None

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return self._make_context()

    def hand_over(self, posted: Posted) -> None:
        """Writes as many requests as there are lines. An earlier batch ends first: the lines are its own."""
        self._end()
        self._open = _Flight(posted)
        self._write(self._open)

    def finish(self, posted: Posted) -> None:
        """Until each letter has its outcome."""
        if self._open is not None and self._open.posted is posted:
            self._end()

    def _end(self) -> None:
        flight = self._open
        while flight is not None and not flight.ended:
            self._read(flight)
            self._write(flight)
        self._open = None

    def allow(self, connections: int) -> None:
        """Called between batches. Lines beyond that are closed, and used no more until more are allowed."""
        self._allowed = max(1, min(connections, len(self._lines)))
        for line in self._lines[self._allowed :]:
            line.close()

    def close(self) -> None:
        for line in self._lines:
            line.close()

    def abort(self) -> None:
        for line in self._lines:
            line.abort()

    def _write(self, flight: _Flight) -> None:
        free, posted = iter(self._lines[: self._allowed]), flight.posted
        while flight.following < len(posted.letters):
            place = flight.following
            if posted.stopped or not posted.may_go():
                flight.following += 1
                posted.give_back()
                continue
            line = next(free, None)
            if line is None:
                return
            flight.following += 1
            self._write_one(flight, place, line)

    def _write_one(self, flight: _Flight, place: int, line: HttpLine) -> None:
        try:
            request = self._api.request(flight.posted.letters[place])
        except ValueError as error:
            flight.posted.settle(place, Outcome(state="failed", code="address", detail=str(error)))
            return
        # Should the transport itself break, nobody knows how far it came.
        flight.posted.outcomes[place] = Outcome(
            state="unknown", code="crash", detail="the transport broke off"
        )
        try:
            line.write(request)
        except Unsent as error:
            flight.posted.settle(place, unsent(error))
        else:
            flight.flying.append((place, line))

    def _read(self, flight: _Flight) -> None:
        flying, flight.flying = flight.flying, []
        until = answers_until()
        for place, line in flying:
            try:
                outcome = self._api.outcome(line.read(until))
            except Unanswered as error:
                outcome = unanswered(error)
            flight.posted.settle(place, outcome)
