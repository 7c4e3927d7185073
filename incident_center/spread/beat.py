"""The beat: wakes workers every second for what has become due by itself. Several of them do no harm."""

from __future__ import annotations

import threading

import structlog

from incident_center.spread.broker import Broker, BrokerAway
from incident_center.spread.queues import DELIVER
from incident_center.states import Channel

EVERY_SECONDS = 1.0
SLOW_TASKS = ("receipts", "check")
SLOW_EVERY = 5  # seconds
_log = structlog.get_logger()


class Beat:
    """Sends a round of wake-ups; a queue in which some still wait gets no more."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._rounds = 0
        self._was_away = False

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(EVERY_SECONDS):
            self.tick()
        self._broker.close()

    def tick(self) -> int:
        """How many wake-ups were sent; none while the broker is away, which is told once."""
        slow = SLOW_TASKS if self._rounds % SLOW_EVERY == 0 else ()
        self._rounds += 1
        try:
            sent = sum(self._broker.wake(task) for task in ("keep", "singles", "expand", *slow))
            sent += sum(self._broker.wake(DELIVER, channel, most=1) for channel in Channel)
        except BrokerAway as away:
            if not self._was_away:
                _log.warning("broker_away", kind=str(away), consequence="workers look for themselves")
            self._was_away = True
            return 0
        if self._was_away:
            _log.info("broker_back")
        self._was_away = False
        return sent
