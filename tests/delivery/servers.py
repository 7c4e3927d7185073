# ruff: noqa: ARG002, N802 (the names and arguments are aiosmtpd's)
"""Real servers on loopback: an SMTP server that fails on command, and an SMS gateway that speaks SMSEagle's
API."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from tests.support.listening import stop_listening

DROP, HANG = "drop", "hang"
SLOW = "slow"  # at the dot: takes it as ever, after a third of a second
STEPS = ("connect", "ehlo", "mail", "rcpt", "data", "body", "dot")


@dataclass
class Mail:
    """One message that the server has accepted."""

    recipient: str
    content: bytes

    @property
    def message(self) -> EmailMessage:
        parsed = email.message_from_bytes(self.content, policy=email.policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed


def plain(message: EmailMessage) -> str:
    return _part(message, "plain")


def html(message: EmailMessage) -> str:
    return _part(message, "html")


def _part(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert isinstance(part, EmailMessage)
    return str(part.get_content()).replace("\r\n", "\n")


@dataclass
class Mailhost:
    """What the server does at each step: a reply such as "550 5.1.1 unknown", DROP, HANG, SLOW, or None for
    going on.

    `replies` is asked with the step and the recipient ("" before one is named). `kept_then_dropped` at step
    "dot" keeps the message before it drops the connection.
    """

    replies: Callable[[str, str], str | None] = lambda *_: None
    mails: list[Mail] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    most_open: int = 0
    port: int = 0
    lines: set[asyncio.Transport] = field(default_factory=set)

    @property
    def url(self) -> str:
        return self._url("&timeout=30&dot_timeout=30")

    @property
    def hasty_url(self) -> str:
        """For whoever tests a timeout. Anybody else would take a machine that stands still for a second for one."""
        return self._url("&timeout=2&dot_timeout=1")

    def _url(self, patience: str) -> str:
        return f"smtp://127.0.0.1:{self.port}?from=status@pay.example{patience}"

    def recipients(self) -> list[str]:
        return [mail.recipient for mail in self.mails]


def _abort(server: Any) -> None:
    """A connection that ends without a word, as when a server dies."""
    server.transport.abort()


class _Server(SMTP):
    host: Mailhost

    def connection_made(self, transport: Any) -> None:
        self.host.connections += 1
        self.host.open += 1
        self.host.most_open = max(self.host.most_open, self.host.open)
        self.host.lines.add(transport)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.host.open -= 1
        self.host.lines.discard(self.transport)
        super().connection_lost(error)

    async def smtp_DATA(self, arg: str) -> None:
        recipient = self.envelope.rcpt_tos[0] if self.envelope and self.envelope.rcpt_tos else ""
        answer = self.host.replies("body", recipient)
        if answer == DROP:
            await self.push("354 go on")
            _abort(self)
            return
        await super().smtp_DATA(arg)


class _Handler:
    def __init__(self, host: Mailhost) -> None:
        self.host = host

    async def _step(self, server: Any, step: str, recipient: str) -> str | None:
        self.host.seen.append(step)
        answer = self.host.replies(step, recipient)
        if answer == DROP:
            _abort(server)
            return "250 nobody hears this"
        if answer == HANG:
            await asyncio.sleep(5)
            return "250 too late"
        return answer

    async def handle_EHLO(
        self, server: Any, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        answer = await self._step(server, "ehlo", "")
        return [answer] if answer else responses

    async def handle_MAIL(
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = await self._step(server, "mail", "")
        if answer:
            return answer
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 ok"

    async def handle_RCPT(
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = await self._step(server, "rcpt", address)
        if answer:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:
        (recipient,) = envelope.rcpt_tos
        answer = self.host.replies("dot", recipient)
        self.host.seen.append("dot")
        if answer and answer not in {DROP, HANG, SLOW}:
            return answer
        assert isinstance(envelope.content, bytes)
        self.host.mails.append(Mail(recipient, envelope.content))
        if answer == DROP:
            _abort(server)
        elif answer == HANG:
            await asyncio.sleep(3)
        elif answer == SLOW:
            await asyncio.sleep(0.3)
        return f"250 2.0.0 Ok: queued as Q{len(self.host.mails):05}"


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@contextmanager
def mailhost(*, utf8: bool = True, **options: Any) -> Iterator[Mailhost]:
    """A running server; its port is free for the next one afterwards."""
    host = Mailhost()

    class Running(Controller):
        def factory(self) -> SMTP:
            server = _Server(self.handler, enable_SMTPUTF8=utf8, **options)
            server.host = host
            return server

    host.port = _free_port()
    controller = Running(_Handler(host), hostname="127.0.0.1", port=host.port, ready_timeout=10)
    controller.start()
    host.connections = 0  # the controller's own knock
    try:
        yield host
    finally:
        assert isinstance(controller.server, asyncio.Server)
        asyncio.run_coroutine_threadsafe(_hang_up(host, controller.server), controller.loop).result(timeout=5)
        controller.stop()


async def _hang_up(host: Mailhost, server: asyncio.Server) -> None:
    """A loop that is stopped with a connection open leaves it to the garbage collector, which warns in another test."""
    await stop_listening(server)
    for _ in range(3):  # who was taken last is there after one round, and gone after another
        for line in list(host.lines):
            line.abort()
        await asyncio.sleep(0)


def wrong_password(
    server: Any, session: Session, envelope: Envelope, mechanism: str, data: Any
) -> AuthResult:
    return AuthResult(success=False, handled=False)


@dataclass
class SmsGateway:
    """What an SMSEagle box would have sent; `answer` decides for each number: (status, body) or None for
    success."""

    answer: Callable[[str], tuple[int, str] | None] = lambda *_: None
    texts: list[tuple[str, str]] = field(default_factory=list)
    port: int = 0
    slow: float = 0.0

    @property
    def url(self) -> str:
        return f"smseagle://token@127.0.0.1:{self.port}"

    def recipients(self) -> list[str]:
        return [number for number, _ in self.texts]


@contextmanager
def sms_gateway() -> Iterator[SmsGateway]:
    gateway = SmsGateway()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            number = body["params"]["to"]
            answer = gateway.answer(number)
            if answer is None:
                gateway.texts.append((number, body["params"]["message"]))
                answer = (200, '{"result": {"message_id": "1", "status": "ok"}}')
            status, text = answer
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def do_GET(self) -> None:
            """A redirect that is followed as a GET would end here, and look like success."""
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    gateway.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield gateway
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
