"""What a woken process does: the worker's own steps for a while. Who is not woken looks for himself.

So delivery goes on, and promises are kept, while the broker is away or every message is lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection

import structlog
from sqlalchemy.exc import DBAPIError

from incident_center import clock
from incident_center.beats import awake
from incident_center.delivery import chunks
from incident_center.spread.broker import MOST_WAITING, Broker, BrokerAway
from incident_center.spread.queues import DELIVER, URGENT, URGENT_TASKS
from incident_center.states import Channel
from incident_center.worker import TROUBLE_SECONDS, Worker

TURN_SECONDS = 2.0  # how long one task may go on before the queue gets its turn
QUIET_SECONDS = 5.0  # without being woken, then a process looks for itself
ALWAYS = ("receipts",)  # in every process and turn: what its own connections have brought
_log = structlog.get_logger()


class Desk:
    """One process's worker. Tasks come in the main thread, its own looks in another; never both at once."""

    def __init__(self, worker: Worker, broker: Broker, queue: str) -> None:
        self._worker, self._broker, self._queue = worker, broker, queue
        # A task is one turn; a longer one would keep the queue and its heartbeats waiting.
        for lane in worker.lanes:
            lane.engine.bulk_most = TURN_SECONDS
        self._one_at_a_time = threading.Lock()
        self._woken_at = time.monotonic()
        self._looking = threading.Thread(target=self._look, name="look", daemon=True)

    def begin(self) -> None:
        self._worker.begin()
        self._looking.start()

    def end(self) -> None:
        """After `worker.stop`: what is on the wire is settled, leases are given back."""
        self._worker.stop.set()
        self._looking.join()
        self._worker.end()
        self._broker.close()

    def urgent(self, task: str) -> None:
        """A task of the urgent queue. What it cut, or a promise published, is spread at once."""
        self._woken_at = time.monotonic()
        found = self._turn((task,))
        if task == "keep" and found:
            self._wake("expand")
        if task == "expand":
            for channel in Channel:
                self._spread(channel)
        elif found:
            self._wake(task)

    def deliver(self, channel: Channel) -> None:
        """Sends for a while, and calls the others only when something could be sent: a chunk is free, too, while
        its provider rests or a lead must confirm the installation."""
        self._woken_at = time.monotonic()
        if self._turn(("singles", "expand", channel.value)):
            self._spread(channel)
            self._wake(DELIVER, channel, most=1)

    def _turn(self, verbs: Collection[str]) -> bool:
        """Answers whether there was anything to do."""
        end, found = time.monotonic() + TURN_SECONDS, False
        with self._one_at_a_time:
            try:
                while self._worker.round({*ALWAYS, *verbs}):
                    found = True
                    if time.monotonic() > end or self._worker.stop.is_set():
                        break
            except DBAPIError as error:
                _log.warning("database_unavailable", kind=type(error.orig).__name__)
                self._worker.stop.wait(TROUBLE_SECONDS)
        return found

    def _spread(self, channel: Channel) -> None:
        """One wake-up for each chunk that is free, for no more than there are workers."""
        try:
            with self._worker.center.database.reading() as session:
                free = chunks.number_free(session, channel, most=awake(session, now=clock.now()))
        except DBAPIError:
            return  # a turn tells of it
        if free:
            self._wake(DELIVER, channel, number=free, most=free)

    def _wake(
        self, task: str, channel: Channel | None = None, *, number: int = 1, most: int = MOST_WAITING
    ) -> None:
        if self._worker.stop.is_set():
            return
        try:
            self._broker.wake(task, channel, number=number, most=most)
        except BrokerAway as away:
            _log.warning("broker_away", kind=str(away), consequence="workers look for themselves")

    def _look(self) -> None:
        """The broker is not asked for anything here: it may be what is missing."""
        verbs = URGENT_TASKS if self._queue == URGENT else ("singles", "expand", self._queue)
        pause = QUIET_SECONDS
        while not self._worker.stop.wait(pause):
            quiet = time.monotonic() - self._woken_at
            found = quiet >= QUIET_SECONDS and self._turn(verbs)
            pause = 0 if found else max(QUIET_SECONDS - quiet, 0) or QUIET_SECONDS
