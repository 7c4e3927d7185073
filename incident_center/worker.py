"""The worker: keeps promises, cuts fan-outs, delivers. Each step answers whether it found work; the loop is dumb.

SIGTERM: what is on the wire is finished and settled, leases are given back, and the process exits.
"""

import os
import secrets
import socket
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

import structlog
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from incident_center import clock
from incident_center.audience.inbound import answer_by_message
from incident_center.center import Center
from incident_center.delivery.engine import Engine
from incident_center.errors import Refused
from incident_center.incidents.keeper import keep_promises
from incident_center.models import WorkerBeat
from incident_center.states import Channel

IDLE_SECONDS = 0.25  # how soon a new update is noticed by a worker with nothing to do
KEEPER_EVERY = timedelta(seconds=1)
HEAR_EVERY = timedelta(seconds=2)
BEAT_EVERY = timedelta(seconds=10)
AWAKE = timedelta(seconds=30)
SKEW_MAX = 5.0
TROUBLE_SECONDS = 2.0
ANSWER_SECONDS = 20.0  # how long a stopping worker waits for a relay that has gone quiet; 30 s is its limit
_log = structlog.get_logger()


def owner_name() -> str:
    """host:pid:random, so that a worker's leases are never mistaken for those of a later process."""
    return f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(4)}"


class Worker:
    """One worker in one process. `stop` ends `run` after the step that is under way."""

    def __init__(self, center: Center, *, now: Callable[[], datetime] = clock.now) -> None:
        self.center = center
        self.owner = owner_name()
        self.engine = Engine(center.database, center.house, owner=self.owner)
        self.stop = threading.Event()
        self._ended = threading.Event()
        self._now = now
        self._started_at = now()
        self._kept_at: datetime | None = None
        self._beat_at: datetime | None = None
        self._heard_at: datetime | None = None

    def round(self, verbs: Collection[str] | None = None) -> bool:
        """One step of everything, or of the named verbs; answers whether any of it found work. Promises first:
        they have a time."""
        steps: dict[str, Callable[[], bool]] = {
            "beat": self._beat,
            "keep": self._keep,
            "singles": self.engine.singles_once,
            "expand": self.engine.expand_once,
            **{channel.value: partial(self.engine.deliver_once, channel) for channel in Channel},
            "receipts": self._hear,
            "check": self.engine.check_once,
        }
        wanted = [step for verb, step in steps.items() if verbs is None or verb in verbs]
        found = [self._try(step) for step in wanted if not self.stop.is_set()]
        return any(found)

    def _try(self, step: Callable[[], bool]) -> bool:
        """A fault in one step keeps no other from its work: promises are kept while delivery is broken."""
        try:
            return step()
        except DBAPIError:
            raise
        except Exception as error:  # noqa: BLE001 (told with kind and place; its words may hold an address)
            _log.error("step_failed", kind=type(error).__name__, exc_info=error)
            self.stop.wait(TROUBLE_SECONDS)
            return False

    def run(self) -> None:
        """Rounds until `stop` is set. A database that is away is waited for; nothing is lost meanwhile."""
        self.begin()
        while not self.stop.is_set():
            try:
                found = self.round()
            except DBAPIError as error:
                _log.warning("database_unavailable", kind=type(error.orig).__name__)
                self.stop.wait(TROUBLE_SECONDS)
                continue
            if not found:
                self.stop.wait(IDLE_SECONDS)
        self.end()

    def begin(self) -> None:
        """Before the first round: from now on `stop` lets a round end in time, whoever calls it."""
        _log.info("worker_started", owner=self.owner)
        threading.Thread(target=self._end_in_time, name="worker end", daemon=True).start()

    def end(self) -> None:
        """After the last round."""
        self._ended.set()
        try:
            self.engine.hear(self._answer)
        except Exception as error:  # noqa: BLE001 (connections are ended whatever happens)
            _log.error("texts_or_receipts_lost", kind=type(error).__name__)
        self.engine.release()
        _log.info("worker_stopped", owner=self.owner)

    def _end_in_time(self) -> None:
        self.stop.wait()
        self.engine.halt()
        if not self._ended.wait(ANSWER_SECONDS):
            self.engine.abort()

    def _keep(self) -> bool:
        now = self._now()
        if self._kept_at is not None and now - self._kept_at < KEEPER_EVERY:
            return False
        self._kept_at = now
        skew = self.center.database.clock_skew(now)
        if abs(skew) > SKEW_MAX:
            _log.error("clock_skew", seconds=round(skew, 1), consequence="this worker keeps no promises")
            return False
        return keep_promises(self.center.database, self.center.house, now=now)

    def _hear(self) -> bool:
        """What providers and customers have told us since."""
        now = self._now()
        if self._heard_at is not None and now - self._heard_at < HEAR_EVERY:
            return False
        self._heard_at = now
        self.engine.listen()
        self.engine.hear(self._answer)
        return self.engine.receipts_once()

    def _answer(self, text: tuple[str, str]) -> None:
        sender, words = text
        # A sender that is no phone number (a name, a short code) cannot have asked for anything.
        with suppress(Refused), self.center.database.transaction() as session:
            answer_by_message(session, house=self.center.house, sender=sender, text=words, now=self._now())

    def _beat(self) -> bool:
        now = self._now()
        if self._beat_at is not None and now - self._beat_at < BEAT_EVERY:
            return False
        with self.center.database.transaction() as session:
            sign_of_life(session, owner=self.owner, started_at=self._started_at, now=now)
        self._beat_at = now
        return False


def sign_of_life(session: Session, *, owner: str, started_at: datetime, now: datetime) -> None:
    beat = session.get(WorkerBeat, owner)
    if beat is None:
        session.add(
            WorkerBeat(owner=owner, host=socket.gethostname()[:120], started_at=started_at, beat_at=now)
        )
    else:
        beat.beat_at = now


def awake(session: Session, *, now: datetime) -> int:
    """How many workers have lately given a sign of life."""
    return session.scalar(select(func.count()).where(WorkerBeat.beat_at > now - AWAKE)) or 0
