"""Our Twilio and Vonage plugins over real TLS connections, against gateways that fail on command."""

from __future__ import annotations

import json
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incident_center import clock
from incident_center.config import Settings
from incident_center.delivery.outcome import Letter, Outcome
from incident_center.delivery.providers import build_providers
from incident_center.delivery.references import read_receipt_reference
from incident_center.delivery.retry import LONGEST, SHORTEST, next_try
from incident_center.delivery.sms_couriers import HttpSmsCourier
from incident_center.delivery.transports import http_line
from incident_center.delivery.transports.http_line import HttpAnswer
from incident_center.delivery.transports.http_sms import SmsApi
from incident_center.delivery.transports.sms_url import own_api, twilio_api, vonage_api
from incident_center.errors import NotThere
from incident_center.states import Channel, DeliveryState
from tests.builders import a_subscriber
from tests.delivery.gateways import (
    DROP,
    HANG,
    HttpGateway,
    Reply,
    Sms,
    http_gateway,
    twilio_no,
    until,
    vonage,
)
from tests.delivery.stories import Post, publish
from tests.support.certificates import Authority, make_authority

pytestmark = pytest.mark.one_database

NUMBER = "+4915112345678"
MESSAGE_ID = "<update.1763778000.7.12@status.pay.example>"
WORDS = "Payouts are delayed — “perhaps” until noon."


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def https(authority: Authority) -> Iterator[HttpGateway]:
    with http_gateway(authority.server_context()) as gateway:
        yield gateway


@pytest.fixture
def open_courier(authority: Authority) -> Iterator[Callable[[str], HttpSmsCourier]]:
    with ExitStack() as stack:

        def opener(url: str) -> HttpSmsCourier:
            schema = url.partition(":")[0]
            api = own_api(schema, url, clock=clock.now, stub=True, receipts=None)
            courier = HttpSmsCourier(f"sms 1 {schema}", api, tls_context=authority.client_context)
            stack.callback(courier.close)
            return courier

        yield opener


@pytest.fixture
def twilio(https: HttpGateway, open_courier: Callable[[str], HttpSmsCourier]) -> HttpSmsCourier:
    return open_courier(https.twilio)


def letters(count: int, text: str = WORDS) -> list[Letter]:
    return [
        Letter(key=n, channel=Channel.SMS, to=f"+4915112345{n:03}", text=text, message_id=MESSAGE_ID)
        for n in range(count)
    ]


def one(courier: HttpSmsCourier) -> Outcome:
    (outcome,) = courier.send(letters(1), lambda: True)
    assert outcome is not None
    return outcome


def test_twilio_is_asked_for_one_message_that_soon_expires(
    https: HttpGateway, twilio: HttpSmsCourier
) -> None:
    outcome = one(twilio)
    (sms,) = https.requests
    assert outcome == Outcome(state="accepted", code="201", provider_ref=f"SM{1:032x}")
    assert sms.path == f"POST /2010-04-01/Accounts/AC{'a' * 32}/Messages.json"
    assert b64decode(sms.headers["authorization"].removeprefix("Basic ")).decode() == (
        f"AC{'a' * 32}:{'b' * 32}"
    )
    assert sms.fields == {
        "To": "+4915112345000",
        "From": "+15555550100",
        "Body": WORDS,
        "ValidityPeriod": "900",
    }


def test_vonage_is_asked_for_one_message_that_soon_expires(
    https: HttpGateway, open_courier: Callable[[str], HttpSmsCourier]
) -> None:
    courier = open_courier(https.vonage)
    outcome = one(courier)
    (sms,) = https.requests
    assert (outcome.state, outcome.provider_ref) == ("accepted", "0A00000000000000")
    assert sms.fields == {
        "api_key": "key",
        "api_secret": "secret",
        "from": "15555550100",
        "to": "4915112345000",
        "text": WORDS,
        "ttl": "900000",
        "type": "unicode",  # the dash and the quotes are not in GSM-7
    }
    courier.send(letters(1, text="Payouts are late"), lambda: True)
    assert "type" not in https.requests[1].fields


