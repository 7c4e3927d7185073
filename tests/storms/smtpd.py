"""A mail server that does on command what no test can wait for: answers any code, drops, hangs or runs
something (such as killing its client) at any step, before or after it has stored the message.

It runs on an event loop in a thread of its own, offers PIPELINING, and takes thousands of messages a second, so
that it is never what a storm waits for.
"""

from __future__ import annotations

import re
import ssl
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from tests.storms.loops import Drop, Hang, Reply, Run, Talk, serving

_MESSAGE_ID = re.compile(rb"^message-id:\s*<([^>\r\n]+)>", re.IGNORECASE | re.MULTILINE)
_OF_UPDATE = re.compile(r"update\.\d+\.(\d+)\.(\d+)@")
_HEADERS_MAX = 4000


class Step(StrEnum):
    """Where a conversation is. `dot` is before the message is stored, `stored` before the reply, `replied`
    after it."""

    CONNECT = "connect"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    BODY = "body"
    DOT = "dot"
    STORED = "stored"
    REPLIED = "replied"


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message that the server has stored. `update_id` and `subscriber_id` as its Message-ID names them."""

    recipient: str
    message_id: str
    update_id: int | None
    subscriber_id: int | None


Decide = Callable[[Step, str], Reply | Drop | Hang | Run | None]


@dataclass
class MailServer:
    """`decide` is asked at every step with the recipient ("" before one is named); None goes on.

    It is called on the server's loop: it must not wait. `body_mark` is how many bytes of a message must have
    come before the step `body` is reached.
    """

    decide: Decide | None = None
    arrivals: list[Arrival] = field(default_factory=list)
    bodies: list[bytes] | None = None
    extensions: tuple[str, ...] = (
        "PIPELINING",
        "8BITMIME",
        "SMTPUTF8",
        "ENHANCEDSTATUSCODES",
        "SIZE 10240000",
    )
    body_mark: int = 1
    connections: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}?from=status@pay.example"

    def recipients(self, update_id: int | None = None) -> list[str]:
        """Of everything, or of one update."""
        return [one.recipient for one in self.arrivals if update_id in {None, one.update_id}]

    def copies(self, update_id: int) -> Counter[int]:
        """Messages by subscriber of one update."""
        return Counter(
            one.subscriber_id
            for one in self.arrivals
            if one.update_id == update_id and one.subscriber_id is not None
        )

    def forget(self) -> None:
        self.arrivals.clear()
        if self.bodies is not None:
            self.bodies.clear()


class _Talk(Talk):
    """One connection. Replies of one read are written together, as a server that pipelines does."""

    def __init__(self, host: MailServer) -> None:
        super().__init__()
        self.host = host
        self.out = bytearray()
        self.sought = 0  # where the search for the final dot goes on
        self.recipients: list[str] = []
        self.in_body = self.marked = False

    def begin(self) -> None:
        self.host.connections += 1
        self._answer(Step.CONNECT, "220 storm.example ESMTP")
        self.flush()

    def work(self) -> None:
        while not (self.waits or self.ended):
            if not (self._body() if self.in_body else self._command()):
                break
        self.flush()

    def flush(self) -> None:
        if self.out and not self.transport.is_closing():
            self.transport.write(bytes(self.out))
        self.out.clear()

    def _command(self) -> bool:
        end = self.buffer.find(b"\n")
        if end < 0:
            return False
        line = bytes(self.buffer[: end + 1]).rstrip(b"\r\n").decode("utf-8", "replace")
        del self.buffer[: end + 1]
        verb, _, rest = line.partition(" ")
        handle = getattr(self, f"_on_{verb.lower()}", None)
        if handle is None:
            self._say("500 5.5.2 what?")
        else:
            handle(rest)
        return True

    def _on_ehlo(self, _: str) -> None:
        lines = ["storm.example", *self.host.extensions]
        dashed = [f"250-{line}" for line in lines[:-1]]
        self._answer(Step.EHLO, "\r\n".join([*dashed, f"250 {lines[-1]}"]))

    def _on_helo(self, _: str) -> None:
        self._answer(Step.EHLO, "250 storm.example")

    def _on_starttls(self, _: str) -> None:
        """Agrees, and then speaks no TLS."""
        self._answer(Step.STARTTLS, "220 go on\r\nthis is no TLS at all", then=self._hang_up)

    def _on_auth(self, _: str) -> None:
        self._answer(Step.AUTH, "235 2.7.0 welcome")

    def _on_mail(self, _: str) -> None:
        self.recipients = []
        self._answer(Step.MAIL, "250 2.1.0 ok")

    def _on_rcpt(self, rest: str) -> None:
        start, end = rest.find("<"), rest.rfind(">")
        recipient = rest[start + 1 : end]
        self._answer(Step.RCPT, "250 2.1.5 ok", recipient, then=lambda: self.recipients.append(recipient))

    def _on_data(self, _: str) -> None:
        if not self.recipients:
            self._say("503 5.5.1 no valid recipients")
            return
        self._answer(Step.DATA, "354 go on", then=self._begin_body)

    def _on_rset(self, _: str) -> None:
        self.recipients = []
        self._say("250 2.0.0 ok")

    def _on_noop(self, _: str) -> None:
        self._say("250 2.0.0 ok")

    def _on_quit(self, _: str) -> None:
        self._say("221 2.0.0 bye")
        self._hang_up()

    def _begin_body(self) -> None:
        self.in_body, self.marked, self.sought = True, False, 0

    def _body(self) -> bool:
        end, length = self._final_dot()
        if not self.marked and (end >= 0 or len(self.buffer) >= self.host.body_mark):
            self.marked = True
            if not self._passes(Step.BODY):
                return not self.ended
        if end < 0:
            self.sought = max(0, len(self.buffer) - 4)
            return False
        body = bytes(self.buffer[:end])
        del self.buffer[: end + length]
        self.in_body = False
        self._answer(Step.DOT, None, self.recipients[0], then=lambda: self._store(body))
        return True

    def _final_dot(self) -> tuple[int, int]:
        if self.buffer.startswith(b".\r\n"):
            return 0, 3
        return self.buffer.find(b"\r\n.\r\n", self.sought), 5

    def _store(self, body: bytes) -> None:
        found = _MESSAGE_ID.search(body, 0, _HEADERS_MAX)
        name = found.group(1).decode() if found else ""
        update_id, reader = of_update(name) or (None, None)
        for recipient in self.recipients:
            self.host.arrivals.append(Arrival(recipient, name, update_id, reader))
            if self.host.bodies is not None:
                self.host.bodies.append(body)
        recipient, self.recipients = self.recipients[0], []
        said = f"250 2.0.0 Ok: queued as S{len(self.host.arrivals):07}"
        self._answer(Step.STORED, said, recipient, then=lambda: self._replied(recipient))

    def _replied(self, recipient: str) -> None:
        if self.host.decide is not None:
            self.flush()
            self._passes(Step.REPLIED, recipient)

    def _answer(
        self, step: Step, reply: str | None, recipient: str = "", *, then: Callable[[], None] | None = None
    ) -> None:
        """The usual reply and what follows from it, unless the plan for this step says something else."""

        def usual() -> None:
            if reply is not None:
                self._say(reply)
            if then is not None:
                then()

        if self._passes(step, recipient, after=usual):
            usual()

    def _passes(self, step: Step, recipient: str = "", *, after: Callable[[], None] | None = None) -> bool:
        """False when something else happens at this step; `after` is what a hanging server does later."""
        act = self.host.decide(step, recipient) if self.host.decide is not None else None
        if isinstance(act, Reply):
            self._say(act.words)
            if act.words.startswith("421"):
                self._hang_up()
            return False
        return self.usual(act, after)

    def _say(self, words: str) -> None:
        self.out += words.encode() + b"\r\n"

    def _hang_up(self) -> None:
        self.flush()
        self.ended = True
        self.transport.close()


def of_update(message_id: str) -> tuple[int, int] | None:
    """Update and subscriber, as an update's Message-ID names them."""
    about = _OF_UPDATE.match(message_id)
    return (int(about.group(1)), int(about.group(2))) if about else None


@contextmanager
def mail_server(
    decide: Decide | None = None, *, keep_bodies: bool = False, tls: ssl.SSLContext | None = None
) -> Iterator[MailServer]:
    """`tls` is spoken from the first byte on."""
    host = MailServer(decide=decide, bodies=[] if keep_bodies else None)
    with serving(lambda: _Talk(host), tls) as port:
        host.port = port
        yield host
