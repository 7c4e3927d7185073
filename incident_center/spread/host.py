"""A host: the processes of one `incident-center worker`, forked from one that has loaded everything.

A process that dies is replaced. When the host itself is killed its processes notice and end in order.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

import structlog

from incident_center.center import Center
from incident_center.config import Settings
from incident_center.spread.beat import Beat
from incident_center.spread.broker import Broker
from incident_center.spread.process import on_end, work
from incident_center.spread.queues import URGENT
from incident_center.states import Channel

BEAT = "beat"
RESTART_SECONDS = 1.0
_log = structlog.get_logger()


def plan(settings: Settings, *, queues: Sequence[str], processes: int) -> list[str]:
    """What the processes of a host are for: those named, or one for what is urgent, `processes` for each channel
    that has a provider, and a beat."""
    if queues:
        return [queue for queue in queues for _ in range(processes)]
    channels = {Channel.EMAIL: settings.email_urls, Channel.SMS: settings.sms_urls}
    bulk = [channel.value for channel, urls in channels.items() if urls for _ in range(processes)]
    return [BEAT, URGENT, *bulk]


class Host:
    """Forks what the plan says and waits. Not for a process with threads."""

    def __init__(self, center: Center, places: Sequence[str]) -> None:
        self._center = center
        self._places = list(places)
        self._running: dict[int, str] = {}
        self._ending = False
        self._alive, self._held = os.pipe()  # its end is read when this process is no more

    def run(self) -> int:
        self._center.database.dispose()  # a connection must not be shared by a fork
        _load(self._center.settings)
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: self._end())
        _log.info("host_started", processes=self._places)
        for place in self._places:
            self._fork(place)
        failed = 0
        while self._running:
            pid, status = os.wait()
            place = self._running.pop(pid, "")
            code = os.waitstatus_to_exitcode(status)
            if self._ending:
                failed = failed or code
            elif place:
                _log.error("worker_died", place=place, code=code)
                time.sleep(RESTART_SECONDS)
                self._fork(place)
        _log.info("host_stopped")
        return 1 if failed else 0

    def _end(self) -> None:
        self._ending = True
        for pid in list(self._running):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def _fork(self, place: str) -> None:
        sys.stderr.flush()
        # A signal that came between fork and the note of its pid would end everybody but this one.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        if self._ending:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            return
        pid = os.fork()
        if pid == 0:
            self._be(place, blocked)
        self._running[pid] = place
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def _be(self, place: str, blocked: set[signal.Signals] | set[int]) -> None:
        """The child's life."""
        code = 1
        try:
            os.close(self._held)
            threading.Thread(target=self._orphaned, name="orphaned", daemon=True).start()
            code = _beat(self._center, blocked) if place == BEAT else _work(self._center, place, blocked)
        except Exception as error:  # noqa: BLE001 (the child ends here and not in its parent's loop)
            _log.error("worker_failed", place=place, kind=type(error).__name__, exc_info=error)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        finally:
            sys.stderr.flush()
            os._exit(code)

    def _orphaned(self) -> None:
        os.read(self._alive, 1)
        os.kill(os.getpid(), signal.SIGTERM)


def _load(settings: Settings) -> None:
    """What each process would load for itself is loaded once, and its memory is shared."""
    for module in ("celery.apps.worker", "celery.concurrency.solo", "celery.worker.consumer"):
        import_module(module)
    Broker(settings).close()
    gc.freeze()


def _beat(center: Center, blocked: set[signal.Signals] | set[int]) -> int:
    stop = threading.Event()
    on_end(lambda *_: stop.set())
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    Beat(Broker(center.settings)).run(stop)
    return 0


def _work(center: Center, queue: str, blocked: set[signal.Signals] | set[int]) -> int:
    # Until Celery's own handlers stand, the end needs no order: nothing is on the wire yet.
    on_end(lambda *_: os._exit(0))
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return work(center, queue)


def run_host(center: Center, *, queues: Sequence[str] = (), processes: int) -> int:
    """`incident-center worker` with a broker; answers the exit code."""
    return Host(center, plan(center.settings, queues=queues, processes=processes)).run()


def run_beat(center: Center) -> int:
    """`incident-center beat`: a beat by itself."""
    return Host(center, [BEAT]).run()
