"""Distance to the relay: a proxy that hands on every byte a fixed time after it came, in both directions.

    python -m benchmarks.distance PORT RELAY_PORT ONE_WAY_MS

It delays, it does not throttle: what has come is queued with its due time, so any number of bytes may be under way.
One loop over epoll, because it must carry more messages than anybody sends; the delay is the same for all, so one
queue in the order of arrival is the order of departure.
"""

from __future__ import annotations

import argparse
import select
import smtplib
import socket
import statistics
import subprocess
import sys
import time
from collections import deque

from benchmarks.relay import ROOT, Served

_RECEIVE = 1 << 18
_READ = select.EPOLLIN
_READ_WRITE = select.EPOLLIN | select.EPOLLOUT


class _End:
    """A socket, what could not be written to it yet, and the other end."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock, self.number = sock, sock.fileno()
        self.stuck = bytearray()
        self.ended = False
        self.other: _End = self


class Proxy:
    """Everything that one process carries."""

    def __init__(self, port: int, relay_port: int, seconds: float) -> None:
        self._relay_port, self._seconds = relay_port, seconds
        self._listener = socket.create_server(("127.0.0.1", port), backlog=512)
        self._listener.setblocking(False)
        self._epoll = select.epoll()
        self._epoll.register(self._listener, _READ)
        self._ends: dict[int, _End] = {}
        self._under_way: deque[tuple[float, _End, bytes]] = deque()  # b"": the connection ends here

    def run(self) -> None:
        while True:
            for number, events in self._wait():
                if number == self._listener.fileno():
                    self._accept()
                elif (end := self._ends.get(number)) is not None:
                    if events & select.EPOLLOUT:
                        self._write(end, b"")
                    if events & ~select.EPOLLOUT:
                        self._read(end)
            self._hand_over()

    def _wait(self) -> list[tuple[int, int]]:
        """Events, at the latest when something is due. epoll itself would round up to milliseconds, a tenth of
        the delay; select() on the epoll's own descriptor waits in microseconds."""
        if ready := self._epoll.poll(0):
            return ready
        left = self._under_way[0][0] - time.monotonic() if self._under_way else None
        if left is None or left > 0:
            select.select([self._epoll], [], [], left)
        return self._epoll.poll(0)

    def _accept(self) -> None:
        near = _End(self._listener.accept()[0])
        far = _End(socket.create_connection(("127.0.0.1", self._relay_port)))
        near.other, far.other = far, near
        for end in (near, far):
            self._ends[end.number] = end
            self._epoll.register(end.number, _READ)

    def _read(self, end: _End) -> None:
        if end.ended:  # its last event is repeated until the socket is closed
            return
        try:
            data = end.sock.recv(_RECEIVE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            end.ended = True
            self._epoll.modify(end.number, 0)
        self._under_way.append((time.monotonic() + self._seconds, end.other, data))

    def _hand_over(self) -> None:
        now = time.monotonic()
        while self._under_way and self._under_way[0][0] <= now:
            _, end, data = self._under_way.popleft()
            if end.number not in self._ends:
                continue
            if data:
                self._write(end, data)
            else:
                self._close(end)

    def _write(self, end: _End, data: bytes) -> None:
        end.stuck += data
        try:
            sent = end.sock.send(end.stuck)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._close(end)
            return
        was_waiting = len(end.stuck) > len(data)
        del end.stuck[:sent]
        if bool(end.stuck) != was_waiting:
            self._epoll.modify(end.number, _READ_WRITE if end.stuck else _READ)

    def _close(self, end: _End) -> None:
        for one in (end, end.other):
            if self._ends.pop(one.number, None) is not None:
                self._epoll.unregister(one.number)
                one.sock.close()


class Distance(Served):
    """The proxy's process in front of a relay."""

    def __init__(self, relay_port: int, *, round_trip: float) -> None:
        """`round_trip` in seconds."""
        super().__init__()
        self._relay_port, self._one_way = relay_port, round_trip / 2

    def _begin(self) -> subprocess.Popen[bytes]:
        told = (self.port, self._relay_port, self._one_way * 1000)
        return subprocess.Popen([sys.executable, "-m", "benchmarks.distance", *map(str, told)], cwd=ROOT)

    def round_trip(self, times: int = 50) -> float:
        """Median seconds that a NOOP takes when nothing else is under way."""
        taken = []
        with smtplib.SMTP("127.0.0.1", self.port, local_hostname="localhost") as connection:
            for _ in range(times):
                begin = time.perf_counter()
                connection.noop()
                taken.append(time.perf_counter() - begin)
        return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("port", type=int)
    parser.add_argument("relay_port", type=int)
    parser.add_argument("one_way_ms", type=float)
    asked = parser.parse_args()
    Proxy(asked.port, asked.relay_port, asked.one_way_ms / 1000).run()


if __name__ == "__main__":
    main()
