"""One event loop over several kept connections to one mail server.

Letters wait in one queue and go over whichever connection is free. The first connection is opened when there is
something to send, others only while letters are waiting, each in a thread of its own, so that nobody waits for them.
Nothing is ever sent twice: a letter changes connections only if no byte of its message was written.
"""

from __future__ import annotations

import selectors
import ssl
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from math import inf

from incident_center.delivery.outcome import Outcome
from incident_center.delivery.transports.posted import Posted
from incident_center.delivery.transports.smtp_open import Opener
from incident_center.delivery.transports.smtp_openings import Loop, Openings
from incident_center.delivery.transports.smtp_server import SmtpServer
from incident_center.delivery.transports.smtp_session import Session
from incident_center.delivery.transports.smtp_wire import WireMaker
from incident_center.delivery.transports.smtp_writing import Job, Writing
from incident_center.exchange import wait_for

# Opening costs about as many round trips as that many messages, so fewer are not worth another connection.
_WORTH_A_CONNECTION = 4
_CROWDED_SECONDS = 30.0  # how long a server that refuses one more connection is not asked for more
_READ = selectors.EVENT_READ
_READ_WRITE = selectors.EVENT_READ | selectors.EVENT_WRITE
_ELSEWHERE = object()
_LOOK_SECONDS = 1.0  # how late a deadline may be noticed while somebody else is waited for


