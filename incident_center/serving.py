"""`incident-center serve`: the web application under granian, on request with a worker beside it."""

import subprocess
import sys
import threading

import structlog
from granian import Granian
from granian.constants import Interfaces

from incident_center.config import Settings

RESTART_SECONDS = 2.0
WORKER_EXIT_SECONDS = 30
_log = structlog.get_logger()


class WorkerBeside:
    """A worker process that is started again when it dies, and ended with SIGTERM."""

    def __init__(self) -> None:
        self._ending = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="worker watcher", daemon=True)

    def start(self) -> None:
        """Before the server forks: a process that is forked meanwhile keeps the pipe open by which this one would
        hear that its child runs, and the child would stay unknown for as long as that process lives."""
        self._begin()
        self._watcher.start()

    def end(self) -> None:
        self._ending.set()
        if self._child.poll() is None:
            self._child.terminate()
        self._watcher.join(WORKER_EXIT_SECONDS)

    def _begin(self) -> None:
        self._child = subprocess.Popen([sys.executable, "-m", "incident_center", "worker"])

    def _watch(self) -> None:
        while True:
            code = self._child.wait()
            if self._ending.is_set():
                return
            _log.error("worker_died", code=code)
            if self._ending.wait(RESTART_SECONDS):
                return
            self._begin()
            if self._ending.is_set():  # told so while it began
                self._child.terminate()


def serve(
    settings: Settings, *, host: str, port: int, processes: int, threads: int, with_worker: bool
) -> None:
    """Serves until SIGTERM or Ctrl-C. Each process reads the same environment as this one did."""
    server = Granian(
        "incident_center:create_app",
        factory=True,
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=processes,
        blocking_threads=threads,
        respawn_failed_workers=True,
        websockets=False,
        log_access=False,
    )
    beside = WorkerBeside() if with_worker else None
    _log.info("serving", host=host, port=port, public_url=settings.public_url, worker=with_worker)
    if beside is not None:
        beside.start()
    try:
        server.serve()
    finally:
        if beside is not None:
            beside.end()
