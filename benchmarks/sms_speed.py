"""How fast texts go out over HTTPS: our couriers against stock Apprise, one recipient each, on the same stub.

    python -m benchmarks.sms_speed [recipients]

The stub runs in a process of its own, speaks Twilio's and Vonage's answers over TLS with kept connections, and is
also driven bare, to show that it is not what is measured.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from apprise import Apprise, NotifyBase
from apprise.plugins import url_to_dict

from incident_center import clock
from incident_center.delivery.outcome import Letter
from incident_center.delivery.sms_couriers import HttpSmsCourier
from incident_center.delivery.transports.sms_url import own_api
from incident_center.delivery.transports.stock import quiet_asset, quiet_logger
from incident_center.states import Channel
from tests.support.certificates import Authority, make_authority

BATCH = 4  # what the engine marks for SMS
ROUNDS = 5
TEXT = "Payouts to Germany are delayed. We are on it; next news by 15:00. https://status.pay.example/i/7"
URLS = {
    "twilio": f"twilio://AC{'a' * 32}:{'b' * 32}@+15555550100",
    "vonage": "vonage://abcdefgh:abcdefghijklmnop@15555550100",
}
_TWILIO = json.dumps({"sid": "SM" + "1" * 32, "status": "queued", "error_code": None}).encode()
_VONAGE = json.dumps({"message-count": "1", "messages": [{"status": "0", "message-id": "0A1"}]}).encode()


def _answer(body: bytes, status: str) -> bytes:
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )


class _Stub(asyncio.Protocol):
    """As little as a provider can do: finds where each request ends, and says yes."""

    answers = (_answer(_TWILIO, "201 Created"), _answer(_VONAGE, "200 OK"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length :]
            self.transport.write(self.answers[b"/sms/json" in head[:40]])


def _serve(chain: str, ready: Connection) -> None:
    async def run() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        server = await asyncio.get_running_loop().create_server(
            _Stub, "127.0.0.1", 0, ssl=context, backlog=512
        )
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


@contextmanager
def stub(authority: Authority) -> Iterator[int]:
    """The stub in a process of its own; answers its port."""
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    process = spawning.Process(target=_serve, args=(str(authority.chain), theirs), daemon=True)
    process.start()
    try:
        yield int(ours.recv())
    finally:
        process.terminate()
        process.join()


def _rate(count: int, send: Callable[[], None]) -> float:
    start = time.perf_counter()
    send()
    return count / (time.perf_counter() - start)


def bare(authority: Authority, port: int, count: int) -> float:
    """Requests a second over four kept connections without a client: what the stub can do."""
    request = b"POST /sms/json HTTP/1.1\r\nHost: x\r\nContent-Length: 300\r\n\r\n" + b"x" * 300
    answer = len(_Stub.answers[1])
    context = authority.client_context()
    lines = [
        context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="127.0.0.1")
        for _ in range(BATCH)
    ]

    def send() -> None:
        for _ in range(count // BATCH):
            for line in lines:
                line.sendall(request)
            for line in lines:
                left = answer
                while left:
                    left -= len(line.recv(left))

    rate = _rate(count, send)
    for line in lines:
        line.close()
    return rate


def ours(authority: Authority, port: int, schema: str, count: int) -> float:
    """Messages a second through our courier, in the engine's batches."""
    url = f"{URLS[schema]}?api=https://127.0.0.1:{port}"
    api = own_api(schema, url, clock=clock.now, stub=True, receipts=None)
    courier = HttpSmsCourier(schema, api, tls_context=authority.client_context)
    letters = [
        Letter(key=n, channel=Channel.SMS, to=f"+49151{n:08}", text=TEXT, message_id=f"<{n}@x>")
        for n in range(count)
    ]

    def send() -> None:
        for at in range(0, count, BATCH):
            outcomes = courier.send(letters[at : at + BATCH], lambda: True)
            assert all(outcome is not None and outcome.state == "accepted" for outcome in outcomes)

    rate = _rate(count, send)
    courier.close()
    return rate


def stock(authority: Authority, port: int, schema: str, count: int) -> float:
    """Messages a second through Apprise's own plugin: one object and one `notify()` for each recipient."""
    read: Any = url_to_dict
    parsed = read(URLS[schema])
    addresses = {
        "notify_sms_url": f"https://127.0.0.1:{port}/2010-04-01/Accounts/{{sid}}/Messages.json",
        "notify_url": f"https://127.0.0.1:{port}/sms/json",
    }
    asset = quiet_asset()

    def send() -> None:
        for n in range(count):
            plugin = Apprise.instantiate({**parsed, "targets": [f"+49151{n:08}"]}, asset=asset)
            assert isinstance(plugin, NotifyBase)
            plugin.request_rate_per_sec = 0
            vars(plugin)["verify_certificate"] = str(
                authority.ca
            )  # handed on to requests, which takes a file, too
            for name, address in addresses.items():
                if hasattr(plugin, name):
                    setattr(plugin, name, address)
            apprise = Apprise(asset=asset)
            apprise.add(plugin)
            assert apprise.notify(body=TEXT)

    return _rate(count, send)


def measure(n: int, *, rounds: int = ROUNDS) -> dict[str, Any]:
    """Rates in messages a second and their ratio, for `n` recipients of ours and a twentieth of stock's; medians of
    the rounds."""
    quiet_logger()
    few = max(BATCH, n // 20)
    with tempfile.TemporaryDirectory() as folder:
        authority = make_authority(Path(folder))
        with stub(authority) as port:
            found: dict[str, Any] = {"recipients": n, "stub": round(bare(authority, port, n))}
            for schema in URLS:
                fast = median(ours(authority, port, schema, n) for _ in range(rounds))
                slow = median(stock(authority, port, schema, few) for _ in range(rounds))
                found[schema] = {"ours": round(fast), "stock": round(slow, 1), "ratio": round(fast / slow, 1)}
    return found


def main() -> None:
    found = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 4000)
    print(f"{found['recipients']} recipients, TLS; the bare stub takes {found['stub']}/s")
    print(f"{'provider':10}{'ours/s':>10}{'stock/s':>10}{'ratio':>8}")
    for schema in URLS:
        row = found[schema]
        print(f"{schema:10}{row['ours']:>10}{row['stock']:>10}{row['ratio']:>8}")


if __name__ == "__main__":
    main()