def test_a_batch_is_on_the_wire_side_by_side(https: HttpGateway, twilio: HttpSmsCourier) -> None:
    """Nobody is answered before all four have arrived; one after the other would wait for ever."""
    together = threading.Barrier(4)

    def decide(_: Sms) -> Reply | None:
        together.wait(5)
        return None

    https.decide = decide
    outcomes = twilio.send(letters(4), lambda: True)
    assert [outcome and outcome.state for outcome in outcomes] == ["accepted"] * 4
    assert https.connections == 4


def test_posting_does_not_wait_for_answers(https: HttpGateway, twilio: HttpSmsCourier) -> None:
    answer = threading.Event()

    def decide(_: Sms) -> Reply | None:
        answer.wait(5)
        return None

    https.decide = decide
    posted = twilio.post(letters(4), lambda: True)
    answer.set()
    assert [outcome and outcome.state for outcome in twilio.collect(posted)] == ["accepted"] * 4


def test_never_more_than_four_are_in_flight_and_connections_are_kept(
    https: HttpGateway, twilio: HttpSmsCourier
) -> None:
    waiting, most, lock = 0, 0, threading.Lock()

    def decide(_: Sms) -> Reply | None:
        nonlocal waiting, most
        with lock:
            waiting += 1
            most = max(most, waiting)
        with lock:
            waiting -= 1
        return None

    https.decide = decide
    first = twilio.post(letters(4), lambda: True)
    outcomes = twilio.send(letters(10), lambda: True)  # posted while the first waits: that one ends first
    assert [outcome and outcome.state for outcome in [*outcomes, *twilio.collect(first)]] == ["accepted"] * 14
    assert https.connections == 4
    assert most <= 4


def test_answers_belong_to_their_letters(https: HttpGateway, twilio: HttpSmsCourier) -> None:
    """The four are answered in any order, each by its own number."""
    https.decide = lambda sms: twilio_no(400, 21211) if int(sms.to[-1]) % 2 else None
    outcomes = twilio.send(letters(8), lambda: True)
    assert [outcome and outcome.state for outcome in outcomes] == ["accepted", "failed"] * 4


def test_what_the_lease_no_longer_covers_is_not_sent(https: HttpGateway, twilio: HttpSmsCourier) -> None:
    left = iter([True, True])
    outcomes = twilio.send(letters(4), lambda: next(left, False))
    assert [outcome and outcome.state for outcome in outcomes] == ["accepted", "accepted", None, None]
    assert len(https.requests) == 2


TWILIO_ANSWERS = [
    (twilio_no(400, 21211), "failed", "400 21211", False),
    (twilio_no(400, 21214), "failed", "400 21214", False),
    (twilio_no(400, 21217), "failed", "400 21217", False),
    (twilio_no(400, 21408), "failed", "400 21408", False),
    (twilio_no(400, 21610), "failed", "400 21610", False),
    (twilio_no(400, 21614), "failed", "400 21614", False),
    (twilio_no(400, 21606), "retry", "400 21606", True),  # our sender: everybody would be refused
    (twilio_no(400, 99999), "retry", "400 99999", True),  # nobody is given up for a code that we do not know
    (twilio_no(400, 21611), "retry", "429 21611", True),
    (twilio_no(401, 20003), "retry", "401 20003", True),
    (twilio_no(403, 20005), "retry", "403 20005", True),
    (twilio_no(404, 20404), "retry", "404 20404", True),
    (twilio_no(429, 20429), "retry", "429 20429", True),
    (Reply(302, headers={"Location": "/elsewhere"}), "retry", "302", True),
    (Reply(307, headers={"Location": "/elsewhere"}), "retry", "307", True),
    (Reply(400, b"<html>no"), "retry", "400", True),
    (Reply(500, b"oops"), "unknown", "500", False),  # it may have been queued before that
    (twilio_no(500, 20500), "unknown", "500 20500", False),
    (Reply(501), "retry", "501", True),
    (Reply(503), "retry", "503", True),
    (Reply(521), "retry", "521", True),
    (Reply(502), "unknown", "502", False),
    (Reply(504), "unknown", "504", False),
    (Reply(524), "unknown", "524", False),
    (Reply(200, b""), "unknown", "200 no-id", False),
    (Reply(200, b"<html>Sign in to the hotel's network"), "unknown", "200 no-id", False),
    (Reply(201, b"[]"), "unknown", "201 no-id", False),
    (Reply(201, b'{"sid": null}'), "unknown", "201 no-id", False),
    (Reply(201, b'{"sid": ""}'), "unknown", "201 no-id", False),
    (Reply(201, b'{"sid": "SM12"', cut=9), "unknown", "201 no-id", False),
    (Reply(202, b'{"sid": "SM1", "status": "failed", "error_code": 30006}'), "failed", "failed 30006", False),
    (Reply(204), "unknown", "204 no-id", False),
]


