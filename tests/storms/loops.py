"""What the programmable servers have in common: a loop in a thread, and what can be done at a step."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.listening import stop_listening


@dataclass(frozen=True)
class Reply:
    """This instead of the usual answer; the conversation goes on."""

    words: str


@dataclass(frozen=True)
class Drop:
    """The connection ends without a word, as when a server dies."""


@dataclass(frozen=True)
class Hang:
    """Nothing for so long, then as usual."""

    seconds: float


@dataclass(frozen=True)
class Run:
    """Does something (such as killing the client), then goes on as usual."""

    deed: Callable[[], None]


class Talk(asyncio.Protocol):
    """One connection of a server; `work` goes on with what has come, until it waits or ends."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.waits = self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.begin()

    def connection_lost(self, _: Exception | None) -> None:
        self.ended = True

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.work()

    def begin(self) -> None:
        raise NotImplementedError

    def work(self) -> None:
        raise NotImplementedError

    def flush(self) -> None:
        """Writes what has been said, for those who collect it."""

    def usual(self, act: Drop | Hang | Run | None, after: Callable[[], None] | None) -> bool:
        """Does what the plan says; False when the usual answer must not follow now.

        `after` is what a server that hangs does once it has come to itself.
        """
        match act:
            case Drop():
                self.flush()
                self.ended = True
                self.transport.abort()
            case Hang(seconds):
                self.flush()
                self.waits = True
                asyncio.get_running_loop().call_later(seconds, self._go_on, after)
            case Run(deed):
                deed()
                return True
            case None:
                return True
        return False

    def _go_on(self, after: Callable[[], None] | None) -> None:
        self.waits = False
        if not self.ended:
            if after is not None:
                after()
            self.work()


@contextmanager
def serving(talk: Callable[[], Talk], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server on a free port of this machine, in a thread; its port. `talk` makes what serves a connection."""
    loop = asyncio.new_event_loop()
    open_now: list[Talk] = []
    thread = threading.Thread(target=loop.run_forever, name="storm server", daemon=True)
    thread.start()
    server: asyncio.Server = asyncio.run_coroutine_threadsafe(
        loop.create_server(lambda: _registered(talk(), open_now), "127.0.0.1", 0, backlog=200, ssl=tls), loop
    ).result(10)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(_close(server, open_now), loop).result(10)
        asyncio.run_coroutine_threadsafe(loop.shutdown_asyncgens(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def _registered(connection: Talk, known: list[Talk]) -> Talk:
    known[:] = [one for one in known if not one.ended]
    known.append(connection)
    return connection


async def _close(server: asyncio.Server, known: list[Talk]) -> None:
    await stop_listening(server)
    await asyncio.sleep(0)  # who was taken last has a transport now
    for connection in known:
        if not connection.ended and hasattr(connection, "transport"):  # TLS came about
            connection.ended = True
            connection.transport.abort()
    await asyncio.sleep(0.01)  # the loop closes aborted sockets in its next round
