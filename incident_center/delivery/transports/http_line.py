"""One kept HTTPS connection, and on which side of the wire a request was lost.

A request is one write of head and body. Until all of it has left, the server cannot have acted on it: the body
is shorter than its Content-Length, and over TLS the record cannot even be read. Once all of it has left, only the
server's answer can tell.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import Literal

CONNECT_TIMEOUT, READ_TIMEOUT = 5.0, 20.0
# Node.js closes idle connections after 5 s, others later. A request that crosses that close is unknown, a new
# connection costs a handshake: so the kept one is given up first.
IDLE_LIMIT = 4.0
_A_LOOK = 0.01  # for an answer that is there already
_BODY_LIMIT = 64 * 1024  # a provider's answer has some hundred bytes

TlsContext = Callable[[], ssl.SSLContext]


@dataclass(frozen=True)
class HttpServer:
    """Where to send requests; `tls` is off for stubs on this machine alone."""

    host: str
    port: int = 443
    tls: bool = True

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


@dataclass(frozen=True)
class HttpRequest:
    """A POST; the line adds Host and Content-Length."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class HttpAnswer:
    """What the server said; `body` may be cut short when the connection ended inside it."""

    status: int
    retry_after: str | None
    body: bytes

    def __repr__(self) -> str:  # the body may hold a number
        return f"HttpAnswer({self.status})"


class Unsent(Exception):
    """The request has certainly not arrived. `code`: connect, tls, lost or timeout."""

    def __init__(self, code: Literal["connect", "tls", "lost", "timeout-send"], words: str) -> None:
        super().__init__(words)
        self.code = code
        self.words = words


class Unanswered(Exception):
    """The whole request has left, and no answer came: it may have been carried out. `code`: lost or timeout."""

    def __init__(self, code: Literal["lost", "timeout"], words: str) -> None:
        super().__init__(words)
        self.code = code
        self.words = words


class HttpLine:
    """One connection, one request at a time: `write`, then `read`. Not for several threads, but for `abort`."""

    def __init__(self, server: HttpServer, tls_context: TlsContext) -> None:
        self._server = server
        self._tls_context = tls_context
        self._sock: socket.socket | None = None
        self._used_at = 0.0
        self._aborted = False

    def write(self, request: HttpRequest) -> None:
        """Sends the whole request. Raises Unsent; a kept connection that is found closed is opened once more."""
        data = self._bytes(request)
        kept = self._sock is not None
        if kept and not self._is_alive():
            self.close()
            kept = False
        try:
            self._send(data)
        except Unsent as unsent:
            if not kept or unsent.code != "lost":
                raise
            self._send(data)

    def read(self, until: float) -> HttpAnswer:
        """Waits for the answer to the last request; what has come by `until` (monotonic) is read also later. Raises
        Unanswered when not even its status came."""
        sock = self._sock
        if sock is None:
            raise Unanswered("lost", "the connection was closed before the provider answered")
        sock.settimeout(max(until - time.monotonic(), _A_LOOK))
        response = HTTPResponse(sock, method="POST")
        try:
            response.begin()
        except TimeoutError as error:
            self._end(response)
            raise Unanswered("timeout", "the provider did not answer in time") from error
        except (OSError, HTTPException, ValueError) as error:
            self._end(response)
            raise Unanswered("lost", "the connection ended before the provider answered") from error
        body, whole = _body(response)
        keep = whole and not response.will_close
        answer = HttpAnswer(response.status, response.getheader("Retry-After"), body)
        response.close()
        self._used_at = time.monotonic()
        if not keep:
            self.close()
        return answer

    def close(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    def abort(self) -> None:
        """From another thread: whoever waits for the server waits no longer."""
        self._aborted = True
        sock = self._sock
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _end(self, response: HTTPResponse) -> None:
        response.close()
        self.close()

    def _bytes(self, request: HttpRequest) -> bytes:
        lines = [f"POST {request.path} HTTP/1.1", f"Host: {self._server.authority}"]
        lines += [f"{name}: {value}" for name, value in request.headers.items()]
        lines += [f"Content-Length: {len(request.body)}", "", ""]
        return "\r\n".join(lines).encode("ascii") + request.body

    def _send(self, data: bytes) -> None:
        if self._aborted:
            raise Unsent("lost", "the worker is ending")
        if self._sock is None:
            self._sock = self._connect()
        try:
            self._sock.sendall(data)
        except TimeoutError as error:
            self.close()
            raise Unsent("timeout-send", "the provider did not take the whole request in time") from error
        except OSError as error:
            self.close()
            raise Unsent("lost", "the connection ended before the request was complete") from error

    def _connect(self) -> socket.socket:
        server = self._server
        try:
            sock = socket.create_connection((server.host, server.port), timeout=CONNECT_TIMEOUT)
        except OSError as error:
            raise Unsent("connect", "the provider could not be reached") from error
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if server.tls:
                sock = self._tls_context().wrap_socket(sock, server_hostname=server.host)
            sock.settimeout(READ_TIMEOUT)
        except BaseException as error:
            sock.close()
            if isinstance(error, ssl.SSLError):
                raise Unsent("tls", _tls_words(error)) from error
            if isinstance(error, OSError):
                raise Unsent("connect", "the connection ended before a request was sent") from error
            raise
        return sock

    def _is_alive(self) -> bool:
        """Looks whether the server has closed the kept connection, or has said something unasked."""
        sock = self._sock
        if sock is None or time.monotonic() - self._used_at > IDLE_LIMIT:
            return False
        sock.setblocking(False)
        try:
            sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            sock.settimeout(READ_TIMEOUT)
            return True
        except OSError:
            return False
        return False  # its end, or an answer to nothing (such as 408): whatever follows would not be ours


def answers_until() -> float:
    """When requests that have just left are waited for no longer."""
    return time.monotonic() + READ_TIMEOUT


def _body(response: HTTPResponse) -> tuple[bytes, bool]:
    """The body, and whether it is whole."""
    try:
        body = response.read(_BODY_LIMIT + 1)
    except IncompleteRead as cut:
        return cut.partial, False
    except (OSError, HTTPException, ValueError):
        return b"", False
    expected_end = response.isclosed() or response.length == 0
    return body[:_BODY_LIMIT], expected_end and len(body) <= _BODY_LIMIT


def _tls_words(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the provider's certificate is not trusted: {error.verify_message}"
    return f"no secure connection: {error.reason or type(error).__name__}"