@pytest.mark.parametrize(
    ("answer", "state", "code", "provider_wide"), TWILIO_ANSWERS, ids=[row[2] for row in TWILIO_ANSWERS]
)
def test_each_answer_of_twilio_is_told_apart(
    https: HttpGateway, twilio: HttpSmsCourier, answer: Reply, state: str, code: str, provider_wide: bool
) -> None:
    https.decide = lambda _: answer
    outcome = one(twilio)
    assert (outcome.state, outcome.code, outcome.provider_wide) == (state, code, provider_wide)
    assert outcome.suppress is False
    assert len(https.requests) == 1
    assert outcome.detail or outcome.state == "accepted"


VONAGE_ANSWERS = [
    (vonage("0", "0"), "accepted", "200", False),
    (vonage("0", "1"), "unknown", "200 1", False),
    (vonage("1"), "retry", "200 1", True),
    (vonage("3"), "failed", "200 3", False),
    (vonage("4"), "retry", "200 4", True),
    (vonage("5"), "retry", "200 5", True),
    (vonage("6"), "failed", "200 6", False),
    (vonage("7"), "failed", "200 7", False),
    (vonage("9"), "retry", "200 9", True),
    (vonage("15"), "retry", "200 15", True),
    (vonage("99"), "retry", "200 99", True),
    (vonage("yes"), "unknown", "200 no-status", False),
    (Reply(200, b'{"messages": []}'), "unknown", "200 no-id", False),
    (Reply(200, b'{"messages": [{"status": "0"}]}'), "unknown", "200 no-id", False),
    (Reply(200, b'{"messages": ["0"]}'), "unknown", "200 no-id", False),
    (Reply(200, b""), "unknown", "200 no-id", False),
    (Reply(401), "retry", "401", True),
    (Reply(302, headers={"Location": "/elsewhere"}), "retry", "302", True),
    (Reply(502), "unknown", "502", False),
    (Reply(503), "retry", "503", True),
]


@pytest.mark.parametrize(
    ("answer", "state", "code", "provider_wide"),
    VONAGE_ANSWERS,
    ids=[f"{row[2]} {row[1]} {row[0].body[:30]!r}" for row in VONAGE_ANSWERS],
)
def test_each_answer_of_vonage_is_told_apart(
    https: HttpGateway,
    open_courier: Callable[[str], HttpSmsCourier],
    answer: Reply,
    state: str,
    code: str,
    provider_wide: bool,
) -> None:
    https.decide = lambda _: answer
    outcome = one(open_courier(https.vonage))
    assert (outcome.state, outcome.code, outcome.provider_wide) == (state, code, provider_wide)
    assert outcome.suppress is False
    assert len(https.requests) == 1


