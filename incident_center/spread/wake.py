"""Wakes workers as soon as a request's transaction has committed. The request never waits for it, and never fails."""

from __future__ import annotations

import threading

import structlog

from incident_center.center import Center
from incident_center.spread.broker import Broker, BrokerAway

PAUSE_SECONDS = 0.1  # commits that come closer together are told of together
AWAY_SECONDS = 2.0
_log = structlog.get_logger()


def wake_after_commits(center: Center) -> Waker:
    """From now on each committed transaction of this process wakes workers."""
    waker = Waker(Broker(center.settings))
    center.database.committed = waker.wake
    return waker


class Waker:
    """A thread of its own, begun with the first commit: a server's processes are forked before that."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._wanted = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def wake(self) -> None:
        """Takes microseconds; whatever becomes of it is not the caller's business."""
        self._wanted.set()
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="waker", daemon=True)
                    self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        was_away = False
        while self._wanted.wait() and not self._ended.is_set():
            self._wanted.clear()
            try:
                self._broker.wake("expand")
                self._broker.wake("singles")
                was_away = False
            except BrokerAway as away:
                if not was_away:
                    _log.warning("broker_away", kind=str(away), consequence="workers look for themselves")
                was_away = True
            except Exception as error:  # noqa: BLE001 (it would end the thread, and nobody would be woken again)
                _log.error("waker_failed", kind=type(error).__name__, exc_info=error)
                self._broker.close()
                was_away = True
            self._ended.wait(AWAY_SECONDS if was_away else PAUSE_SECONDS)
        self._broker.close()
