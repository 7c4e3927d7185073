"""The writing half of a kept SMTP connection: what goes out when, and what becomes of letters when it ends.

With PIPELINING (RFC 2920) a message costs one write and one round trip: `<message> . MAIL RCPT DATA`; without it the
same steps go out one by one. A message is written only after 354 for it, so a letter whose envelope alone is on the
wire is nobody's yet.
"""

from __future__ import annotations

from math import inf
from typing import Protocol

from incident_center.delivery.outcome import Letter, Outcome
from incident_center.delivery.transports.posted import Posted
from incident_center.delivery.transports.smtp_line import Line
from incident_center.delivery.transports.smtp_open import Opened
from incident_center.delivery.transports.smtp_replies import lost
from incident_center.delivery.transports.smtp_server import SmtpServer
from incident_center.delivery.transports.smtp_wire import DATA, DOT, Wire

ON_RESET, ON_MAIL, ON_RCPT, ON_DATA, ON_DOT, ON_EMPTY = range(6)  # the replies that are waited for
_ENVELOPE = (ON_MAIL, ON_RCPT, ON_DATA)
DOT_AND_ENVELOPE = (ON_DOT, *_ENVELOPE)


class Job:
    """One letter on its way, and whose ticket it is on."""

    __slots__ = ("letter", "moved", "place", "posted", "wire")

    def __init__(self, posted: Posted, place: int, letter: Letter) -> None:
        self.posted, self.place, self.letter = posted, place, letter
        self.wire: Wire | None = None
        self.moved = False


class Keeper(Protocol):
    """What a connection needs of the pool that keeps it."""

    tick: float  # the time of this round of the loop
    next_deadline: float  # not later than any connection's

    def next_job(self, session: Writing) -> Job | None: ...
    def settle(self, job: Job, outcome: Outcome) -> None: ...
    def put_back(self, job: Job) -> None: ...
    def give_back(self, job: Job, *, stop: bool) -> None: ...
    def rested(self, session: Writing) -> None: ...
    def ended(self, session: Writing) -> None: ...
    def writing(self, session: Writing, on: bool) -> None: ...