def test_only_a_number_that_is_out_of_service_is_never_written_to_again(
    https: HttpGateway, open_courier: Callable[[str], HttpSmsCourier]
) -> None:
    https.decide = lambda _: vonage("33")
    outcome = one(open_courier(https.vonage))
    assert (outcome.state, outcome.suppress) == ("failed", True)


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("7", 7, 7),
        ("0", 0, 0),
        ("99999999999999", 999999999, 999999999),
        ("in a while", None, None),
        ("-5", None, None),
        ("7.5", None, None),
        ("", None, None),
        (None, None, None),
        ("date +90", 80, 91),
        ("date -90", 0, 0),
        ("Mon, 99 Foo 2026 00:00:00 GMT", None, None),
    ],
)
def test_every_form_of_retry_after_ends_in_a_sane_wait(
    https: HttpGateway, twilio: HttpSmsCourier, header: str | None, least: float | None, most: float | None
) -> None:
    if header is not None and header.startswith("date"):
        then = clock.now() + timedelta(seconds=int(header.removeprefix("date")))
        header = format_datetime(then, usegmt=True)
    headers = {} if header is None else {"Retry-After": header}
    https.decide = lambda _: twilio_no(429, 20429, **headers)
    outcome = one(twilio)
    assert (outcome.state, outcome.provider_wide) == ("retry", True)
    if least is None or most is None:
        assert outcome.retry_after is None
    else:
        assert outcome.retry_after is not None
        assert least <= outcome.retry_after <= most
    now = clock.now()
    at = next_try(1, now=now, since=now, chance=0.0, retry_after=outcome.retry_after)
    assert at is not None
    assert SHORTEST <= at - now <= LONGEST


def test_a_connection_that_ends_after_the_request_is_unknown_and_not_repeated(
    https: HttpGateway, twilio: HttpSmsCourier
) -> None:
    assert one(twilio).state == "accepted"
    https.decide = lambda _: DROP
    outcome = one(twilio)  # on the kept connection
    assert (outcome.state, outcome.code, outcome.provider_wide) == ("unknown", "lost", False)
    assert len(https.requests) == 2


def test_an_answer_that_does_not_come_is_unknown(
    https: HttpGateway, twilio: HttpSmsCourier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_line, "READ_TIMEOUT", 0.3)
    https.decide = lambda _: HANG
    outcome = one(twilio)
    assert (outcome.state, outcome.code) == ("unknown", "timeout")
    https.decide = lambda _: None
    assert one(twilio).state == "accepted"  # the late answer cannot be taken for this one's: a new connection
    assert https.connections == 2


