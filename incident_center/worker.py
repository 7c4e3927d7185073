"""The worker: keeps promises, cuts fan-outs, delivers. Each step answers whether it found work; the loops are dumb.

SIGTERM: what is on the wire is finished and settled, leases are given back, and the process exits.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

import structlog
from sqlalchemy.exc import DBAPIError

from incident_center import clock
from incident_center.audience.inbound import answer_by_message
from incident_center.beats import sign_of_life
from incident_center.center import Center
from incident_center.config import Settings
from incident_center.db import SKEW_MAX
from incident_center.delivery import slots
from incident_center.delivery.engine import Engine
from incident_center.delivery.installation import Guard
from incident_center.delivery.postbox import EVERYBODY, Serves
from incident_center.errors import Refused
from incident_center.incidents.keeper import keep_promises
from incident_center.states import Channel

IDLE_SECONDS = 0.25  # how soon a new update is noticed by a worker with nothing to do
KEEPER_EVERY = timedelta(seconds=1)
HEAR_EVERY = timedelta(seconds=2)
BEAT_EVERY = timedelta(seconds=10)
TROUBLE_SECONDS = 2.0
ANSWER_SECONDS = 20.0  # how long a stopping worker waits for a relay that has gone quiet; 30 s is its limit
_log = structlog.get_logger()
Step = Callable[[], bool]


def owner_name() -> str:
    """host:pid:random, so that a worker's leases are never mistaken for those of a later process."""
    return f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(4)}"


def lanes_of(settings: Settings) -> list[Serves]:
    """Each channel that has a provider by itself, after everything else: what hangs holds up nobody else's."""
    providers = {Channel.EMAIL: settings.email_urls, Channel.SMS: settings.sms_urls}
    channels = [channel for channel, urls in providers.items() if urls]
    return [EVERYBODY.difference(channels), *(frozenset({channel}) for channel in channels)]


class Loop:
    """Rounds of steps in one thread, until `stop` is set."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self.trouble = ""  # what the database has answered in the last round, if it was an error

    def steps(self) -> Mapping[str, Step]:
        raise NotImplementedError

    def round(self, verbs: Collection[str] | None = None) -> bool:
        """One step of everything, or of the named verbs; answers whether any of it found work."""
        wanted = [step for verb, step in self.steps().items() if verbs is None or verb in verbs]
        try:
            found = [self._try(step) for step in wanted if not self._stop.is_set()]
        except DBAPIError as error:
            self.trouble = f"the database answered with an error ({type(error.orig).__name__})"
            raise
        self.trouble = ""
        return any(found)

    def _try(self, step: Step) -> bool:
        """A fault in one step keeps no other from its work: promises are kept while delivery is broken."""
        try:
            return step()
        except DBAPIError:
            raise
        except Exception as error:  # noqa: BLE001 (told with kind and place; its words may hold an address)
            _log.error("step_failed", kind=type(error).__name__, exc_info=error)
            self._stop.wait(TROUBLE_SECONDS)
            return False

    def run(self) -> None:
        """A database that is away is waited for; nothing is lost meanwhile."""
        while not self._stop.is_set():
            try:
                found = self.round()
            except DBAPIError as error:
                _log.warning("database_unavailable", kind=type(error.orig).__name__)
                self._stop.wait(TROUBLE_SECONDS)
                continue
            if not found:
                self._stop.wait(IDLE_SECONDS)


class Lane(Loop):
    """An engine with its connections and leases, for the messages of those whom it serves."""

    def __init__(self, worker: Worker, serves: Serves) -> None:
        super().__init__(worker.stop)
        self._center, self._now, self.serves = worker.center, worker.now, serves
        self.engine = Engine(
            self._center.database, self._center.house, owner=worker.owner, serves=serves, guard=worker.guard
        )
        self._heard_at: datetime | None = None

    def steps(self) -> Mapping[str, Step]:
        return {
            "singles": self.engine.singles_once,
            "expand": self.engine.expand_once,
            **{c.value: partial(self.engine.deliver_once, c) for c in Channel if c in self.serves},
            "receipts": self._hear,
            "check": self.engine.check_once,
        }

    def end(self) -> None:
        try:
            self.engine.hear(self._answer)
        except Exception as error:  # noqa: BLE001 (connections are ended whatever happens)
            _log.error("texts_or_receipts_lost", kind=type(error).__name__)
        self.engine.release()

    def _hear(self) -> bool:
        """What providers and customers have told us since."""
        now = self._now()
        if self._heard_at is not None and abs(now - self._heard_at) < HEAR_EVERY:
            return False
        self._heard_at = now
        self.engine.listen()
        self.engine.hear(self._answer)
        return self.engine.receipts_once()

    def _answer(self, text: tuple[str, str]) -> None:
        sender, words = text
        # A sender that is no phone number (a name, a short code) cannot have asked for anything.
        with suppress(Refused), self._center.database.transaction() as session:
            answer_by_message(session, house=self._center.house, sender=sender, text=words, now=self._now())


class Life(Loop):
    """The sign of life, the keeper and the look at the installation: what must go on while others wait for the wire."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(worker.ended)
        self._worker, self._center, self._now = worker, worker.center, worker.now
        self._started_at = worker.now()
        self._kept_at: datetime | None = None
        self._beat_at: datetime | None = None
        self._looked_at: datetime | None = None
        self._one_at_a_time = threading.Lock()

    def steps(self) -> Mapping[str, Step]:
        return {"beat": self._beat, "keep": self._keep, "look": self._look}

    def round(self, verbs: Collection[str] | None = None) -> bool:
        """Whoever comes while another thread is at it need not wait."""
        if not self._one_at_a_time.acquire(blocking=False):
            return False
        try:
            return super().round(verbs)
        finally:
            self._one_at_a_time.release()

    def _keep(self) -> bool:
        now = self._now()
        if self._kept_at is not None and abs(now - self._kept_at) < KEEPER_EVERY:
            return False
        self._kept_at = now
        skew = self._center.database.clock_skew(now)
        if abs(skew) > SKEW_MAX:
            _log.error("clock_skew", seconds=round(skew, 1), consequence="this worker keeps no promises")
            return False
        return keep_promises(self._center.database, self._center.house, now=now)

    def _beat(self) -> bool:
        """Slots are renewed here too: whoever hangs on the wire keeps the connections that are open."""
        now = self._now()
        if self._beat_at is not None and abs(now - self._beat_at) < BEAT_EVERY:
            return False
        with self._center.database.transaction() as session:
            sign_of_life(
                session,
                owner=self._worker.owner,
                channels=self._worker.channels,
                note=self._worker.note(),
                started_at=self._started_at,
                now=now,
            )
            slots.renew(session, self._worker.owner, now=now)
        self._center.database.shorten_log()
        self._beat_at = now
        return False

    def _look(self) -> bool:
        """A restored database shows before a lead publishes into it, not only when something is due."""
        now = self._now()
        if self._looked_at is None or abs(now - self._looked_at) >= BEAT_EVERY:
            self._looked_at = now
            self._worker.guard.may_send()
        return False


