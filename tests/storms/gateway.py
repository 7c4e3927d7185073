"""An SMS gateway that does on command what no test can wait for; it speaks SMSEagle's API and Twilio's.

Like the mail server it runs on a loop in a thread of its own, keeps connections open, and stores before or after
whatever goes wrong.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from urllib.parse import parse_qs

from tests.storms.loops import Drop, Hang, Run, Talk, serving

_SMSEAGLE = '{"result": {"message_id": "%d", "status": "ok"}}'
_TWILIO = '{"sid": "SM%032d", "status": "queued", "error_code": null}'


class HttpStep(StrEnum):
    """`request` is before the message is stored, `stored` before the answer, `replied` after it."""

    CONNECT = "connect"
    REQUEST = "request"
    STORED = "stored"
    REPLIED = "replied"


@dataclass(frozen=True)
class Answer:
    """This instead of the usual answer."""

    status: int
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)


Decide = Callable[[HttpStep, str], Answer | Drop | Hang | Run | None]


@dataclass(frozen=True, slots=True)
class Text:
    """One message that the gateway has stored."""

    recipient: str
    words: str


@dataclass
class Gateway:
    """`decide` is asked at every step with the number ("" before one is named); None goes on."""

    decide: Decide | None = None
    texts: list[Text] = field(default_factory=list)
    followed: int = 0  # requests that only somebody who follows a redirect makes
    connections: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"smseagle://token@127.0.0.1:{self.port}"

    def recipients(self) -> list[str]:
        return [text.recipient for text in self.texts]

    def forget(self) -> None:
        self.texts.clear()


class _Talk(Talk):
    def __init__(self, host: Gateway) -> None:
        super().__init__()
        self.host = host

    def begin(self) -> None:
        self.host.connections += 1
        self._passes(HttpStep.CONNECT)

    def work(self) -> None:
        while not (self.waits or self.ended) and self._request():
            pass

    def _request(self) -> bool:
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self.buffer[:end]).decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])
        }
        length = int(headers.get("content-length", "0"))
        if len(self.buffer) < end + 4 + length:
            return False
        body = bytes(self.buffer[end + 4 : end + 4 + length])
        del self.buffer[: end + 4 + length]
        method, path, _ = head[0].split(" ", 2)
        if method != "POST":
            self.host.followed += 1
            self._write(Answer(200))
            return True
        twilio = "/Messages.json" in path
        number, words = _twilio(body) if twilio else _smseagle(body)
        if self._passes(HttpStep.REQUEST, number, after=lambda: self._store(number, words, twilio=twilio)):
            self._store(number, words, twilio=twilio)
        return True

    def _store(self, number: str, words: str, *, twilio: bool) -> None:
        self.host.texts.append(Text(number, words))
        kept = len(self.host.texts)
        usual = Answer(201, _TWILIO % kept) if twilio else Answer(200, _SMSEAGLE % kept)

        def reply() -> None:
            self._write(usual)
            self._passes(HttpStep.REPLIED, number)

        if self._passes(HttpStep.STORED, number, after=reply):
            reply()

    def _passes(self, step: HttpStep, number: str = "", *, after: Callable[[], None] | None = None) -> bool:
        act = self.host.decide(step, number) if self.host.decide is not None else None
        if isinstance(act, Answer):
            self._write(act)
            return False
        return self.usual(act, after)

    def _write(self, answer: Answer) -> None:
        body = answer.body.encode()
        lines = [
            f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
            f"Content-Length: {len(body)}",
        ]
        lines += [
            "Content-Type: application/json",
            *(f"{name}: {value}" for name, value in answer.headers.items()),
        ]
        if not self.transport.is_closing():
            self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)


def _smseagle(body: bytes) -> tuple[str, str]:
    params = json.loads(body)["params"]
    return params["to"], params["message"]


def _twilio(body: bytes) -> tuple[str, str]:
    form = parse_qs(body.decode())
    return form["To"][0], form["Body"][0]


@contextmanager
def sms_gateway(decide: Decide | None = None, *, tls: ssl.SSLContext | None = None) -> Iterator[Gateway]:
    host = Gateway(decide=decide)
    with serving(lambda: _Talk(host), tls) as port:
        host.port = port
        yield host
