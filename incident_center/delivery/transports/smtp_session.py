"""One kept SMTP connection, driven by events: each reply says what became of a letter and what goes out next."""

from __future__ import annotations

from math import inf

from incident_center.delivery.outcome import Outcome
from incident_center.delivery.transports.smtp_line import next_reply
from incident_center.delivery.transports.smtp_replies import (
    message_refused,
    provider_refused,
    recipient_refused,
    reference,
)
from incident_center.delivery.transports.smtp_wire import DATA
from incident_center.delivery.transports.smtp_writing import (
    DOT_AND_ENVELOPE,
    ON_DATA,
    ON_MAIL,
    ON_RCPT,
    Writing,
    wire_of,
)

_LONGEST_REPLY = 65_536


class Session(Writing):
    """A connection and the letters on it; the pool calls `begin` and, on events, `ready`."""

    def ready(self, readable: int) -> None:
        if self._waits_to_write:
            self._flush()
        if not readable:
            return
        line = self.line
        try:
            data = line.receive()
            while data:
                if self._partial or self._expect is not DOT_AND_ENVELOPE or not self._steady(data):
                    self._replies(self._partial + data)
                if self.closed or not line.more():
                    return
                data = line.receive()
        except OSError as error:
            self.lose(error)
            return
        if data is not None:
            self.lose(ConnectionResetError("the server has closed the connection"))

    def _steady(self, data: bytes) -> bool:
        """The four replies of a connection in full flow, at once: the message is accepted, the next may
        follow."""
        replies = data.split(b"\r\n")
        if (
            self._step
            or len(replies) != 5
            or replies[4]
            or replies[0][:4] != b"250 "
            or replies[1][:4] != b"250 "
            or replies[2][:4] != b"250 "
            or replies[3][:4] != b"354 "
            or self.line.pending
        ):
            return False
        self._accepted(replies[0][4:])
        self._write_message()
        return True

    def _replies(self, data: bytes) -> None:
        start = 0
        while not self.closed and (reply := next_reply(data, start)) is not None:
            code, words, start = reply
            if self._step == len(self._expect):
                # Nothing was asked: as a rule 421, before the server closes an idle connection.
                self.lose(ConnectionResetError("the server spoke without being asked"))
                return
            step = self._expect[self._step]
            self._step += 1
            if self._dotted is None:
                self._wait(self._server.command_timeout)
            if step == ON_DATA and start < len(data):
                # What came before the message was written cannot be the reply to it.
                self.lose(ConnectionResetError("the server said more than it was asked"))
                return
            self._handlers[step](self, code, words)
        self._partial = data[start:]
        if len(self._partial) > _LONGEST_REPLY:
            self.lose(ConnectionResetError("the server's reply does not end"))

    def _on_reset(self, code: int, words: bytes) -> None:
        if code != 250:
            self._leave(provider_refused(code, words))
        elif not self.opened.pipelining and self._job is not None:
            self._send(wire_of(self._job).mail, (ON_MAIL,))

    def _on_mail(self, code: int, words: bytes) -> None:
        self._answered = code != 421  # a server that closes an idle connection has not looked at this letter
        if code == 250:
            if not self.opened.pipelining and self._job is not None:
                self._send(wire_of(self._job).rcpt, (ON_RCPT,))
            return
        self._refuse(provider_refused(code, words), code)

    def _on_rcpt(self, code: int, words: bytes) -> None:
        if code in {250, 251}:
            self._named = True
            if not self.opened.pipelining:
                self._send(DATA, (ON_DATA,))
            return
        self._refuse(recipient_refused(code, words), code)

    def _on_data(self, code: int, words: bytes) -> None:
        if code != 354:
            # Nothing of the message has gone out, so a reply that makes no sense puts nothing in doubt.
            refused = message_refused if 400 <= code <= 599 else provider_refused
            self._refuse(refused(code, words), code)
        elif self._refused is None:
            self._write_message()
        elif self._named or self._job is None:
            # A dot would hand in an empty message to somebody, so the connection ends here.
            self._leave(self._refused)
        else:
            self._write_nothing(self._job, self._refused)

    def _on_dot(self, code: int, words: bytes) -> None:
        job = self._dotted
        if job is None:
            return
        early = not self.line.dot_written
        if code == 250 and not early:
            self._accepted(words)
        else:
            self._dotted = None
            # A reply to a message that is not sent whole yet settles it only when it is a refusal.
            outcome = message_refused(-1 if code == 250 else code, words)
            self._keeper.settle(job, outcome)
            if code == 421 or outcome.state == "unknown" or early:
                self._leave(outcome)
                return
        self._go_on()

    def _on_empty(self, code: int, words: bytes) -> None:
        if code == 421 or code < 0:
            self._leave(provider_refused(code, words))
        else:
            self._go_on()

    def _accepted(self, words: bytes) -> None:
        job, self._dotted = self._dotted, None
        if job is not None:
            outcome = Outcome(state="accepted", code="250", provider_ref=reference(words))
            job.posted.accept(job.place, outcome)

    def _refuse(self, outcome: Outcome, code: int) -> None:
        """The letter is refused; the replies that are still due to its envelope change nothing."""
        if code == 421 or code < 0:
            self._leave(self._refused or outcome)
            return
        if self._refused is None:
            self._refused = outcome
        if self._step == len(self._expect) and self._job is not None:
            job, self._job, self._reset = self._job, None, True
            self._keeper.settle(job, self._refused)
            self._go_on()

    def _go_on(self) -> None:
        """After the last reply of a group: the next letter, or a rest."""
        if self._step < len(self._expect):
            return
        job = self._keeper.next_job(self)
        if job is not None:
            self.begin(job)
            return
        self.deadline, self.idle_since = inf, self._keeper.tick
        self._keeper.rested(self)

    _handlers = (_on_reset, _on_mail, _on_rcpt, _on_data, _on_dot, _on_empty)
