"""Several letters are on a connection at once: a fault hits its own, and everybody else's arrives exactly once."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from incident_center.config import Settings
from incident_center.delivery.courier import SmtpCourier
from incident_center.delivery.outcome import Letter, Outcome
from incident_center.delivery.transports.posted import Posted
from incident_center.delivery.transports.smtp_pool import SmtpPool
from incident_center.delivery.transports.smtp_url import smtp_server
from incident_center.states import Channel
from tests.delivery.rawhost import KEEP_AND_DROP, WAIT, Rawhost, a_certificate, rawhost
from tests.delivery.servers import DROP, HANG

pytestmark = pytest.mark.one_database

NAMES = [f"reader-{place}@example.com" for place in range(10)]
HIT = NAMES[4]
SWALLOWED = "250 2.0.0 odd"  # to DATA: the server takes what follows for the message, and says nothing more


def a_letter(to: str, body: bytes = b"Payouts are delayed.\r\n.\r\n..dots\r\n") -> Letter:
    raw = b"To: " + to.encode() + b"\r\nSubject: x\r\n\r\n" + body
    return Letter(key=1, channel=Channel.EMAIL, to=to, message_id=f"<{to}>", raw=raw)


def letters(names: list[str] = NAMES) -> list[Letter]:
    return [a_letter(name) for name in names]


def always() -> bool:
    return True


@pytest.fixture(params=[True, False], ids=["pipelining", "step by step"])
def host(request: pytest.FixtureRequest) -> Iterator[Rawhost]:
    with rawhost(pipelining=request.param) as running:
        yield running


@pytest.fixture
def open_courier(settings: Settings) -> Iterator[Callable[..., SmtpCourier]]:
    opened: list[SmtpCourier] = []

    def opener(url: str, **more: Callable[[], ssl.SSLContext]) -> SmtpCourier:
        opened.append(SmtpCourier("email 1 smtp", smtp_server(settings, url), **more))
        return opened[-1]

    yield opener
    for courier in opened:
        courier.close()


Opener = Callable[..., SmtpCourier]


def states(outcomes: list[Outcome | None]) -> list[str | None]:
    return [outcome.state if outcome else None for outcome in outcomes]


def on(step: str, recipient: str, answer: str) -> Callable[[str, str], str | None]:
    """One answer to one letter; for MAIL without a recipient behind it, to the fifth."""
    mails = iter(range(1000))

    def replies(here: str, to: str) -> str | None:
        if here != step:
            return None
        if step == "mail" and not to:
            return answer if next(mails) == NAMES.index(recipient) else None
        return answer if to == recipient else None

    return replies


def test_many_letters_arrive_once_each_as_they_were_written(open_courier: Opener, host: Rawhost) -> None:
    names = [f"reader-{place}@example.com" for place in range(80)]
    outcomes = open_courier(host.url).send(letters(names), always)
    assert states(outcomes) == ["accepted"] * 80
    assert sorted(host.recipients()) == sorted(names)
    assert 1 <= host.connections <= 10
    for mail in host.mails:
        assert mail.message["To"] == mail.recipient
        assert mail.content.endswith(b"Payouts are delayed.\r\n.\r\n..dots\r\n")
    references = [outcome.provider_ref for outcome in outcomes if outcome]
    assert sorted(map(str, references)) == [f"Q{place:05}" for place in range(1, 81)]


def test_a_message_costs_one_round_trip_where_pipelining_is_offered(
    open_courier: Opener, host: Rawhost
) -> None:
    """Counted as the server's reads that found everything said before them answered."""
    open_courier(host.url + "&connections=1").send(letters(), always)
    verbs = [line[:4].upper() for _, line in host.commands]
    assert verbs == ["EHLO"] + ["MAIL", "RCPT", "DATA"] * 10
    assert host.connections == 1
    assert host.waits == (12 if host.pipelining else 41)


