"""Connections that are being opened, each in a thread of its own, and the bell that wakes the loop."""

from __future__ import annotations

import selectors
import socket
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

from incident_center.delivery.outcome import Outcome
from incident_center.delivery.transports.smtp_open import NotOpened, Opened, Opener


class Openings:
    """What `arrived` yields was opened, or tells why it was not. `woken` becomes readable when the loop should
    look."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        self._lock = threading.Lock()
        self._results: deque[Opened | Outcome] = deque()
        self._generation = 0  # an opening that began before a `close` is not used afterwards
        self.under_way = 0
        self.woken, self._waker = _pair()

    def start(self) -> None:
        self.under_way += 1
        # A daemon: a process that ends does not wait for a server that does not answer.
        threading.Thread(target=self._open, args=(self._generation,), name="smtp-open", daemon=True).start()

    def arrived(self) -> Iterator[Opened | Outcome]:
        with suppress(BlockingIOError):
            self.woken.recv(4096)
        while self._results:
            self.under_way -= 1
            yield self._results.popleft()

    def ring(self) -> None:
        """From any thread."""
        with self._lock, suppress(OSError):
            self._waker.send(b"!")

    def close(self) -> None:
        """What is still being opened is closed as soon as it is there."""
        with self._lock:
            self._generation += 1
            results = list(self._results)
            self._results.clear()
            self.under_way = 0
            self._waker.close()
            self.woken.close()
        for result in results:
            if isinstance(result, Opened):
                result.close()

    def _open(self, generation: int) -> None:
        result: Opened | Outcome
        try:
            result = self._opener.open()
        except NotOpened as problem:
            result = problem.outcome
        except Exception as error:  # noqa: BLE001 (the letters that wait for this must hear of it)
            words = f"the transport broke off ({type(error).__name__})"
            result = Outcome(state="retry", code="connect", detail=words, provider_wide=True)
        with self._lock:
            current = generation == self._generation
            if current:
                self._results.append(result)
        if current:
            self.ring()
        elif isinstance(result, Opened):
            result.close()


class Loop:
    """What a pool holds open while it is in use, besides its connections; `woken` is registered without data."""

    def __init__(self, opener: Opener) -> None:
        self.openings = Openings(opener)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.openings.woken, selectors.EVENT_READ, None)


def _pair() -> tuple[socket.socket, socket.socket]:
    woken, waker = socket.socketpair()
    woken.setblocking(False)
    waker.setblocking(False)
    return woken, waker
