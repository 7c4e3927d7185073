"""A wire to PostgreSQL that can be cut at the moment of a COMMIT, before or after the server has heard it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

COMMIT = b"COMMIT\x00"
Cut = Literal["before", "after"]


@dataclass
class Wire:
    """`cut` names what happens at the next COMMIT: lost on its way to the server, or its answer on the way back."""

    target: str
    cut: Cut | None = None
    cuts: int = 0
    port: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> Cut | None:
        """Only one connection is cut for each order."""
        with self._lock:
            cut, self.cut = self.cut, None
            self.cuts += cut is not None
            return cut

    def serve(self, client: socket.socket) -> None:
        """One connection, both ways, until either end is closed or it is cut."""
        server = socket.socket(socket.AF_UNIX)
        deaf = threading.Event()  # the server's answers reach nobody any more
        with client, server:
            try:
                server.connect(self.target)
            except OSError:
                return
            back = threading.Thread(target=_pump_back, args=(server, client, deaf), daemon=True)
            back.start()
            with suppress(OSError):
                self._forward(client, server, deaf)
            for end in (client, server):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            back.join(10)

    def _forward(self, client: socket.socket, server: socket.socket, deaf: threading.Event) -> None:
        while data := client.recv(65536):
            cut = self.take() if COMMIT in data and self.cut else None
            if cut == "before":
                return
            if cut == "after":
                deaf.set()
                server.sendall(data)
                server.settimeout(10)
                server.recv(1, socket.MSG_PEEK | socket.MSG_WAITALL)  # it has answered: the commit stands
                return
            server.sendall(data)


def _pump_back(server: socket.socket, client: socket.socket, deaf: threading.Event) -> None:
    with suppress(OSError):
        while data := server.recv(65536):
            if deaf.is_set():
                return
            client.sendall(data)
    with suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)


@contextmanager
def wire_to(folder: str) -> Iterator[Wire]:
    """A wire to the server whose socket lies in this folder."""
    wire = Wire(f"{folder}/.s.PGSQL.5432")
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)
    wire.port = listener.getsockname()[1]

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=wire.serve, args=(client,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield wire
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)