@pytest.mark.parametrize(
    ("step", "answer", "state", "code"),
    [
        ("mail", "451 4.3.0 later", "retry", "451 4.3.0"),
        ("mail", "550 5.7.1 blocked", "retry", "550 5.7.1"),
        ("rcpt", "550 5.1.1 unknown", "failed", "550 5.1.1"),
        ("rcpt", "450 4.2.1 greylisted", "retry", "450 4.2.1"),
        ("rcpt", "421 4.3.2 closing", "retry", "421 4.3.2"),
        ("rcpt", DROP, "retry", "lost"),
        ("data", "451 4.3.0 later", "retry", "451 4.3.0"),
        ("data", "554 5.6.0 no", "failed", "554 5.6.0"),
        ("data", "554 Message rejected: Email address is not verified", "retry", "554"),
        ("data", SWALLOWED, "retry", "250 2.0.0"),
        ("data", "what", "retry", "-1"),
        ("data", "421 4.3.2 closing", "retry", "421 4.3.2"),
        ("data", DROP, "retry", "lost"),
        ("dot", "451 4.3.0 later", "retry", "451 4.3.0"),
        ("dot", "552-5.3.4 too\r\n552 5.3.4 long", "failed", "552 5.3.4"),
        ("dot", "421 4.3.2 closing", "retry", "421 4.3.2"),
        ("dot", "999 what", "unknown", "999"),
        ("dot", DROP, "unknown", "lost-after-dot"),
        ("dot", KEEP_AND_DROP, "unknown", "lost-after-dot"),
    ],
)
@pytest.mark.parametrize("connections", [1, 3])
def test_only_the_letter_that_is_hit_suffers(
    open_courier: Opener, host: Rawhost, step: str, answer: str, state: str, code: str, connections: int
) -> None:
    host.replies = on(step, HIT, answer)
    url = host.hasty_url if answer == SWALLOWED else host.url
    outcomes = open_courier(f"{url}&connections={connections}").send(letters(), always)
    hit = [outcome for outcome in outcomes if outcome and outcome.state != "accepted"]
    assert [(outcome.state, outcome.code) for outcome in hit] == [(state, code)]
    accepted = [name for name, outcome in zip(NAMES, outcomes, strict=True) if outcome not in hit]
    assert len(accepted) == 9
    stored = [HIT] if answer == KEEP_AND_DROP else []
    assert sorted(host.recipients()) == sorted(accepted + stored)


@pytest.mark.parametrize("answer", [DROP, "421 4.3.2 closing"])
def test_a_kept_connection_that_closes_before_it_looks_at_a_letter_costs_nobody_anything(
    open_courier: Opener, host: Rawhost, answer: str
) -> None:
    host.replies = on("mail", HIT, answer)
    hits: list[str] = []

    def once(step: str, to: str) -> str | None:
        found = on_mail(step, to)
        if found:
            hits.append(to)
            return found if len(hits) == 1 else None
        return None

    on_mail, host.replies = host.replies, once
    outcomes = open_courier(host.url + "&connections=1").send(letters(), always)
    assert states(outcomes) == ["accepted"] * 10
    assert sorted(host.recipients()) == sorted(NAMES)
    assert host.connections == 2


def test_a_hang_at_the_dot_is_unknown_and_the_rest_of_that_ticket_is_not_tried(
    open_courier: Opener, host: Rawhost
) -> None:
    host.replies = on("dot", HIT, HANG)
    courier = open_courier(host.hasty_url + "&connections=1")
    one, two = courier.post(letters(), always), courier.post(letters(["other@example.com"]), always)
    outcomes = courier.collect(one)
    assert states(outcomes) == ["accepted"] * 4 + ["unknown"] + [None] * 5
    assert outcomes[4] is not None
    assert outcomes[4].code == "timeout-after-dot"
    assert states(courier.collect(two)) == ["accepted"]
    assert host.recipients() == [*NAMES[:4], "other@example.com"]


def test_a_refused_recipient_whose_data_is_accepted_all_the_same_gets_nothing(
    open_courier: Opener, host: Rawhost
) -> None:
    host.data_for_nobody = True
    host.replies = on("rcpt", HIT, "550 5.1.1 unknown")
    outcomes = open_courier(host.url + "&connections=1").send(letters(), always)
    assert states(outcomes) == ["accepted"] * 4 + ["failed"] + ["accepted"] * 5
    assert host.recipients() == [name for name in NAMES if name != HIT]
    assert host.connections == 1


def test_replies_that_come_a_byte_at_a_time_are_read_the_same(open_courier: Opener, host: Rawhost) -> None:
    host.dribble = True
    host.replies = on("rcpt", HIT, "550-5.1.1 nobody\r\n550-5.1.1 of that\r\n550 5.1.1 name")
    outcomes = open_courier(host.url).send(letters(), always)
    assert states(outcomes) == ["accepted"] * 4 + ["failed"] + ["accepted"] * 5
    assert outcomes[4] is not None
    assert outcomes[4].detail == "5.1.1 nobody 5.1.1 of that 5.1.1 name"


