"""A storm as its test sees it: servers, workers that come and go, and what must hold afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from incident_center.audience.addresses import parse_email
from incident_center.db import Database
from incident_center.delivery.questions import ledger_check, progress
from incident_center.models import Chunk, Delivery, Subscriber
from incident_center.states import Channel, DeliveryState, SubscriberState
from tests.builders import NOW
from tests.storms.gateway import Gateway, sms_gateway
from tests.storms.given import Given
from tests.storms.points import Point
from tests.storms.smtpd import MailServer, mail_server

MOST_IN_FLIGHT = {Channel.EMAIL: 50, Channel.SMS: 4}
BORN_SECONDS = 60.0


@dataclass(eq=False)
class Child:
    """A worker or publisher in a process of its own."""

    number: int
    pid: int = 0
    status: int | None = None  # negative: the signal that ended it
    ended_at: float = 0.0  # on the machine's clock
    born: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def was_killed(self) -> bool:
        return self.status == -signal.SIGKILL

    def kill(self, name: signal.Signals = signal.SIGKILL) -> None:
        if not self.ended.is_set():
            os.kill(self.pid, name)

    def wait(self, seconds: float = 60) -> int | None:
        if not self.ended.wait(seconds):
            raise TimeoutError(f"the child {self.pid} goes on for more than {seconds} seconds")
        return self.status


class Nursery:
    """The process that forks the workers. `start` begins one with its clock `ahead` seconds of ours."""

    def __init__(self, given: Given) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.storms.nursery", given.as_argument()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._children: dict[int, Child] = {}
        self._numbers = count(1)
        self._warm = threading.Event()
        self._listener = threading.Thread(target=self._listen, name="nursery", daemon=True)
        self._listener.start()

    def start(
        self,
        do: Literal["work", "run", "publish", "write"] = "work",
        *,
        ahead: float = 0,
        point: Point | None = None,
        nth: int = 1,
        token: str = "",
        before: Callable[[Child], None] | None = None,
    ) -> Child:
        """A child, begun; with a point it kills itself there. `before` sees it while it still waits."""
        child = Child(next(self._numbers))
        self._children[child.number] = child
        self._tell(do=do, number=child.number, ahead=ahead, point=point, nth=nth, token=token)
        if not child.born.wait(BORN_SECONDS):
            raise TimeoutError("the nursery does not answer")
        if before is not None:
            before(child)
        self._tell(do="begin", pid=child.pid)
        return child

    def warm_up(self) -> None:
        """One fan-out to the whole audience by the nursery itself, so that workers begin quickly."""
        self._tell(do="warm")
        if not self._warm.wait(BORN_SECONDS):
            raise TimeoutError("the nursery does not answer")

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._listener.join(10)
        self._process.stdout.close()

    def _tell(self, **command: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        alive: dict[int, Child] = {}
        for line in self._process.stdout:
            said = json.loads(line)
            if said["event"] == "warm":
                self._warm.set()
            elif said["event"] == "born":
                child = alive[said["pid"]] = self._children.pop(said["number"])
                child.pid = said["pid"]
                child.born.set()
            else:
                child = alive.pop(said["pid"])
                child.status, child.ended_at = said["status"], said["at"]
                child.ended.set()


@dataclass
class Storm:
    database: Database
    smtp: MailServer
    gateway: Gateway
    nursery: Nursery
    worst_in_flight: Counter[Channel] = field(default_factory=Counter)

    def forget(self) -> None:
        self.smtp.forget()
        self.gateway.forget()

    def work(self, *, ahead: float = 0, **how: Any) -> Child:
        """One worker until nothing is left for it, or until it is killed."""
        child = self.nursery.start("work", ahead=ahead, **how)
        child.wait()
        assert child.status == 0 or child.was_killed, child.status
        return child

    def arrived(self) -> list[str]:
        """Whom the servers have got something for, a copy each."""
        return self.smtp.recipients() + self.gateway.recipients()

    def look(self) -> dict[Channel, set[tuple[int, int]]]:
        """Who is in flight, as (update, subscriber); a worker never holds more than it may."""
        with self.database.reading() as session:
            held = in_flight(session)
        together: dict[Channel, set[tuple[int, int]]] = {channel: set() for channel in Channel}
        for (_, channel), people in held.items():
            self.worst_in_flight[channel] = max(self.worst_in_flight[channel], len(people))
            assert len(people) <= MOST_IN_FLIGHT[channel], (channel, len(people))
            together[channel] |= people
        return together


def in_flight(session: Session) -> dict[tuple[str, Channel], set[tuple[int, int]]]:
    """The durable intents by worker and channel: people of marked batches, and rows that are being sent."""
    held: dict[tuple[str, Channel], set[tuple[int, int]]] = {}
    chunks = session.execute(
        select(Chunk.owner, Chunk.channel, Chunk.update_id, Chunk.batch).where(Chunk.batch_at.is_not(None))
    )
    for owner, channel, update_id, batch in chunks:
        held.setdefault((owner or "", channel), set()).update((update_id, one) for one in batch)
    rows = session.execute(
        select(Delivery.owner, Delivery.channel, Delivery.update_id, Delivery.subscriber_id).where(
            Delivery.not_before.is_not(None), Delivery.state == DeliveryState.SENDING
        )
    )
    for owner, channel, update_id, subscriber_id in rows:
        held.setdefault((owner or "", channel), set()).add((update_id, subscriber_id))
    return held


def people(database: Database, *, by_email: int, by_sms: int = 0) -> None:
    enrolled(
        database,
        [f"reader-{number}@example.com" for number in range(by_email)],
        [f"+4915112340{number:03}" for number in range(by_sms)],
    )


def enrolled(database: Database, emails: Iterable[str], phones: Iterable[str] = ()) -> None:
    """Confirmed readers, written together: one by one, thousands take their time."""
    common: dict[str, Any] = {
        "language": "en",
        "zone": "Europe/Berlin",
        "all_components": True,
        "state": SubscriberState.CONFIRMED,
        "source": "web",
        "created_at": NOW,
        "updated_at": NOW,
        "confirmed_at": NOW,
    }
    with database.transaction() as session:
        for email in emails:
            key = parse_email(email).key
            session.add(Subscriber(channel=Channel.EMAIL, email=email, email_key=key, **common))
        session.add_all(Subscriber(channel=Channel.SMS, phone=phone, **common) for phone in phones)


def settled(database: Database, update_id: int) -> bool:
    """Nobody waits, and whoever may have got nothing was written to again."""
    with database.reading() as session:
        seen = progress(session, update_id)
    unknown = sum(states.get(DeliveryState.UNKNOWN, 0) for states in seen.by_channel.values())
    return seen.finished and unknown == 0


@dataclass(frozen=True)
class Heard:
    """What everybody got: how many second copies there were, and whom the ledger says they may be of."""

    repeated: int = 0
    flagged: frozenset[int] = frozenset()


def nobody_missed(database: Database, update_id: int, arrived: Iterable[str]) -> Heard:
    """Everybody's row says accepted, and everybody has got one copy, or two if it is flagged; nobody else any."""
    copies = Counter(arrived)
    with database.reading() as session:
        readers = {row.id: row.address or "" for row in session.scalars(select(Subscriber))}
        rows = session.scalars(select(Delivery).where(Delivery.update_id == update_id)).all()
        assert ledger_check(session, update_id) == []
        seen = progress(session, update_id)
    assert {row.subscriber_id for row in rows} == readers.keys()
    assert {row.state for row in rows} == {DeliveryState.ACCEPTED}, Counter(row.state for row in rows)
    flagged = frozenset(row.subscriber_id for row in rows if row.possibly_twice)
    for reader, address in readers.items():
        assert copies[address] in ({1, 2} if reader in flagged else {1}), (reader, copies[address])
    assert copies.keys() == set(readers.values())
    assert (seen.audience, seen.waiting, seen.finished) == (len(readers), 0, True)
    assert seen.possibly_twice == len(flagged)
    return Heard(copies.total() - len(readers), flagged)


@contextmanager
def storm_over(
    database_url: str, folder: Path, *, sms: bool = True, options: str = "", **given: Any
) -> Iterator[Storm]:
    """Servers and a nursery on this database; `options` go to the mail server's URL."""
    with mail_server() as smtp, sms_gateway() as gateway:
        nursery = Nursery(
            Given(
                database_url=database_url,
                data_dir=str(folder),
                email_url=smtp.url + options,
                sms_url=gateway.url if sms else "",
                **given,
            )
        )
        database = Database(database_url)
        try:
            yield Storm(database, smtp, gateway, nursery)
        finally:
            database.dispose()
            nursery.close()


def wait_until(done: Callable[[], bool], what: str, *, seconds: float = 60, every: float = 0.01) -> float:
    """How many seconds it took. Raises TimeoutError saying what never came."""
    start = time.perf_counter()
    while not done():
        if time.perf_counter() - start > seconds:
            raise TimeoutError(what)
        time.sleep(every)
    return time.perf_counter() - start
