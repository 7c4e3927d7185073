"""A TCP proxy before a broker: it can cut every connection, and refuse new ones, as a broker does that restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

from tests.support.listening import stop_listening


class Proxy:
    def __init__(self, target: int) -> None:
        self.target, self.port, self.cuts, self.passed = target, 0, 0, 0
        self._closed = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()

    def cut(self, *, stay_away: bool = False) -> None:
        """Ends what is connected; with `stay_away` nobody gets in until `open`."""
        self._closed = stay_away
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(5)

    def open(self) -> None:
        self._closed = False

    async def _cut(self) -> None:
        self.cuts += len(self._writers) // 2
        for writer in list(self._writers):
            writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closed:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self.passed += 1
        self._writers |= {writer, back}
        await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        self._writers -= {writer, back}

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def serve(self) -> None:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def run(self) -> None:
        self._loop.run_forever()

    def end(self) -> None:
        """Leaves nothing open behind: a socket that is collected later would be a warning."""

        async def _end() -> None:
            await stop_listening(self._server)
            await self._cut()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(_end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)

    def start(self) -> Thread:
        """Everything in a thread of its own: a browser test before may have left its loop running in this one."""
        thread = Thread(target=self.run, name="proxy", daemon=True)
        thread.start()
        asyncio.run_coroutine_threadsafe(self.serve(), self._loop).result(10)
        return thread


@contextmanager
def proxied(target: int) -> Iterator[Proxy]:
    proxy = Proxy(target)
    thread = proxy.start()
    try:
        yield proxy
    finally:
        proxy.end()
        thread.join(10)
        proxy._loop.close()
