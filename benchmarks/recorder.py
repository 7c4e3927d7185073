"""A relay that remembers: who got which message, in which order and when. In a process of its own.

    python -m benchmarks.recorder PORT LOG [--keep FOLDER --first 12]

One line a message, written when its final dot arrives and before it is answered: seconds since 1970, recipient,
Message-ID, bytes. With --keep the first messages are kept whole. It offers PIPELINING, as relays do.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, cast

from benchmarks.relay import ROOT, Served

_MESSAGE_ID = re.compile(rb"^message-id:\s*(<[^>]+>)", re.IGNORECASE | re.MULTILINE)
_RECIPIENT = re.compile(rb"<([^>]*)>")
_HELLO = b"250-recorder\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 50000000\r\n"
_END = b"\r\n.\r\n"
_ANSWERS = {
    b"EHLO": _HELLO,
    b"HELO": b"250 recorder\r\n",
    b"MAIL": b"250 2.1.0 Ok\r\n",
    b"RSET": b"250 2.0.0 Ok\r\n",
    b"NOOP": b"250 2.0.0 Ok\r\n",
    b"DATA": b"354 End data with <CR><LF>.<CR><LF>\r\n",
    b"QUIT": b"221 2.0.0 Bye\r\n",
}


class Notes:
    """What the server writes down."""

    def __init__(self, log: TextIO, keep: Path | None, first: int) -> None:
        self._log, self._keep, self._left, self._number = log, keep, first, 0

    def add(self, recipient: str, message: bytes) -> None:
        named = _MESSAGE_ID.search(message)
        identity = named.group(1).decode() if named else "-"
        self._log.write(f"{time.time():.6f}\t{recipient}\t{identity}\t{len(message)}\n")
        if self._keep is not None and self._left:
            self._left -= 1
            self._number += 1
            (self._keep / f"{self._number:03}.eml").write_bytes(message)


class _Session(asyncio.Protocol):
    """One connection: lines until DATA, then a message until its final dot."""

    def __init__(self, notes: Notes) -> None:
        self._notes, self._buffer, self._recipient, self._in_message = notes, bytearray(), "", False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(b"220 recorder ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        answer = bytearray()
        while self._take_message(answer) if self._in_message else self._take_line(answer):
            pass
        if answer:
            self._transport.write(bytes(answer))

    def _take_line(self, answer: bytearray) -> bool:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        verb = line[:4].upper()
        if verb == b"RCPT":
            found = _RECIPIENT.search(line)
            self._recipient = found.group(1).decode() if found else ""
            answer += b"250 2.1.5 Ok\r\n"
        else:
            answer += _ANSWERS.get(verb, b"502 5.5.1 not here\r\n")
        self._in_message = verb == b"DATA"
        return True

    def _take_message(self, answer: bytearray) -> bool:
        end = self._buffer.find(_END)
        if end < 0:
            return False
        message = bytes(self._buffer[: end + 2]).replace(b"\r\n..", b"\r\n.")
        del self._buffer[: end + len(_END)]
        self._notes.add(self._recipient, message)
        self._in_message = False
        answer += b"250 2.0.0 Ok\r\n"
        return True


@dataclass(frozen=True)
class Arrival:
    at: float  # seconds since 1970
    recipient: str
    message_id: str
    size: int


class Recorder(Served):
    """The recorder's process, for one measurement."""

    def __init__(self, folder: Path, *, first: int = 0) -> None:
        super().__init__()
        self.kept = folder / f"kept-{self.port}"
        self.kept.mkdir()
        self._log = folder / f"recorder-{self.port}"
        self._first = first

    def _begin(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "benchmarks.recorder", str(self.port), str(self._log)]
        return subprocess.Popen([*command, "--keep", str(self.kept), "--first", str(self._first)], cwd=ROOT)

    def taken(self) -> int:
        with self._log.open("rb") as log:
            return sum(block.count(b"\n") for block in iter(lambda: log.read(1 << 20), b""))

    def arrivals(self) -> list[Arrival]:
        """Everything that has arrived, in the order of the final dots."""
        lines = self._log.read_text(encoding="utf-8").splitlines()
        fields = (line.split("\t") for line in lines)
        return [Arrival(float(at), recipient, name, int(size)) for at, recipient, name, size in fields]


async def serve(port: int, notes: Notes) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Session(notes), "127.0.0.1", port, backlog=512)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("port", type=int)
    parser.add_argument("log", type=Path)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--first", type=int, default=12)
    asked = parser.parse_args()
    with asked.log.open("w", encoding="utf-8", buffering=1) as log:
        asyncio.run(serve(asked.port, Notes(log, asked.keep, asked.first)))


if __name__ == "__main__":
    main()
