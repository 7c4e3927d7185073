"""SMS providers on loopback that do on command what no test can wait for: Twilio's and Vonage's HTTP APIs, and an
SMSC that speaks SMPP 3.4 (in smpplib's words, so that two implementations are held against each other)."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from smpplib import smpp
from smpplib.client import SimpleSequenceGenerator

Server = Callable[[socket.socket], None]


def until(condition: Callable[[], object]) -> None:
    """Waits for what the other end does in its own thread."""
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


@contextmanager
def serving(serve: Server, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A TCP server, one thread a connection; answers its port."""
    listening = socket.create_server(("127.0.0.1", 0))
    sockets: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def one(sock: socket.socket) -> None:
        with suppress(OSError):
            if tls is not None:
                sock = tls.wrap_socket(sock, server_side=True)
                sockets.append(sock)
            serve(sock)
        sock.close()

    def accept() -> None:
        with suppress(OSError):
            while True:
                sock, _ = listening.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sockets.append(sock)
                threads.append(threading.Thread(target=one, args=(sock,), daemon=True))
                threads[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield int(listening.getsockname()[1])
    finally:
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for sock in sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in [accepting, *threads]:
            thread.join(5)
        for sock in sockets:
            sock.close()


@dataclass(frozen=True)
class Sms:
    """One request as it came over the wire."""

    path: str
    headers: dict[str, str]
    fields: dict[str, str]

    @property
    def to(self) -> str:
        return self.fields.get("To") or "+" + self.fields["to"]

    @property
    def text(self) -> str:
        return self.fields.get("Body") or self.fields["text"]


@dataclass(frozen=True)
class Reply:
    """`then_close`: the connection ends without a word after the answer. `cut`: only so much of the body is sent."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    then_close: bool = False
    cut: int | None = None


DROP, HANG = "drop", "hang"
Decide = Callable[[Sms], Reply | str | None]


def twilio_yes(sms: Sms, number: int = 1) -> Reply:
    body = {"sid": f"SM{number:032x}", "status": "queued", "error_code": None, "to": sms.to}
    return Reply(201, json.dumps(body).encode(), {"Content-Type": "application/json"})


def twilio_no(status: int, code: int, message: str = "no", **headers: str) -> Reply:
    body = {"code": code, "message": message, "status": status}
    return Reply(status, json.dumps(body).encode(), dict(headers))


def vonage(*statuses: str) -> Reply:
    parts = [
        {"to": "491", "status": status, "message-id": f"0A{place:014X}", "error-text": "no"}
        for place, status in enumerate(statuses)
    ]
    return Reply(200, json.dumps({"message-count": str(len(parts)), "messages": parts}).encode())


@dataclass
class HttpGateway:
    """What Twilio or Vonage would have taken; `decide` is asked for each request, None says yes."""

    decide: Decide = lambda _: None
    requests: list[Sms] = field(default_factory=list)
    connections: int = 0
    ended: int = 0  # connections that the gateway has closed after an answer
    port: int = 0
    tls: bool = True
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def api(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    @property
    def twilio(self) -> str:
        return f"twilio://AC{'a' * 32}:{'b' * 32}@+15555550100?api={self.api}"

    @property
    def vonage(self) -> str:
        return f"vonage://key:secret@15555550100?api={self.api}"

    def recipients(self) -> list[str]:
        return [sms.to for sms in self.requests]

    def serve(self, sock: socket.socket) -> None:
        with self._lock:
            self.connections += 1
        incoming = sock.makefile("rb")
        with incoming:
            while (sms := _request(incoming)) is not None:
                with self._lock:
                    self.requests.append(sms)
                    number = len(self.requests)
                answer = self.decide(sms)
                if answer == DROP:
                    return
                if answer == HANG:
                    sock.recv(1)  # until the client gives up
                    return
                if not isinstance(answer, Reply):
                    answer = twilio_yes(sms, number) if "To" in sms.fields else vonage("0")
                sock.sendall(_bytes(answer))
                if answer.then_close or answer.cut is not None:
                    sock.shutdown(socket.SHUT_RDWR)
                    with self._lock:
                        self.ended += 1
                    return


def _request(incoming: Any) -> Sms | None:
    first = incoming.readline().decode()
    if not first:
        return None
    headers = {}
    while line := incoming.readline().decode().strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = incoming.read(int(headers.get("content-length", "0"))).decode()
    fields = {name: values[0] for name, values in parse_qs(body, keep_blank_values=True).items()}
    method, path, _ = first.split()
    return Sms(f"{method} {path}", headers, fields)


def _bytes(reply: Reply) -> bytes:
    headers = {"Content-Length": str(len(reply.body)), **reply.headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {reply.status} x\r\n{head}\r\n".encode() + reply.body[: reply.cut]


@contextmanager
def http_gateway(tls: ssl.SSLContext | None) -> Iterator[HttpGateway]:
    gateway = HttpGateway(tls=tls is not None)
    with serving(gateway.serve, tls) as port:
        gateway.port = port
        yield gateway


_NUMBERS = SimpleSequenceGenerator()  # the library wants one even for what it only reads
Submitted = Any  # smpplib's SubmitSM, which has no types
SmppDecide = Callable[[Submitted], int | str | None]


@dataclass
class Smsc:
    """A message centre. `decide` is asked for each submit_sm: a status, DROP, HANG, "no-id", or None for yes."""

    decide: SmppDecide = lambda _: None
    name: Callable[[int], str] = "id-{}".format
    bind_status: int = 0
    submits: list[Submitted] = field(default_factory=list)
    heard: list[tuple[str, int]] = field(default_factory=list)  # every command, with its status
    binds: list[Any] = field(default_factory=list)
    answers_probes: bool = True
    port: int = 0
    scheme: str = "smpp"
    sock: socket.socket | None = None

    @property
    def url(self) -> str:
        return f"{self.scheme}://user:secret@127.0.0.1:{self.port}/+15555550100"

    def commands(self) -> list[str]:
        return [command for command, _ in self.heard]

    def serve(self, sock: socket.socket) -> None:
        self.sock = sock
        incoming = sock.makefile("rb")
        with incoming:
            while raw := incoming.read(4):
                raw += incoming.read(struct.unpack(">L", raw)[0] - 4)
                said = smpp.parse_pdu(raw, client=_NUMBERS, allow_unknown_opt_params=True)
                self.heard.append((said.command, said.status))
                if not self._answer(sock, said):
                    return

    def push(self, pdu: bytes) -> None:
        assert self.sock is not None
        self.sock.sendall(pdu)

    def _answer(self, sock: socket.socket, said: Any) -> bool:
        if said.command == "bind_transceiver":
            self.binds.append(said)
            self._say(sock, "bind_transceiver_resp", said, self.bind_status, system_id="smsc")
            return self.bind_status == 0
        if said.command == "submit_sm":
            self.submits.append(said)
            return self._submit(sock, said)
        if said.command == "enquire_link" and self.answers_probes:
            self._say(sock, "enquire_link_resp", said, 0)
        elif said.command == "unbind":
            self._say(sock, "unbind_resp", said, 0)  # and hears what is still on its way
        return True

    def _submit(self, sock: socket.socket, said: Any) -> bool:
        answer = self.decide(said)
        if answer == DROP:
            return False
        if answer != HANG:
            identity = "" if answer == "no-id" else self.name(len(self.submits))
            status = answer if isinstance(answer, int) else 0
            self._say(sock, "submit_sm_resp", said, status, message_id=identity)
        return True

    def _say(self, sock: socket.socket, command: str, about: Any, status: int, **fields: Any) -> None:
        answer = smpp.make_pdu(command, client=_NUMBERS, **fields)
        answer.sequence, answer.status = about.sequence, status
        sock.sendall(answer.generate())


@contextmanager
def smsc(tls: ssl.SSLContext | None = None) -> Iterator[Smsc]:
    centre = Smsc(scheme="smpps" if tls is not None else "smpp")
    with serving(centre.serve, tls) as port:
        centre.port = port
        yield centre


def deliver_sm(
    text: bytes,
    *,
    sequence: int = 77,
    sender: str = "4915112345678",
    esm_class: int = 0,
    coding: int = 0,
    tlvs: bytes = b"",
) -> bytes:
    """A deliver_sm by hand, with whatever optional parameters an operator may add."""
    body = b"\0" + bytes([1, 1]) + sender.encode() + b"\0" + bytes([1, 1]) + b"15555550100\0"
    body += bytes([esm_class, 0, 0]) + b"\0\0" + bytes([0, 0, coding, 0, len(text)]) + text + tlvs
    return struct.pack(">LLLL", 16 + len(body), 0x05, 0, sequence) + body


def tlv(tag: int, value: bytes) -> bytes:
    return struct.pack(">HH", tag, len(value)) + value