class SmtpPool:
    """Not for several threads, but for `abort`. Never raises for what a server or a network does."""

    def __init__(
        self,
        server: SmtpServer,
        *,
        tls_context: Callable[[], ssl.SSLContext] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now = now
        self.tick = now()  # the time of this round: asking the clock for each message would cost
        self._server = server
        self._opener = Opener(server, tls_context=tls_context)
        self._maker = WireMaker(server)
        self._allowed = server.connections
        self._queue: deque[Job] = deque()
        self._sessions: set[Writing] = set()
        self._idle: list[Session] = []
        self.next_deadline = inf
        self._crowded_until = -inf
        self._aborted = False
        self._loop: Loop | None = None

    # What the courier calls

    def post(self, posted: Posted) -> None:
        """Starts the letters on their way and waits for nothing."""
        self._queue.extend(Job(posted, place, letter) for place, letter in enumerate(posted.letters))
        self._turn(0.0)

    def wait(self, posted: Posted) -> None:
        """Until each letter of the ticket has its outcome; the letters of other tickets move on meanwhile."""
        while posted.waiting:
            self._turn(None)
        if not self._sessions and not self._queue:
            self._leave_loop()  # a provider that is not there leaves nothing open

    def move_on(self) -> None:
        """What the server has answered meanwhile, and what may go out because of it; waits for nothing."""
        if self._loop is not None:
            self._turn(0.0)

    def until_readable(self, socket: int) -> None:
        """Moves on until something can be read from another one's socket."""
        if self._loop is None or self._aborted:
            wait_for(socket)
            return
        selector = self._loop.selector
        selector.register(socket, _READ, _ELSEWHERE)
        try:
            while not self._turn(_LOOK_SECONDS) and not self._aborted:
                pass
        finally:
            selector.unregister(socket)

    def rest(self, seconds: float) -> None:
        """Moves on for so long, whether anything is under way or not."""
        end = time.monotonic() + seconds
        while self._loop is not None and not self._aborted and time.monotonic() < end:
            self._turn(max(0.0, end - time.monotonic()))
        time.sleep(max(0.0, end - time.monotonic()))

    def allow(self, connections: int) -> None:
        """At most so many connections from now on; those beyond go as soon as they have nothing on the wire."""
        self._allowed = max(1, connections)
        while self._idle and len(self._sessions) > self._allowed:
            self._idle.pop().abandon()

    def close(self) -> None:
        """Says goodbye; letters that are still on the way are given up. The pool can be used again."""
        self._give_up()
        self._leave_loop()

    def abort(self) -> None:
        """From another thread, for good: whoever waits for the server waits no longer."""
        self._aborted = True
        loop = self._loop
        if loop is not None:
            loop.openings.ring()

    def _leave_loop(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.openings.close()
            loop.selector.close()

    # What a connection calls

    def next_job(self, session: Writing) -> Job | None:
        if self._has_served(session):
            return None
        while self._queue:
            job = self._queue.popleft()
            try:
                made = self._maker.make(job.letter, session.opened)
            except Exception as error:  # noqa: BLE001 (one letter's odd content must not stop the others)
                words = f"the message could not be made ({type(error).__name__})"
                made = Outcome(state="retry", code="crash", detail=words)
            if isinstance(made, Outcome):
                self.settle(job, made)
                continue
            job.wire = made
            session.taken += 1
            return job
        return None

    def settle(self, job: Job, outcome: Outcome) -> None:
        posted = job.posted
        posted.settle(job.place, outcome)
        if posted.stopped:
            self._purge(posted)

    def put_back(self, job: Job) -> None:
        if job.posted.stopped:
            job.posted.give_back()
        else:
            self._queue.appendleft(job)

    def give_back(self, job: Job, *, stop: bool) -> None:
        job.posted.give_back()
        if stop:
            job.posted.stopped = True
            self._purge(job.posted)

    def rested(self, session: Writing) -> None:
        if not isinstance(session, Session):
            return
        if self._has_served(session):
            session.abandon()
        else:
            session.kept = True
            self._idle.append(session)

    def _has_served(self, session: Writing) -> bool:
        """It has taken as many messages as one connection may, or there are more connections than are allowed."""
        spent = bool(self._server.messages) and session.taken >= self._server.messages
        return spent or len(self._sessions) > self._allowed

    def ended(self, session: Writing) -> None:
        self._sessions.discard(session)
        if session in self._idle:
            self._idle = [one for one in self._idle if one is not session]
        if self._loop is not None:
            with suppress(KeyError, ValueError):
                self._loop.selector.unregister(session.line.sock)

    def writing(self, session: Writing, on: bool) -> None:
        if self._loop is not None:
            self._loop.selector.modify(session.line.sock, _READ_WRITE if on else _READ, session)

    # The loop

    def _turn(self, timeout: float | None) -> bool:
        """One round; answers whether something can be read from the socket that is not the pool's."""
        if self._aborted:
            self._give_up()
            return False
        loop = self._loop = self._loop or Loop(self._opener)
        self.tick = self._now()
        events = loop.selector.select(self._until_deadline(loop) if timeout is None else timeout)
        self.tick = self._now()
        elsewhere = False
        for key, mask in events:
            session = key.data
            if session is None:
                self._take_in(loop)
            elif session is _ELSEWHERE:
                elsewhere = True
            elif not session.closed:
                try:
                    session.ready(mask & _READ)
                except Exception as error:  # noqa: BLE001 (the other connections' letters go on)
                    session.crash(error)
        if self.tick >= self.next_deadline:
            self._check_deadlines()
        # Only now: a kept connection that the server has closed meanwhile is gone by this time.
        self._start_letters(loop.openings)
        if self._aborted:
            self._give_up()
        return elsewhere

    def _until_deadline(self, loop: Loop) -> float | None:
        if self.next_deadline == inf and not loop.openings.under_way:
            raise AssertionError("letters are waiting, and nothing is on its way")
        return None if self.next_deadline == inf else max(0.0, self.next_deadline - self.tick)

    def _start_letters(self, openings: Openings) -> None:
        """Idle connections take up what is waiting; more are opened while that is not enough."""
        while self._queue and self._idle:
            session = self._idle.pop()
            if self.tick - session.idle_since > self._server.idle:
                session.abandon()
                continue
            job = self.next_job(session)
            if job is None:
                self._idle.append(session)
                break
            session.begin(job)
        if self._queue:
            for _ in range(self._more(len(self._queue), openings.under_way)):
                openings.start()

    def _more(self, waiting: int, under_way: int) -> int:
        """How many more connections are worth opening."""
        if not self._sessions:
            return 1 - under_way  # whether there is a server at all is tried once
        room = self._allowed - len(self._sessions) - under_way
        wanted = min(room, waiting // _WORTH_A_CONNECTION - under_way)
        return 0 if wanted > 0 and self.tick < self._crowded_until else wanted

    def _take_in(self, loop: Loop) -> None:
        """New connections, or why there are none."""
        for result in loop.openings.arrived():
            if isinstance(result, Outcome):
                self._not_opened(result, loop.openings.under_way)
                continue
            session = Session(result, self._server, self)
            self._sessions.add(session)
            loop.selector.register(result.sock, _READ, session)
            job = self.next_job(session)
            if job is None:
                self.rested(session)
            else:
                session.begin(job)

    def _not_opened(self, outcome: Outcome, under_way: int) -> None:
        """The provider's refusal is told on the first letter of each ticket that waits for it, unless others
        serve."""
        if self._sessions:
            self._crowded_until = self.tick + _CROWDED_SECONDS
            return
        if under_way:
            return
        first = {id(job.posted): job for job in reversed(self._queue)}
        for job in first.values():
            self._queue.remove(job)
        for job in first.values():
            self.settle(job, outcome)

    def _check_deadlines(self) -> None:
        for session in [one for one in self._sessions if one.deadline <= self.tick]:
            session.lose(TimeoutError("timed out"))
        self.next_deadline = min((one.deadline for one in self._sessions), default=inf)

    def _purge(self, posted: Posted) -> None:
        """A ticket that is stopped: what waits of it is not tried."""
        if any(job.posted is posted for job in self._queue):
            kept = [job for job in self._queue if job.posted is not posted]
            for _ in range(len(self._queue) - len(kept)):
                posted.give_back()
            self._queue.clear()
            self._queue.extend(kept)

    def _give_up(self) -> None:
        for session in list(self._sessions):
            session.abandon()
        for job in self._queue:
            job.posted.give_back()
        self._queue.clear()
        self._idle.clear()