class Writing:
    """At most two letters at a time: one whose dot is sent, and one whose envelope stands behind it."""

    def __init__(self, opened: Opened, server: SmtpServer, keeper: Keeper) -> None:
        self.opened = opened
        self.line = Line(opened.sock)
        self.taken = 0
        self.kept = False  # it has been idle
        self.deadline = inf
        self.idle_since = keeper.tick
        self.closed = False
        self._server, self._keeper = server, keeper
        self._expect: tuple[int, ...] = ()
        self._step = 0
        self._partial = b""
        self._waits_to_write = False
        self._dotted: Job | None = None
        self._job: Job | None = None
        self._answered = False  # the server has looked at the current letter's first command
        self._refused: Outcome | None = None
        self._named = False  # the server has taken the recipient
        self._reset = False  # a transaction is to be ended before the next one

    def begin(self, job: Job) -> None:
        """An idle connection takes up a letter."""
        envelope, steps = self._envelope(job)
        self._send(envelope, steps)

    def _envelope(self, job: Job) -> tuple[bytes, tuple[int, ...]]:
        """The commands that open a letter, as many as may go out at once."""
        self._job, self._answered, self._refused, self._named = job, False, None, False
        mail, rcpt, _ = wire_of(job)
        reset, self._reset = self._reset, False
        if not self.opened.pipelining:
            return (b"RSET\r\n", (ON_RESET,)) if reset else (mail, (ON_MAIL,))
        if reset:
            return b"RSET\r\n" + mail + rcpt + DATA, (ON_RESET, *_ENVELOPE)
        return mail + rcpt + DATA, _ENVELOPE

    def _write_message(self) -> None:
        """The one place where a message goes out, and the last moment to keep it back."""
        keeper, job = self._keeper, self._job
        if job is None:
            return
        if not job.posted.may_go():
            # A dot would hand in an empty message, so the connection ends in the middle of this one.
            self._close()
            keeper.give_back(job, stop=True)
            return
        self._dotted, self._job = job, None
        body = wire_of(job).body
        following = keeper.next_job(self) if self.opened.pipelining else None
        if following is None:
            self._send(body + DOT, (ON_DOT,), dot_at=len(body))
            return
        self._job, self._answered, self._refused, self._named = following, False, None, False
        mail, rcpt, _ = wire_of(following)
        self._send(b"".join((body, DOT, mail, rcpt, DATA)), DOT_AND_ENVELOPE, dot_at=len(body))

    def _write_nothing(self, refused: Job, outcome: Outcome) -> None:
        """354 although the recipient was refused: a dot alone ends it (RFC 2920 §3.1), and nobody gets
        anything."""
        self._job = None
        self._keeper.settle(refused, outcome)
        following = self._keeper.next_job(self)
        if following is None:
            self._send(DOT, (ON_EMPTY,))
        else:
            envelope, steps = self._envelope(following)
            self._send(DOT + envelope, (ON_EMPTY, *steps))

    def _send(self, data: bytes, steps: tuple[int, ...], dot_at: int = 0) -> None:
        self._expect, self._step = steps, 0
        if self.line.send(data, dot_at):
            self._wait(self._server.dot_timeout if dot_at else self._server.command_timeout)
        else:
            self._wait(self._server.command_timeout)
            self._watch_writing()

    def _flush(self) -> None:
        if self.line.flush():
            self._wait(self._server.dot_timeout if self._dotted else self._server.command_timeout)
        else:
            self._wait(self._server.command_timeout)
        self._watch_writing()

    def _watch_writing(self) -> None:
        # A line that is broken is not written to again; reading will tell the end.
        wanted = self.line.pending and self.line.broken is None
        if wanted != self._waits_to_write:
            self._waits_to_write = wanted
            self._keeper.writing(self, wanted)

    def _wait(self, seconds: float) -> None:
        keeper = self._keeper
        self.deadline = deadline = keeper.tick + seconds
        keeper.next_deadline = min(keeper.next_deadline, deadline)

    # The end of the connection

    def lose(self, error: Exception) -> None:
        """The connection ended without a word, or nothing came for too long."""
        dotted, job = self._close()
        error = self.line.broken or error
        if dotted is not None:
            self._keeper.settle(dotted, lost(error, dot_sent=self.line.dot_written))
        if job is not None:
            outcome = self._refused or lost(error, dot_sent=False)
            self._move_or_settle(job, outcome, hung=outcome.code == "timeout")

    def abandon(self) -> None:
        """Nobody waits any longer: what was sent is unknown, the rest was not tried."""
        dotted, job = self._close(goodbye=self.idle)
        if dotted is not None:
            if self.line.dot_written:
                self._keeper.settle(dotted, lost(ConnectionAbortedError(), dot_sent=True))
            else:
                self._keeper.give_back(dotted, stop=True)
        if job is not None:
            if self._refused is not None:
                self._keeper.settle(job, self._refused)
            else:
                self._keeper.give_back(job, stop=True)

    def crash(self, error: Exception) -> None:
        """The transport itself broke off: nobody knows how far a message came that it had begun to write."""
        dotted, job = self._close()
        words = f"the transport broke off ({type(error).__name__})"
        if dotted is not None:
            self._keeper.settle(dotted, Outcome(state="unknown", code="crash", detail=words))
        if job is not None:
            self._keeper.give_back(job, stop=True)

    @property
    def idle(self) -> bool:
        return self._dotted is None and self._job is None and self._step == len(self._expect)

    def _leave(self, outcome: Outcome) -> None:
        """The connection is of no use any more; `outcome` is the letter's whose turn it was."""
        _, job = self._close()
        if job is not None:
            self._move_or_settle(job, outcome, hung=False)

    def _move_or_settle(self, job: Job, outcome: Outcome, *, hung: bool) -> None:
        """A kept connection that was closed before it looked at a letter says nothing about the provider.

        Each such move costs a connection that had already served, so it ends; one that hangs is waited for
        once.
        """
        if self._answered or self._refused or not (self.kept or self.taken > 1) or (hung and job.moved):
            self._keeper.settle(job, outcome)
        else:
            job.moved = job.moved or hung
            self._keeper.put_back(job)

    def _close(self, *, goodbye: bool = False) -> tuple[Job | None, Job | None]:
        dotted, job = self._dotted, self._job
        self._dotted = self._job = None
        if not self.closed:
            self.closed, self.deadline = True, inf
            self._keeper.ended(self)
            self.line.close(b"QUIT\r\n" if goodbye else b"")
        return dotted, job


def wire_of(job: Job) -> Wire:
    if job.wire is None:
        raise AssertionError("a letter without its bytes was given to a connection")
    return job.wire
