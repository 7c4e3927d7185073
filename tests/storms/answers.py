"""Every class of answer of a mail server and of an SMS provider, and what it makes of a delivery.

`python -m tests.storms.answers` writes docs/answers.md from this table; test_answers.py plays every line of it with
real servers and compares the page.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from incident_center.states import Channel
from tests.storms.gateway import Answer, HttpStep
from tests.storms.loops import Drop, Hang, Reply
from tests.storms.smtpd import Step

PAGE = Path(__file__).parents[2] / "docs" / "answers.md"

BACKS_OFF = "tried again after 15 to 30 s, doubling up to 15 min, for 4 h"
ONCE_MORE = "sent once more after 60 s, flagged “possibly twice”"
NOTHING = "nothing"


def waits(seconds: float) -> str:
    return f"tried again after {seconds:g} s" if seconds < 900 else "tried again after 15 min"


@dataclass(frozen=True, kw_only=True)
class Case:
    """`step` and `act` are what the server does to everybody; `options` go to the mail server's URL."""

    says: str
    state: str
    then: str
    suppresses: bool = False
    rests: bool = False
    step: Step | HttpStep
    act: Reply | Drop | Hang | Answer | None
    options: str = ""
    extensions: tuple[str, ...] = ()
    password: bool = False
    refused: bool = False  # nobody listens there
    untrusted: bool = False  # TLS with a certificate that nobody vouches for
    dated: bool = False  # its Retry-After is a date, which the test writes

    @property
    def channel(self) -> Channel:
        return Channel.EMAIL if isinstance(self.step, Step) else Channel.SMS


def _mail(
    says: str, state: str, then: str, step: Step, act: Reply | Drop | Hang | None, **more: object
) -> Case:
    return Case(says=says, state=state, then=then, step=step, act=act, **more)  # type: ignore[arg-type]  # Case checks them


def _http(says: str, state: str, then: str, act: Answer | Drop | Hang | None, **more: object) -> Case:
    step = more.pop("step", HttpStep.REQUEST)
    return Case(says=says, state=state, then=then, act=act, step=step, **more)  # type: ignore[arg-type]  # see _mail


def _busy(retry_after: str, then: str, says: str, **more: object) -> Case:
    answer = Answer(429, "{}", {"Retry-After": retry_after} if retry_after else {})
    return _http(f"429, {says}", "retry", then, answer, rests=True, **more)


_SILENT = "&dot_timeout=0.4"

MAIL = (
    _mail("250 after the final dot", "accepted", NOTHING, Step.DOT, None),
    _mail("connection refused", "retry", BACKS_OFF, Step.CONNECT, None, rests=True, refused=True),
    _mail("421 at the greeting", "retry", BACKS_OFF, Step.CONNECT, Reply("421 4.3.2 closing"), rests=True),
    _mail("421 at MAIL FROM", "retry", BACKS_OFF, Step.MAIL, Reply("421 4.7.0 too much"), rests=True),
    _mail("421 at the final dot", "retry", BACKS_OFF, Step.DOT, Reply("421 4.3.0 shutting down"), rests=True),
    _mail("450 at RCPT TO", "retry", BACKS_OFF, Step.RCPT, Reply("450 4.2.1 mailbox busy")),
    _mail("451 at RCPT TO", "retry", BACKS_OFF, Step.RCPT, Reply("451 4.3.0 try again")),
    _mail("451 at the final dot", "retry", BACKS_OFF, Step.DOT, Reply("451 4.3.0 try again")),
    _mail("452 at RCPT TO", "retry", BACKS_OFF, Step.RCPT, Reply("452 4.2.2 mailbox full")),
    _mail("452 at the final dot", "retry", BACKS_OFF, Step.DOT, Reply("452 4.3.1 no room")),
    _mail(
        "535 at sign-in",
        "retry",
        BACKS_OFF,
        Step.AUTH,
        Reply("535 5.7.8 bad login"),
        rests=True,
        options="&tls=none",
        extensions=("AUTH PLAIN LOGIN",),
        password=True,
    ),
    _mail(
        "550 5.1.1 at RCPT TO", "failed", NOTHING, Step.RCPT, Reply("550 5.1.1 no such user"), suppresses=True
    ),
    _mail("550 without more at RCPT TO", "failed", NOTHING, Step.RCPT, Reply("550 no")),
    _mail(
        "550 relaying not permitted at RCPT TO",
        "retry",
        BACKS_OFF,
        Step.RCPT,
        Reply("550 relaying not permitted"),
        rests=True,
    ),
    _mail("550 5.7.1 at RCPT TO", "retry", BACKS_OFF, Step.RCPT, Reply("550 5.7.1 policy"), rests=True),
    _mail("550 5.7.26 at the final dot", "retry", BACKS_OFF, Step.DOT, Reply("550 5.7.26 DMARC"), rests=True),
    _mail(
        "554 without more at the final dot",
        "retry",
        BACKS_OFF,
        Step.DOT,
        Reply("554 Message rejected: Email address is not verified"),
        rests=True,
    ),
    _mail("250 at DATA", "retry", BACKS_OFF, Step.DATA, Reply("250 2.0.0 odd"), rests=True),
    _mail("552 5.2.2 at RCPT TO", "failed", NOTHING, Step.RCPT, Reply("552 5.2.2 over quota")),
    _mail("552 5.3.4 at the final dot", "failed", NOTHING, Step.DOT, Reply("552 5.3.4 too big")),
    _mail("connection lost at the greeting", "retry", BACKS_OFF, Step.CONNECT, Drop(), rests=True),
    _mail("connection lost at RCPT TO", "retry", BACKS_OFF, Step.RCPT, Drop(), rests=True),
    _mail(
        "connection lost in the message, before the final dot",
        "retry",
        BACKS_OFF,
        Step.DATA,
        Drop(),
        rests=True,
    ),
    _mail(
        "connection lost after the final dot, not kept", "unknown", ONCE_MORE, Step.DOT, Drop(), rests=True
    ),
    _mail("connection lost after the final dot, kept", "unknown", ONCE_MORE, Step.STORED, Drop(), rests=True),
    _mail("silence after the final dot, then 250", "accepted", NOTHING, Step.STORED, Hang(0.2)),
    _mail(
        "silence after the final dot for longer than `dot_timeout` (10 minutes)",
        "unknown",
        ONCE_MORE,
        Step.STORED,
        Hang(2.0),
        rests=True,
        options=_SILENT,
    ),
    _mail(
        "STARTTLS offered, and then no TLS",
        "retry",
        BACKS_OFF,
        Step.STARTTLS,
        None,
        rests=True,
        options="&tls=required",
        extensions=("STARTTLS",),
    ),
    _mail(
        "no STARTTLS although it is required",
        "retry",
        BACKS_OFF,
        Step.EHLO,
        None,
        rests=True,
        options="&tls=required",
    ),
    _mail(
        "TLS with a certificate that does not verify",
        "retry",
        BACKS_OFF,
        Step.CONNECT,
        None,
        rests=True,
        untrusted=True,
    ),
)

