"""One bound SMPP session: requests out, answers and the SMSC's own messages in."""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass, field

from incident_center.delivery.outcome import Outcome
from incident_center.delivery.transports import smpp_pdu as pdu
from incident_center.delivery.transports.http_line import CONNECT_TIMEOUT, READ_TIMEOUT, TlsContext
from incident_center.delivery.transports.smpp_inbox import SmppInbox
from incident_center.delivery.transports.smpp_pdu import Pdu
from incident_center.delivery.transports.smpp_status import refused

_PROBE_TIMEOUT = 5.0
_MOST_AT_ONCE = 64 * 1024


@dataclass(frozen=True, kw_only=True)
class SmppServer:
    """Where to bind, and as whom."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    sender: str
    system_type: str = ""
    hex_ids: bool = False  # it answers a message's number in hexadecimal, and reports on it in decimal
    tls: bool = False
    connect_timeout: float = CONNECT_TIMEOUT
    answer_timeout: float = READ_TIMEOUT


class NotBound(Exception):
    """No session: nothing was sent. Carries the outcome for whoever was to be sent to."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.code)
        self.outcome = outcome


class SmppLink:
    """One connection from bind to its end. Not for several threads, but for `abort`."""

    def __init__(self, server: SmppServer, inbox: SmppInbox, tls_context: TlsContext) -> None:
        """Connects and binds. Raises NotBound."""
        self._server, self._inbox = server, inbox
        self._buffer = bytearray()
        self._answers: dict[int, Pdu] = {}
        self._sequence = 0
        self._used_at = time.monotonic()
        self.alive = True
        self._sock = _connected(server, tls_context)
        try:
            self._bind()
        except BaseException:
            self.drop()
            raise

    @property
    def idle(self) -> float:
        """Seconds since anything was heard."""
        return time.monotonic() - self._used_at

    def request(self, command: int, body: bytes = b"") -> int:
        """Sends a request and answers its sequence number. Raises OSError when it has not left as a whole."""
        self._sequence = self._sequence % 0x7FFFFFFF + 1
        self._send(Pdu(command, self._sequence, body=body))
        return self._sequence

    def answer(self, sequence: int, *, seconds: float) -> Pdu | None:
        """Waits for the answer to a request; None when it did not come."""
        end = time.monotonic() + seconds
        while sequence not in self._answers and self.alive:
            left = end - time.monotonic()
            if left <= 0 or not self._receive(left):
                break
        return self._answers.pop(sequence, None)

    def hear(self) -> None:
        """Takes in what has already arrived, without waiting."""
        while self.alive and self._receive(0.0):
            pass

    def probe(self) -> bool:
        """Asks whether the SMSC is still there."""
        try:
            answer = self.answer(self.request(pdu.ENQUIRE_LINK), seconds=_PROBE_TIMEOUT)
        except OSError:
            answer = None
        if answer is None:
            self.drop()
        return self.alive

    def unbind(self) -> None:
        """Says goodbye and waits a moment; what is on its way is heard, or refused by an inbox that is closed."""
        with suppress(OSError):
            self.answer(self.request(pdu.UNBIND), seconds=1.0)
        self.drop()

    def drop(self) -> None:
        self.alive = False
        self._sock.close()

    def abort(self) -> None:
        self.alive = False
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def _bind(self) -> None:
        server = self._server
        body = pdu.bind_body(server.user, server.password, server.system_type)
        try:
            answer = self.answer(self.request(pdu.BIND_TRANSCEIVER, body), seconds=server.answer_timeout)
        except OSError as error:
            raise NotBound(_unreachable("connect", "the connection ended before the login")) from error
        if answer is None:
            raise NotBound(_unreachable("connect", "the server did not answer the login"))
        if answer.status != pdu.OK:
            words = refused(answer.status).detail
            code = f"bind 0x{answer.status:02X}"
            raise NotBound(Outcome(state="retry", code=code, detail=words, provider_wide=True))

    def _send(self, message: Pdu) -> None:
        if not self.alive:
            raise ConnectionError("the session has ended")
        self._sock.settimeout(self._server.answer_timeout)
        try:
            self._sock.sendall(message.pack())
        except OSError:
            self.drop()
            raise

    def _receive(self, seconds: float) -> bool:
        """One read, and all whole messages in it; False when nothing came in time or the session ended."""
        self._sock.settimeout(seconds)
        try:
            data = self._sock.recv(_MOST_AT_ONCE)
        except (TimeoutError, BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            data = b""
        if not data:
            self.drop()
            return False
        self._used_at = time.monotonic()
        self._buffer += data
        try:
            while (message := pdu.take_pdu(self._buffer)) is not None:
                self._handle(message)
        except (ValueError, OSError):
            self.drop()
        return True

    def _handle(self, message: Pdu) -> None:
        if message.command & pdu.ANSWER:  # a generic_nack, too, answers the request whose number it carries
            self._answers[message.sequence] = message
        elif message.command == pdu.DELIVER_SM:
            status = self._inbox.put(message.body)  # answered only once it is kept
            self._reply(message, status, b"\0")
        elif message.command in {pdu.ENQUIRE_LINK, pdu.UNBIND}:
            self._reply(message, pdu.OK)
            if message.command == pdu.UNBIND:
                self.drop()
        else:
            self._send(Pdu(pdu.GENERIC_NACK, message.sequence, pdu.UNKNOWN_COMMAND))

    def _reply(self, message: Pdu, status: int, body: bytes = b"") -> None:
        self._send(Pdu(message.command | pdu.ANSWER, message.sequence, status, body))


def _connected(server: SmppServer, tls_context: TlsContext) -> socket.socket:
    try:
        sock = socket.create_connection((server.host, server.port), timeout=server.connect_timeout)
    except OSError as error:
        raise NotBound(_unreachable("connect", "the server could not be reached")) from error
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if server.tls:
            sock = tls_context().wrap_socket(sock, server_hostname=server.host)
    except BaseException as error:
        sock.close()
        if isinstance(error, ssl.SSLError):
            raise NotBound(_unreachable("tls", "the server's certificate or TLS does not hold")) from error
        if isinstance(error, OSError):
            raise NotBound(_unreachable("connect", "the connection ended before the login")) from error
        raise
    return sock


def _unreachable(code: str, words: str) -> Outcome:
    return Outcome(state="retry", code=code, detail=words, provider_wide=True)
