"""Workers and publishers in processes of their own, so that they can be killed. Their clocks may run ahead.

Argument: one JSON object (see `Given`). Each line on standard input is a command; each line on standard output
says what happened. Children are forked, because loading the libraries takes longer than a round, and wait for
their pid to be known before they begin.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
import traceback
from datetime import UTC, datetime, timedelta
from typing import Any

from incident_center import clock
from incident_center.db import Database
from tests.storms.given import ENDS, Given

_ahead = [timedelta(0)]
clock.now = lambda: datetime.now(UTC) + _ahead[0]  # before anybody takes it as a default
_real_skew = Database.clock_skew
# What is played is time that has passed, for the database too: not a worker with a wrong clock, which sends nothing.
Database.clock_skew = lambda self, now: _real_skew(self, now - _ahead[0])  # type: ignore[method-assign]


def main() -> None:
    given = Given(**json.loads(sys.argv[1]))
    nursery = Nursery(given)
    nursery.serve()


class Nursery:
    """Forks, and tells who has ended."""

    def __init__(self, given: Given) -> None:
        _shorten(given)
        from tests.storms import children  # noqa: PLC0415 (what it imports takes the shortened times at import)

        self._children = children
        self._center = children.prepare(given)
        self._gates: dict[int, int] = {}
        read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._read = read
        signal.set_wakeup_fd(self._write)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        """Until standard input ends; then nobody is left behind."""
        commands = b""
        while True:
            ready, _, _ = select.select([0, self._read], [], [])
            if self._read in ready:
                os.read(self._read, 1000)
                self._reap()
            if 0 in ready:
                data = os.read(0, 65536)
                if not data:
                    break
                *whole, commands = (commands + data).split(b"\n")
                for line in whole:
                    self._obey(json.loads(line))
        for pid in list(self._gates):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def _obey(self, command: dict[str, Any]) -> None:
        if command["do"] == "begin":
            os.write(self._gates[command["pid"]], b"!")
            return
        if command["do"] == "warm":
            self._children.warm_up(self._center)
            _say(event="warm")
            return
        gate, opener = os.pipe()
        # Who is told to end before they listen is told when they do, and does not die of it.
        unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
        pid = os.fork()
        if pid == 0:
            self._child(command, gate)
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        os.close(gate)
        self._gates[pid] = opener
        _say(event="born", pid=pid, number=command["number"])

    def _child(self, command: dict[str, Any], gate: int) -> None:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.read(gate, 1)
            _ahead[0] = timedelta(seconds=command["ahead"])
            status = self._children.run(self._center, command)
        except BaseException:  # noqa: BLE001 (a child must end here and not run into its parent's loop)
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        while self._gates:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if os.WIFSTOPPED(status):
                continue
            os.close(self._gates.pop(pid))
            _say(event="ended", pid=pid, status=os.waitstatus_to_exitcode(status), at=time.time())


def _shorten(given: Given) -> None:
    """Leases and waits are read by name when modules are loaded, so they are changed before."""
    from incident_center.delivery import retry  # noqa: PLC0415 (see above)

    if given.resend_after is not None:
        retry.RESEND_UNKNOWN_AFTER = timedelta(seconds=given.resend_after)
    from incident_center.delivery import ledger  # noqa: PLC0415 (see above)

    if given.lease is not None:
        ledger.LEASE = timedelta(seconds=given.lease)


def _say(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