def test_idle_connections_that_the_server_closes_are_replaced_without_blame(
    open_courier: Opener, host: Rawhost
) -> None:
    courier = open_courier(host.url + "&connections=1")
    assert states(courier.send(letters(), always)) == ["accepted"] * 10
    host.close_connections()
    assert states(courier.send(letters(["late@example.com"]), always)) == ["accepted"]
    assert host.connections == 2


def test_a_connection_is_renewed_after_so_many_messages(open_courier: Opener, host: Rawhost) -> None:
    courier = open_courier(host.url + "&connections=1&messages=4")
    assert states(courier.send(letters(), always)) == ["accepted"] * 10
    assert host.connections == 3
    of_each = [
        sum(line.startswith("MAIL") for number, line in host.commands if number == one) for one in (1, 2, 3)
    ]
    assert of_each == [4, 4, 2]
    assert [number for number, line in host.commands if line == "QUIT"] == [1, 2]


def test_a_connection_that_was_silent_for_too_long_is_left_politely(
    settings: Settings, host: Rawhost
) -> None:
    now = [1000.0]
    pool = SmtpPool(smtp_server(settings, host.url + "&idle=60"), now=lambda: now[0])
    for wait in (0.0, 59.0, 61.0):
        now[0] += wait
        posted = Posted(letters(["one@example.com"]), always)
        pool.post(posted)
        pool.wait(posted)
        assert states(posted.outcomes) == ["accepted"]
    pool.close()
    assert host.connections == 2
    assert (1, "QUIT") in host.commands


def test_collecting_one_ticket_moves_the_next_one_on(open_courier: Opener, host: Rawhost) -> None:
    """The first ticket's last letter is kept waiting until three of the second are stored."""
    second = [f"second-{place}@example.com" for place in range(8)]
    host.replies = on("dot", NAMES[-1], WAIT)
    host.stored = lambda _: host.gate.set() if sum(to in second for to in host.recipients()) >= 3 else None
    courier = open_courier(host.url + "&connections=2")
    one, two = courier.post(letters(), always), courier.post(letters(second), always)
    assert states(courier.collect(one)) == ["accepted"] * 10
    assert states(courier.collect(two)) == ["accepted"] * 8
    assert sorted(host.recipients()) == sorted(NAMES + second)


def test_letters_go_on_while_nobody_waits_for_them(open_courier: Opener, host: Rawhost) -> None:
    """The worker is busy with others' letters and looks in now and then, without ever being kept."""
    courier = open_courier(host.url + "&connections=1")
    posted = courier.post(letters(), always)
    end = time.monotonic() + 10
    while posted.waiting and time.monotonic() < end:
        courier.move_on()
        time.sleep(0.01)
    assert states(posted.outcomes) == ["accepted"] * 10
    host.replies = on("dot", "slow@example.com", HANG)
    slow = courier.post(letters(["slow@example.com"]), always)
    began = time.monotonic()
    courier.move_on()
    assert time.monotonic() - began < 15
    assert slow.waiting == 1


def test_letters_go_on_while_somebody_else_is_waited_for(open_courier: Opener, host: Rawhost) -> None:
    """The database's answer, say, which comes when all of them are stored."""
    here, there = socket.socketpair()
    with here, there:

        def stored(_: str) -> None:
            if len(host.recipients()) == len(NAMES):
                there.send(b"!")

        host.stored = stored
        courier = open_courier(host.url + "&connections=2")
        posted = courier.post(letters(), always)
        courier.until_readable(here.fileno())
        assert here.recv(1) == b"!"
        assert sorted(host.recipients()) == sorted(NAMES)
        assert states(courier.collect(posted)) == ["accepted"] * 10
        there.send(b"!")
        courier.until_readable(here.fileno())  # with nothing on the wire, too


def test_aborting_disturbs_nobody_who_waits_for_somebody_else(open_courier: Opener, host: Rawhost) -> None:
    host.replies = on("dot", NAMES[0], HANG)
    courier = open_courier(host.url + "&connections=1")
    here, there = socket.socketpair()
    with here, there:
        posted = courier.post(letters(), always)
        threading.Timer(0.3, courier.abort).start()
        threading.Timer(0.6, there.send, [b"!"]).start()
        courier.until_readable(here.fileno())
        courier.until_readable(here.fileno())  # it may give up early: whoever waits asks again
        assert here.recv(1, socket.MSG_DONTWAIT) == b"!"
        assert states(courier.collect(posted)) == ["unknown"] + [None] * 9