HTTP = (
    _http("201 with an id", "accepted", NOTHING, None),
    _http("200 without an id", "unknown", ONCE_MORE, Answer(200, "{}"), rests=True),
    _http(
        "200 with a page instead of an answer",
        "unknown",
        ONCE_MORE,
        Answer(200, "<html>Welcome</html>"),
        rests=True,
    ),
    _http("302", "retry", BACKS_OFF, Answer(302, "", {"Location": "/elsewhere"}), rests=True),
    _http("400 21211: no valid number", "failed", NOTHING, Answer(400, '{"code": 21211}')),
    _http("400 without a known code", "retry", BACKS_OFF, Answer(400, "{}"), rests=True),
    _http("401", "retry", BACKS_OFF, Answer(401, "{}"), rests=True),
    _busy("", BACKS_OFF, "without Retry-After"),
    _busy("7", waits(7), "Retry-After: 7"),
    _busy("0", waits(1), "Retry-After: 0"),
    _busy("86400", waits(900), "Retry-After: a day"),
    _busy("", waits(120), "Retry-After: a date two minutes ahead", dated=True),
    _busy("soon", BACKS_OFF, "Retry-After: something unreadable"),
    _http("500", "unknown", ONCE_MORE, Answer(500, "{}"), rests=True),
    _http("501", "retry", BACKS_OFF, Answer(501, "{}"), rests=True),
    _http("502", "unknown", ONCE_MORE, Answer(502, "bad gateway"), rests=True),
    _http("503, Retry-After: 20", "retry", waits(20), Answer(503, "{}", {"Retry-After": "20"}), rests=True),
    _http("504", "unknown", ONCE_MORE, Answer(504, "time-out"), rests=True),
    _http("connection refused", "retry", BACKS_OFF, None, rests=True, refused=True),
    _http(
        "TLS with a certificate that does not verify", "retry", BACKS_OFF, None, rests=True, untrusted=True
    ),
    _http(
        "connection lost while the request was written",
        "unknown",
        ONCE_MORE,
        Drop(),
        rests=True,
        step=HttpStep.CONNECT,
    ),
    _http("connection lost after the request, not kept", "unknown", ONCE_MORE, Drop(), rests=True),
    _http(
        "connection lost after the request, kept",
        "unknown",
        ONCE_MORE,
        Drop(),
        rests=True,
        step=HttpStep.STORED,
    ),
)

_INTRODUCTION = """\
# What a provider's answer makes of a delivery

After the first try, for each class of answer. This page is made from the table that the tests play with servers on
this machine, long waits shortened (`python -m tests.storms.answers`); they fail when it is not so.

- `accepted`: the provider has it. `retry` and `failed`: it certainly has not. `unknown`: it may have it; such a
  message is sent once more at most, by the same provider and with the same Message-ID, never by another one.
- “Suppresses”: the address is written to no more. Only a mailbox that does not exist does that, or a number that is
  out of service (Vonage's 33); whatever is the provider's own doing (bad login, policy, overload) suppresses nobody.
- “Rests”: six people got this answer. A provider that rests is left alone for 15 s, then longer; the next one of
  the channel takes over what has certainly not been accepted.
"""


def page() -> str:
    return "\n".join(
        [
            _INTRODUCTION,
            "## E-mail (SMTP)",
            "",
            *_table(MAIL),
            "",
            "## SMS over HTTP (as Twilio speaks it)",
            "",
            *_table(HTTP),
            "",
        ]
    )


def _table(cases: Iterable[Case]) -> list[str]:
    head = ["| The server says | State | What happens next | Suppresses | Rests |", "|---|---|---|---|---|"]
    return head + [
        f"| {case.says} | `{case.state}` | {case.then} | {_yes(case.suppresses)} | {_yes(case.rests)} |"
        for case in cases
    ]


def _yes(value: bool) -> str:
    return "yes" if value else ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
