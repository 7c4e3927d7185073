"""Random servers: whatever they answer to whom, nobody is written to twice and every outcome is true."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from incident_center.delivery.courier import SmtpCourier
from incident_center.delivery.outcome import Letter
from incident_center.delivery.transports.smtp_server import SmtpServer
from incident_center.states import Channel
from tests.delivery.rawhost import KEEP_AND_DROP, Rawhost, rawhost
from tests.delivery.servers import DROP

pytestmark = pytest.mark.one_database

_ANSWERS = {
    "mail": [DROP, "421 4.3.2 bye", "451 4.3.0 later", "550 5.7.1 no", "250-2.1.0 yes\r\n250 2.1.0 yes"],
    "rcpt": [
        DROP,
        "421 4.3.2 bye",
        "450 4.2.1 later",
        "550 5.1.1 who",
        "550 5.7.1 no",
        "251 elsewhere",
        "what",
    ],
    "data": [DROP, "421 4.3.2 bye", "451 4.3.0 later", "554 5.6.0 no", "200 2.0.0 odd"],
    "body": [DROP],
    "dot": [DROP, KEEP_AND_DROP, "421 4.3.2 bye", "451 4.3.0 later", "554 5.6.0 no", "354 odd", "what"],
}
_FAULTS = st.sampled_from([(step, answer) for step, answers in _ANSWERS.items() for answer in answers])
_RUNS = itertools.count()
_SERVER = SmtpServer(
    host="127.0.0.1",
    port=0,
    sender="status@pay.example",
    sender_line=b"From: Example Pay <status@pay.example>",
    command_timeout=30,
    dot_timeout=30,
)


@pytest.fixture(scope="module")
def host() -> Iterator[Rawhost]:
    with rawhost() as running:
        yield running


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    faults=st.dictionaries(st.integers(0, 23), _FAULTS, max_size=8),
    refused_at=st.none() | st.integers(0, 23),
    pipelining=st.booleans(),
    dribble=st.booleans(),
    data_for_nobody=st.booleans(),
    connections=st.integers(1, 4),
    messages=st.sampled_from([0, 1, 3]),
)
def test_whoever_is_accepted_has_it_once_and_whoever_is_refused_never(
    host: Rawhost,
    faults: dict[int, tuple[str, str]],
    refused_at: int | None,
    pipelining: bool,
    dribble: bool,
    data_for_nobody: bool,
    connections: int,
    messages: int,
) -> None:
    run = next(_RUNS)
    names = [f"reader-{place}.{run}@example.com" for place in range(24)]
    script = {names[place]: fault for place, fault in faults.items()}
    host.pipelining, host.dribble, host.data_for_nobody = pipelining, dribble, data_for_nobody
    host.replies = lambda step, to: script[to][1] if to in script and script[to][0] == step else None
    host.mails.clear()
    server = replace(_SERVER, port=host.port, connections=connections, messages=messages)
    courier = SmtpCourier("email 1 smtp", server)
    asked: list[bool] = []

    def may_go() -> bool:
        asked.append(refused_at is None or len(asked) < refused_at)
        return asked[-1]

    letters = [
        Letter(key=1, channel=Channel.EMAIL, to=to, raw=b"To: " + to.encode() + b"\r\n\r\nx\r\n")
        for to in names
    ]
    one, two = courier.post(letters[:12], may_go), courier.post(letters[12:], may_go)
    outcomes = courier.collect(one) + courier.collect(two)
    courier.close()
    stored = host.recipients()
    assert len(stored) == len(set(stored))
    assert all(mail.content.endswith(f"To: {mail.recipient}\r\n\r\nx\r\n".encode()) for mail in host.mails)
    found = {name: outcome.state if outcome else None for name, outcome in zip(names, outcomes, strict=True)}
    accepted = {name for name, state in found.items() if state == "accepted"}
    unknown = {name for name, state in found.items() if state == "unknown"}
    assert accepted <= set(stored) <= accepted | unknown
    assert sum(asked) <= len(stored) + len(script)
    for name, state in found.items():
        if name not in script and state is not None:
            # A neighbour's fault may leave an answer unheard, but never refuses anybody else.
            assert state in {"accepted", "unknown"} or refused_at is not None