def test_aborting_wakes_who_waits_and_tells_sent_from_not_sent(open_courier: Opener, host: Rawhost) -> None:
    host.replies = on("dot", NAMES[2], HANG)
    courier = open_courier(host.url + "&connections=1")
    posted = courier.post(letters(), always)
    threading.Timer(0.4, courier.abort).start()
    began = time.monotonic()
    assert states(courier.collect(posted)) == ["accepted", "accepted", "unknown"] + [None] * 7
    assert time.monotonic() - began < 15
    assert courier.send(letters(), always) == [None] * 10
    assert host.recipients() == NAMES[:2]


def test_nothing_goes_out_once_it_may_not(open_courier: Opener, host: Rawhost) -> None:
    asked = iter([True, True, True])
    courier = open_courier(host.url + "&connections=1")
    outcomes = courier.send(letters(), lambda: next(asked, False))
    assert states(outcomes) == ["accepted"] * 3 + [None] * 7
    assert host.recipients() == NAMES[:3]
    assert states(courier.send(letters(NAMES[3:]), always)) == ["accepted"] * 7


def test_a_message_longer_than_the_server_takes_is_not_sent(open_courier: Opener, host: Rawhost) -> None:
    host.size = 2000
    long = a_letter(HIT, b"x" * 70 + b"\r\n" * 3000)
    outcomes = open_courier(host.url).send([a_letter(NAMES[0]), long, a_letter(NAMES[1])], always)
    assert states(outcomes) == ["accepted", "failed", "accepted"]
    assert outcomes[1] is not None
    assert (outcomes[1].code, outcomes[1].suppress, outcomes[1].provider_wide) == ("552 5.3.4", False, False)
    assert HIT not in str(host.commands)


def test_a_refusal_in_the_middle_of_a_message_is_taken_at_its_word(
    open_courier: Opener, host: Rawhost
) -> None:
    host.replies = on("body", HIT, "552 5.3.4 too long for me")
    big = a_letter(HIT, (b"x" * 70 + b"\r\n") * 150_000)
    outcomes = open_courier(host.url).send([a_letter(NAMES[0]), big, a_letter(NAMES[1])], always)
    assert states(outcomes) == ["accepted", "failed", "accepted"]
    assert sorted(host.recipients()) == NAMES[:2]


def test_a_server_that_takes_no_second_connection_serves_everybody_over_one(
    open_courier: Opener, settings: Settings
) -> None:
    names = [f"reader-{place}@example.com" for place in range(200)]
    with rawhost(most_connections=1) as host:
        assert states(open_courier(host.url).send(letters(names), always)) == ["accepted"] * 200
        assert sorted(host.recipients()) == sorted(names)
        assert host.connections >= 2


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_certificate(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("starttls", [True, False], ids=["STARTTLS", "implicit TLS"])
@pytest.mark.parametrize("pipelining", [True, False])
def test_tls_carries_long_and_short_messages_whole(
    open_courier: Opener, certificate: Path, starttls: bool, pipelining: bool
) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    with rawhost(tls=server, starttls=starttls, pipelining=pipelining) as host:
        host.replies = on("dot", HIT, KEEP_AND_DROP)
        contexts: list[ssl.SSLContext] = []

        def context() -> ssl.SSLContext:
            contexts.append(ssl.create_default_context(cafile=certificate))
            return contexts[-1]

        courier = open_courier(host.url, tls_context=context)
        long = (b"." + b"x" * 70 + b"\r\n") * 20_000
        sent = [a_letter(name, long if place % 3 == 0 else b"short\r\n") for place, name in enumerate(NAMES)]
        outcomes = courier.send(sent, always)
        courier.close()
    assert states(outcomes) == ["accepted"] * 4 + ["unknown"] + ["accepted"] * 5
    assert sorted(host.recipients()) == sorted(NAMES)
    by_name = {mail.recipient: mail.content for mail in host.mails}
    assert all(by_name[letter.to].endswith(letter.raw) for letter in sent)
    assert len(contexts) == 1


def test_a_certificate_that_nobody_vouches_for_stops_the_ticket(
    open_courier: Opener, certificate: Path
) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    with rawhost(tls=server) as host:
        outcomes = open_courier(host.url).send(letters(), always)
    assert states(outcomes) == ["retry"] + [None] * 9
    assert outcomes[0] is not None
    assert (outcomes[0].code, outcomes[0].provider_wide) == ("tls", True)
    assert host.mails == []
