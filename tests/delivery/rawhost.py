"""An SMTP server without manners, for what a polite one never does: it can be told to fail at any step of any letter,
to accept DATA for nobody, to answer a byte at a time, and whether to offer PIPELINING."""

from __future__ import annotations

import asyncio
import inspect
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.delivery.servers import DROP, HANG, Mail
from tests.support.listening import stop_listening

KEEP_AND_DROP = "keep and drop"  # at the dot: the message is stored, and nobody is told
WAIT = "wait"  # until the gate is open
_FINE = {"250", "251", "354"}


class _Dropped(Exception):
    """The conversation ends here."""


@dataclass
class Rawhost:
    """`replies` is asked with the step (ehlo, mail, rcpt, data, body, dot) and the recipient, as far as one is
    known."""

    replies: Callable[[str, str], str | None] = lambda *_: None
    pipelining: bool = True
    size: int = 0
    data_for_nobody: bool = False
    dribble: bool = False
    most_connections: int = 1000
    tls: ssl.SSLContext | None = None
    starttls: bool = False
    port: int = 0
    # Not given at the start, and so not shown by Hypothesis: after thousands of mails it could not say what failed.
    mails: list[Mail] = field(default_factory=list, init=False)
    commands: list[tuple[int, str]] = field(default_factory=list, init=False)
    connections: int = 0
    live: int = 0
    waits: int = 0  # how often it had answered everything, and more came
    stored: Callable[[str], None] = lambda _: None
    gate: threading.Event = field(default_factory=threading.Event)
    _loop: asyncio.AbstractEventLoop | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        return self._url("&timeout=30&dot_timeout=30")

    @property
    def hasty_url(self) -> str:
        """For whoever tests a timeout."""
        return self._url("&timeout=2&dot_timeout=1")

    def _url(self, patience: str) -> str:
        scheme = "smtps" if self.tls and not self.starttls else "smtp"
        return f"{scheme}://127.0.0.1:{self.port}?from=status@pay.example{patience}"

    def recipients(self) -> list[str]:
        return [mail.recipient for mail in self.mails]

    def close_connections(self) -> None:
        """As when the server is started again."""
        assert self._loop is not None
        done = threading.Event()

        def close() -> None:
            for writer in self._writers:
                writer.close()
            self._loop.call_later(0.05, done.set)  # type: ignore[union-attr] # asserted above

        self._loop.call_soon_threadsafe(close)
        assert done.wait(5)