class Worker:
    """One worker in one process. `stop` ends `run` after the steps that are under way.

    Each of its lanes has an engine and, in `run`, a thread of its own.
    """

    def __init__(
        self,
        center: Center,
        *,
        now: Callable[[], datetime] = clock.now,
        lanes: Sequence[Serves] = (EVERYBODY,),
    ) -> None:
        self.center = center
        self.owner = owner_name()
        self.stop = threading.Event()
        self.ended = threading.Event()
        self.now = now
        self.channels = " ".join(channel.value for channel in Channel if any(channel in one for one in lanes))
        self.guard = Guard(center.database, center.house, clock=now)
        self.life = Life(self)
        self.lanes = [Lane(self, serves) for serves in lanes]
        self.engine = self.lanes[0].engine
        self._living = threading.Thread(target=self.life.run, name="life", daemon=True)

    def round(self, verbs: Collection[str] | None = None) -> bool:
        """One step of everything, or of the named verbs; answers whether any of it found work. Promises first:
        they have a time."""
        found = [loop.round(verbs) for loop in (self.life, *self.lanes)]
        return any(found)

    def run(self) -> None:
        """Rounds until `stop` is set, in this thread and in one for each further lane."""
        self.begin()
        others = [threading.Thread(target=lane.run, name="lane") for lane in self.lanes[1:]]
        for thread in others:
            thread.start()
        try:
            self.lanes[0].run()
        finally:
            self.stop.set()
            for thread in others:
                thread.join()
            self.end()

    def begin(self) -> None:
        """Before the first round: from now on `stop` lets a round end in time, whoever calls it."""
        _log.info("worker_started", owner=self.owner)
        self._living.start()
        threading.Thread(target=self._end_in_time, name="worker end", daemon=True).start()

    def end(self) -> None:
        """After the last round."""
        self.ended.set()
        if self._living.is_alive():
            self._living.join(TROUBLE_SECONDS)
        for lane in self.lanes:
            lane.end()
        _log.info("worker_stopped", owner=self.owner)

    def note(self) -> str:
        """What keeps this worker from its work, for people."""
        told = {self.guard.refusal, *(loop.trouble for loop in (self.life, *self.lanes))}
        return "; ".join(sorted(told - {""}))

    def _end_in_time(self) -> None:
        self.stop.wait()
        for lane in self.lanes:
            lane.engine.halt()
        if not self.ended.wait(ANSWER_SECONDS):
            for lane in self.lanes:
                lane.engine.abort()
