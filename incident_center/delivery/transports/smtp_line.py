"""A socket that never waits: what it does not take at once is kept, and it is known which byte has gone."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress

# One TLS record: the peer can read all of it or nothing, so its last byte is gone when the whole record is.
_RECORD = 16_384
_AT_ONCE = 8_192  # replies are short


class Line:
    """The bytes of one connection. Writing fails silently: reading then tells what the server still said, and
    the end."""

    __slots__ = ("_at", "_dot_at", "_out", "_tls", "broken", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._tls = isinstance(sock, ssl.SSLSocket)
        self._out = b""
        self._at = 0
        self._dot_at = 0
        self.broken: OSError | None = None

    @property
    def pending(self) -> bool:
        """Whether something is still to be written."""
        return self._at < len(self._out)

    @property
    def dot_written(self) -> bool:
        """Whether any byte of the line with the final dot may have left."""
        return self._at > self._dot_at

    def send(self, data: bytes, dot_at: int = 0) -> bool:
        """Writes what goes at once; answers whether that was everything. `dot_at`: where the final dot stands."""
        self._out, self._at, self._dot_at = data, 0, dot_at
        if not self._tls:  # the plain case, which is nearly always done with one call
            try:
                self._at = self.sock.send(data)
            except BlockingIOError:
                return False
            except OSError as error:
                self.broken = error
                return False
            return self._at == len(data)
        return self.flush()

    def flush(self) -> bool:
        """Goes on where `send` had to stop."""
        view = memoryview(self._out)
        try:
            while self._at < len(view) and self.broken is None:
                self._at += self.sock.send(view[self._at : self._at + _RECORD])
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError as error:
            self.broken = error
        return self._at == len(view)

    def receive(self) -> bytes | None:
        """None: nothing at the moment. Empty: the server has closed. Raises OSError."""
        try:
            return self.sock.recv(_AT_ONCE)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except ssl.SSLZeroReturnError:
            return b""

    def more(self) -> bool:
        """Whether TLS has already taken more from the socket than was read, which no selector can see."""
        return self._tls and isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    def close(self, goodbye: bytes = b"") -> None:
        with suppress(OSError):
            if goodbye:
                self.sock.send(goodbye)
        with suppress(OSError):
            self.sock.close()


def next_reply(data: bytes, start: int) -> tuple[int, bytes, int] | None:
    """A reply's code (-1 when it is none), its words, and where the next one begins; None when it is not
    complete."""
    words: list[bytes] = []
    while True:
        end = data.find(b"\n", start)
        if end < 0:
            return None
        line = data[start:end].rstrip(b"\r\n\t ")
        start = end + 1
        words.append(line[4:].strip())
        digits = line[:3]
        code = int(digits) if len(digits) == 3 and digits.isdigit() else -1
        if code < 0 or line[3:4] != b"-":
            return code, b"\n".join(words), start