class _Conversation:
    def __init__(self, host: Rawhost, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.host, self.reader, self.writer = host, reader, writer
        self.number = host.connections
        self.recipient = ""
        self.sender = False
        self.buffer = b""
        self.secure = host.tls is not None and not host.starttls

    async def run(self) -> None:
        if self.host.live > self.host.most_connections:
            await self.say("421 4.7.0 too many connections")
            return
        await self.say("220 raw.example")
        while line := await self.line():
            self.host.commands.append((self.number, line))
            verb = line[:4].upper()
            if verb == "QUIT":
                await self.say("221 bye")
                return
            if verb == "STAR":
                await self.start_tls()
            else:
                await self.answer(verb, line)

    async def start_tls(self) -> None:
        assert self.host.tls is not None
        await self.say("220 go ahead")
        await self.writer.start_tls(self.host.tls)
        self.secure = True

    async def answer(self, verb: str, line: str) -> None:
        if verb == "EHLO":
            await self.step("ehlo", self.features())
        elif verb == "RSET":
            self.sender, self.recipient = False, ""
            await self.say("250 2.0.0 flushed")
        elif verb == "MAIL":
            self.sender = await self.step("mail", "250 2.1.0 ok", self.ahead())
        elif verb == "RCPT":
            named = line[9:].partition(">")[0]
            if not self.sender:
                await self.say("503 5.5.1 MAIL first")
            elif await self.step("rcpt", "250 2.1.5 ok", named):
                self.recipient = named
        elif verb == "DATA":
            await self.data()
        else:
            await self.say("502 5.5.2 what?")

    async def data(self) -> None:
        if not self.recipient and not (self.host.data_for_nobody and self.sender):
            await self.say("503 5.5.1 RCPT first")
        elif await self.step("data", "354 go on", self.recipient):
            content = await self.content()
            recipient, self.recipient, self.sender = self.recipient, "", False
            if not recipient:
                await self.say("554 5.5.1 no valid recipients")
            else:
                await self.dot(recipient, content)

    async def dot(self, recipient: str, content: bytes) -> None:
        answer = self.host.replies("dot", recipient)
        if answer == KEEP_AND_DROP:
            self.store(recipient, content)
            raise _Dropped
        odd = answer is not None and answer[:3] in _FINE
        if odd:  # whatever it says, it stores first: who has heard it may count at once
            self.store(recipient, content)
        if await self.step("dot", "", recipient):
            if not odd:
                self.store(recipient, content)
            await self.say(f"250 2.0.0 Ok: queued as Q{len(self.host.mails):05}")

    def store(self, recipient: str, content: bytes) -> None:
        self.host.mails.append(Mail(recipient, content))
        self.host.stored(recipient)

    async def step(self, name: str, fine: str, recipient: str = "") -> bool:
        answer = self.host.replies(name, recipient)
        if answer == DROP:
            self.writer.transport.abort()
            raise _Dropped
        if answer == HANG:
            await asyncio.sleep(30)
            raise _Dropped
        while answer == WAIT and not self.host.gate.is_set():  # noqa: ASYNC110 (another thread opens the gate)
            await asyncio.sleep(0.005)
        if answer not in {None, WAIT}:
            await self.say(answer)
            if answer.startswith("421"):
                raise _Dropped
            return answer[:3] in _FINE
        if fine:
            await self.say(fine)
        return True

    def features(self) -> str:
        names = ["raw.example", "8BITMIME", "SMTPUTF8"]
        if self.host.pipelining:
            names.append("PIPELINING")
        if self.host.size:
            names.append(f"SIZE {self.host.size}")
        if self.host.starttls and not self.secure:
            names.append("STARTTLS")
        return "\r\n".join(f"250{'-' if name is not names[-1] else ' '}{name}" for name in names)

    def ahead(self) -> str:
        """The recipient that stands behind this MAIL, when it came in the same write."""
        line = self.buffer.partition(b"\r\n")[0]
        return line[9:].partition(b">")[0].decode() if line[:9].upper() == b"RCPT TO:<" else ""

    async def say(self, words: str) -> None:
        data = words.encode() + b"\r\n"
        for piece in [data[place : place + 1] for place in range(len(data))] if self.host.dribble else [data]:
            self.writer.write(piece)
            await self.writer.drain()
            if self.host.dribble:
                await asyncio.sleep(0)

    async def line(self) -> str:
        while b"\r\n" not in self.buffer:
            if not await self.fill():
                return ""
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line.decode()

    async def content(self) -> bytes:
        """Until the dot; the stuffing undone."""
        self.buffer = b"\r\n" + self.buffer
        answered = False
        while b"\r\n.\r\n" not in self.buffer:
            if not await self.fill():
                raise _Dropped
            if not answered and not await self.step("body", "", self.recipient):
                raise _Dropped
            answered = True
        content, _, self.buffer = self.buffer.partition(b"\r\n.\r\n")
        return (content + b"\r\n").replace(b"\r\n..", b"\r\n.")[2:]

    async def fill(self) -> bool:
        empty = self.buffer in {b"", b"\r\n"}
        more = await self.reader.read(65536)
        self.host.waits += empty and more != b""
        self.buffer += more
        return bool(more)


async def _talk(host: Rawhost, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    host.connections += 1
    host.live += 1
    host._writers.add(writer)
    try:
        with suppress(OSError, _Dropped, asyncio.CancelledError):
            await _Conversation(host, reader, writer).run()
    finally:
        host.live -= 1
        host._writers.discard(writer)
        writer.close()
        with suppress(OSError, asyncio.CancelledError):
            await writer.wait_closed()


async def _stop(host: Rawhost, server: asyncio.Server) -> None:
    """Ends every conversation, that of a connection included which is being taken just now.

    Round by round until nothing runs: a task that takes a connection is followed by the one that talks over it, and
    a task that is cancelled before its first step never learns of its connection, and leaves it open.
    """
    await stop_listening(server)
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        for writer in list(host._writers):
            writer.transport.abort()
        for task in others:
            if not _has_not_begun(task):
                task.cancel()
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)  # what they closed is closed in the rounds after this one


def _has_not_begun(task: asyncio.Task[Any]) -> bool:
    coroutine: Any = task.get_coro()
    return inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED


@contextmanager
def rawhost(
    *,
    pipelining: bool = True,
    size: int = 0,
    tls: ssl.SSLContext | None = None,
    starttls: bool = False,
    most_connections: int = 1000,
) -> Iterator[Rawhost]:
    host = Rawhost(
        pipelining=pipelining, size=size, tls=tls, starttls=starttls, most_connections=most_connections
    )
    started = threading.Event()
    loop = asyncio.new_event_loop()
    host._loop = loop

    async def serve() -> asyncio.Server:
        server = await asyncio.start_server(
            partial(_talk, host), "127.0.0.1", 0, ssl=None if starttls else tls
        )
        host.port = server.sockets[0].getsockname()[1]
        started.set()
        return server

    def run() -> None:
        asyncio.set_event_loop(loop)
        server = loop.run_until_complete(serve())
        loop.run_forever()
        loop.run_until_complete(_stop(host, server))
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield host
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def a_certificate(folder: Path) -> Path:
    """A key and a certificate for 127.0.0.1 in one file, signed by itself."""
    made = folder / "server.pem"
    key = folder / "key.pem"
    certificate = folder / "certificate.pem"
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1 "
        f"-addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}".split(),
        check=True,
        capture_output=True,
    )
    made.write_text(key.read_text() + certificate.read_text())
    return made
