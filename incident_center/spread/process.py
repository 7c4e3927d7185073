"""One process of a host: a Celery worker that takes one task at a time from one queue and does it itself.

Celery's solo pool and several such processes, not its prefork pool: each has its own worker with its connections
and leases, is told of SIGTERM in the middle of a task, and there is no second process between it and the broker.
"""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Callable

import structlog
from celery import Celery, Task, signals
from celery.exceptions import SecurityWarning
from celery.worker import state

from incident_center.center import Center
from incident_center.delivery.postbox import EVERYBODY
from incident_center.spread.broker import Broker
from incident_center.spread.desk import Desk
from incident_center.spread.queues import DELIVER, PREFIX, URGENT, URGENT_TASKS, celery_app, queue_name
from incident_center.states import Channel
from incident_center.worker import Worker

REFUSED_SECONDS = 60.0  # after Celery has given up on a broker, until a new process tries it again
_log = structlog.get_logger()


def work(center: Center, queue: str) -> int:
    """Takes tasks until SIGTERM; answers the exit code. Ends with nothing on the wire and no lease held.

    Celery waits for a broker that is away, but not for one that refuses (a wrong password, read-only, full). Then
    the process works by looking for a minute, and ends to be replaced by one that tries the broker again.
    """
    worker = Worker(center, lanes=[EVERYBODY if queue == URGENT else frozenset({Channel(queue)})])
    desk = Desk(worker, Broker(center.settings), queue)
    app = celery_app(center.settings)
    _tasks(app, desk, queue)
    _logs()

    def stop(*_: object) -> None:
        """In the middle of a task too: its round ends in time, and Celery takes no other."""
        worker.stop.set()
        state.should_stop = 0

    on_end(stop)
    desk.begin()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)  # of root; nothing but JSON is accepted
        running = app.Worker(
            hostname=worker.owner.replace(":", "-"),
            pool="solo",
            concurrency=1,
            queues=[queue_name(center.settings, queue)],
            loglevel=logging.WARNING,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
        )
    running.install_platform_tweaks = lambda _: None  # Celery's own signals; ours stand
    try:
        running.start()
        told_to_end = worker.stop.wait(REFUSED_SECONDS)
    finally:
        desk.end()
    return 0 if told_to_end else 1


def on_end(then: Callable[..., object]) -> None:
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, then)


def _tasks(app: Celery, desk: Desk, queue: str) -> None:
    def deliver(channel: str) -> None:
        desk.deliver(Channel(channel))

    def urgent(task: Task) -> None:
        desk.urgent(task.name.removeprefix(PREFIX))

    if queue == URGENT:
        for name in URGENT_TASKS:
            app.task(urgent, name=PREFIX + name, bind=True)
    else:
        app.task(deliver, name=PREFIX + DELIVER)


class _Lines(logging.Handler):
    """What Celery and its libraries tell, as our log lines; they leave passwords out of addresses.

    A broker that is away is an error to them, and a warning to us.
    """

    def emit(self, record: logging.LogRecord) -> None:
        _log.warning("celery", logger=record.name, said=record.getMessage().strip())


def _logs() -> None:
    def ours(**_: object) -> None:
        """Being connected keeps Celery from setting up logs of its own."""

    signals.setup_logging.connect(ours, weak=False)
    for name in ("celery", "kombu", "amqp"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [_Lines(logging.WARNING)], False
        logger.setLevel(logging.WARNING)