def test_answers_that_do_not_come_are_waited_for_together(
    https: HttpGateway, twilio: HttpSmsCourier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease lasts for one wait, not for four; and an answer that has come meanwhile is read all the same."""
    monkeypatch.setattr(http_line, "READ_TIMEOUT", 0.5)
    four = letters(4)
    https.decide = lambda sms: None if sms.to == four[-1].to else HANG
    started = time.monotonic()
    outcomes = twilio.send(four, lambda: True)
    assert time.monotonic() - started < 1.0
    assert [outcome and outcome.state for outcome in outcomes] == ["unknown"] * 3 + ["accepted"]


def test_a_kept_connection_that_the_provider_has_closed_is_opened_again(
    https: HttpGateway, twilio: HttpSmsCourier
) -> None:
    https.decide = lambda sms: replace(_yes(sms), then_close=True)
    for ended in (1, 2, 3):
        assert one(twilio).state == "accepted"
        until(partial(_has_ended, https, ended))
    assert (https.connections, len(https.requests)) == (3, 3)


def _has_ended(https: HttpGateway, times: int) -> bool:
    return https.ended == times


def _yes(sms: Sms) -> Reply:
    return Reply(201, json.dumps({"sid": "SM" + "1" * 32, "status": "queued"}).encode())


def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next_ones(
    https: HttpGateway, twilio: HttpSmsCourier
) -> None:
    """A server that closes an idle connection may say 408 first."""
    unasked = b"HTTP/1.1 201 x\r\nContent-Length: 2\r\n\r\n{}"
    https.decide = lambda sms: replace(
        _yes(sms), body=_yes(sms).body + unasked, headers={"Content-Length": str(len(_yes(sms).body))}
    )
    assert [one(twilio).state for _ in range(3)] == ["accepted"] * 3


def test_a_connection_idle_for_long_is_not_trusted(
    https: HttpGateway, twilio: HttpSmsCourier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_line, "IDLE_LIMIT", 0.0)
    assert [one(twilio).state, one(twilio).state] == ["accepted", "accepted"]
    assert https.connections == 2


def test_a_provider_that_is_not_there_has_certainly_nothing(
    open_courier: Callable[[str], HttpSmsCourier],
) -> None:
    courier = open_courier(HttpGateway(port=9).twilio)
    outcomes = courier.send(letters(4), lambda: True)
    first = outcomes[0]
    assert first is not None
    assert (first.state, first.code, first.provider_wide) == ("retry", "connect", True)
    assert outcomes[1:] == [None, None, None]  # the others are due as before, and are not kept waiting


def test_a_certificate_that_nobody_vouches_for_is_refused(https: HttpGateway) -> None:
    api = own_api("twilio", https.twilio, clock=clock.now, stub=True, receipts=None)
    courier = HttpSmsCourier("sms 1 twilio", api)
    outcome = one(courier)
    courier.close()
    assert (outcome.state, outcome.code, outcome.provider_wide) == ("retry", "tls", True)
    assert https.requests == []


def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    other = make_authority(tmp_path, host="elsewhere.example", address="127.0.0.9")
    with http_gateway(other.server_context()) as gateway:
        api = own_api("twilio", gateway.twilio, clock=clock.now, stub=True, receipts=None)
        courier = HttpSmsCourier("sms 1 twilio", api, tls_context=other.client_context)
        outcome = one(courier)
        courier.close()
    assert (outcome.state, outcome.code, outcome.provider_wide) == ("retry", "tls", True)
    assert gateway.requests == []


def test_one_context_serves_all_connections(authority: Authority, https: HttpGateway) -> None:
    made = []

    def context() -> object:
        made.append(1)
        return authority.client_context()

    api = own_api("twilio", https.twilio, clock=clock.now, stub=True, receipts=None)
    courier = HttpSmsCourier("sms 1 twilio", api, tls_context=context)  # type: ignore[arg-type] # counts
    courier.send(letters(8), lambda: True)
    courier.close()
    assert (len(made), https.connections) == (1, 4)


def test_a_number_that_is_none_is_not_asked_for(https: HttpGateway, twilio: HttpSmsCourier) -> None:
    for odd in ("", "4915112345678", "+49 151", "+0151", "+4915112345678\r\nX: y", "whatsapp:+4915112345678"):
        (outcome,) = twilio.send([Letter(key=1, channel=Channel.SMS, to=odd, text="x")], lambda: True)
        assert outcome is not None
        assert (outcome.state, outcome.code) == ("failed", "address")
    assert https.requests == []


def test_aborting_ends_the_wait_and_leaves_an_unknown(https: HttpGateway, twilio: HttpSmsCourier) -> None:
    arrived = threading.Event()

    def decide(_: Sms) -> str:
        arrived.set()
        return HANG

    https.decide = decide

    def abort_then() -> None:
        arrived.wait(5)
        twilio.abort()

    helper = threading.Thread(target=abort_then)
    helper.start()
    assert one(twilio).state == "unknown"
    helper.join()
    https.decide = lambda _: None
    assert one(twilio).state == "retry"


def test_receipts_come_back_with_a_signed_reference(
    settings: Settings, https: HttpGateway, authority: Authority
) -> None:
    """Only over https; the reference is the message's own and nobody else can make one."""
    public = replace(
        settings,
        testing=True,
        public_url="https://status.pay.example",
        sms_urls=(https.twilio, https.vonage),
    )
    for courier in build_providers(public).by_channel[Channel.SMS]:
        plugin = courier._handover._api  # type: ignore[attr-defined] # what was built from the settings
        own = HttpSmsCourier("x", plugin, tls_context=authority.client_context)
        assert one(own).state == "accepted"
        own.close()
        courier.close()
    asked, other = https.requests
    reference = asked.fields["StatusCallback"].removeprefix("https://status.pay.example/hooks/twilio/")
    assert read_receipt_reference(settings.secret_key, reference) == MESSAGE_ID.strip("<>")
    assert other.fields["callback"] == f"https://status.pay.example/hooks/vonage/{reference}"
    assert other.fields["client-ref"] == reference
    assert len(reference) <= 100
    payload, _, seal = reference.rpartition(".")
    for forged in (
        f"{payload}.{seal[::-1]}",
        reference.replace("12", "13", 1),
        payload,
        "",
        "x.y",
    ):
        with pytest.raises(NotThere):
            read_receipt_reference(settings.secret_key, forged)
    plain = replace(public, public_url="http://127.0.0.1:8000")
    (api, _) = [c._handover._api for c in build_providers(plain).by_channel[Channel.SMS]]  # type: ignore[attr-defined] # see above
    assert api.receipts is None


_VALUES: st.SearchStrategy[object] = st.sampled_from(
    [None, True, 0, "0", "7", "", "SM1", 21610, 10**400, -1, 1.5, [], {}, ["0"], "failed"]
)
_FIELDS = ("sid", "status", "code", "error_code", "message", "message-id", "error-text")
_ENTRIES = st.dictionaries(st.sampled_from(_FIELDS), _VALUES)


@given(
    status=st.integers(100, 599),
    body=st.binary(max_size=20)
    | (
        _ENTRIES
        | st.fixed_dictionaries({"messages": st.lists(_ENTRIES, max_size=3) | _VALUES})
        | st.lists(_VALUES, max_size=2)
    ).map(lambda value: json.dumps(value).encode()),
    retry_after=st.none() | st.text(max_size=30),
)
def test_no_answer_breaks_us_and_none_but_a_named_message_counts_as_success(
    status: int, body: bytes, retry_after: str | None
) -> None:
    answer = HttpAnswer(status, retry_after, body)
    apis: list[SmsApi] = [
        twilio_api(f"twilio://AC{'a' * 32}:b@15555550100", clock=clock.now),
        vonage_api("vonage://a:b@15555550100", clock=clock.now),
    ]
    for api in apis:
        outcome = api.outcome(answer)
        if outcome.state == "accepted":
            assert 200 <= status < 300
            assert outcome.provider_ref
        assert len(outcome.code) <= 24
        assert outcome.retry_after is None or outcome.retry_after >= 0


def test_nothing_secret_shows_in_a_repr() -> None:
    api = twilio_api(f"twilio://AC{'a' * 32}:s3cr3t@15555550100", clock=clock.now)
    assert "s3cr3t" not in repr(api)
    assert "s3cr3t" not in repr(vonage_api("vonage://k3y:s3cr3t@15555550100", clock=clock.now))


@pytest.mark.parametrize("provider", ["twilio", "vonage"])
def test_a_published_update_reaches_everybody_once(open_post: Callable[..., Post], provider: str) -> None:
    """From the configured URL to the ledger, over connections that are kept."""
    with http_gateway(None) as gateway:
        post = open_post(sms=getattr(gateway, provider))
        with post.database.transaction() as session:
            people = [a_subscriber(session, phone=f"+4915112345{place:03}").phone for place in range(10)]
            publish(session, post.house)
        post.work()
        post.engine.release()
    assert sorted(gateway.recipients()) == sorted(str(number) for number in people)
    assert {row.state for row in post.rows()} == {DeliveryState.ACCEPTED}
    assert gateway.connections <= 4
