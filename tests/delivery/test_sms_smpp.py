"""Our SMPP plugin against a message centre that fails on command; its bytes are read by smpplib."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from smpplib import gsm as their_gsm

from incident_center.delivery.outcome import Letter, Outcome
from incident_center.delivery.sms_couriers import SmppCourier
from incident_center.delivery.transports import smpp as smpp_module
from incident_center.delivery.transports.smpp_inbox import SmppReceipt
from incident_center.delivery.transports.smpp_pdu import Pdu, take_pdu
from incident_center.delivery.transports.smpp_text import GSM7, UCS2, segments, text_of
from incident_center.delivery.transports.sms_url import smpp_server
from incident_center.playbooks.sms import GSM_BASIC, GSM_EXTENSION, count_sms
from incident_center.states import Channel
from tests.delivery.gateways import DROP, HANG, Smsc, Submitted, deliver_sm, smsc, tlv, until
from tests.support.certificates import make_authority

pytestmark = pytest.mark.one_database

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LONG = "Auszahlungen verzögern sich. " * 10  # two segments


@pytest.fixture
def centre() -> Iterator[Smsc]:
    with smsc() as running:
        yield running


@pytest.fixture
def open_courier() -> Iterator[Callable[..., SmppCourier]]:
    with ExitStack() as stack:

        def opener(centre: Smsc, *, url: str = "", seconds: float = 30.0, **options: Any) -> SmppCourier:
            server = replace(smpp_server(url or centre.url), answer_timeout=seconds)
            courier = SmppCourier("sms 1 smpp", server, clock=lambda: NOW, **options)
            stack.callback(courier.close)
            return courier

        yield opener


@pytest.fixture
def courier(centre: Smsc, open_courier: Callable[..., SmppCourier]) -> SmppCourier:
    return open_courier(centre)


def letters(count: int, text: str = "Payouts are late.") -> list[Letter]:
    return [
        Letter(key=n, channel=Channel.SMS, to=f"+4915112345{n:03}", text=text, message_id=f"<m{n}@x>")
        for n in range(count)
    ]


def one(courier: SmppCourier, text: str = "Payouts are late.") -> Outcome:
    (outcome,) = courier.send(letters(1, text), lambda: True)
    assert outcome is not None
    return outcome


def test_a_text_is_submitted_with_a_receipt_wanted_and_a_short_life(
    centre: Smsc, courier: SmppCourier
) -> None:
    assert one(courier) == Outcome(state="accepted", code="SMPP 0x00", provider_ref="id-1")
    (said,) = centre.submits
    assert said.short_message == b"Payouts are late."
    assert (said.destination_addr, said.dest_addr_ton, said.dest_addr_npi) == (b"4915112345000", 1, 1)
    assert (said.source_addr, said.source_addr_ton, said.source_addr_npi) == (b"15555550100", 1, 1)
    assert (said.registered_delivery, said.data_coding, said.esm_class) == (1, 0, 0)
    assert said.validity_period == b"000000001500000R"
    (bind,) = centre.binds
    assert (bind.system_id, bind.password, bind.interface_version) == (b"user", b"secret", 0x34)


def test_the_session_is_kept_and_ended_politely(centre: Smsc, courier: SmppCourier) -> None:
    assert [one(courier).state for _ in range(3)] == ["accepted"] * 3
    courier.close()
    assert centre.commands() == ["bind_transceiver", *["submit_sm"] * 3, "unbind"]


def test_a_batch_is_written_before_its_answers_are_read(centre: Smsc, courier: SmppCourier) -> None:
    """The centre answers nobody before it has all four."""
    held: list[Submitted] = []

    def decide(said: Submitted) -> str | None:
        held.append(said)
        if len(held) % 4 == 0:
            for number, earlier in enumerate(reversed(held[-4:-1])):  # and then in another order
                centre._say(centre.sock, "submit_sm_resp", earlier, 0, message_id=f"late-{number}")  # type: ignore[arg-type] # it is connected
            return None
        return HANG

    centre.decide = decide
    outcomes = courier.send(letters(8), lambda: True)
    assert [outcome and outcome.state for outcome in outcomes] == ["accepted"] * 8
    assert [outcome and outcome.provider_ref for outcome in outcomes[:4]] == [
        "late-2",
        "late-1",
        "late-0",
        "id-4",
    ]


@pytest.mark.parametrize(
    ("status", "state", "provider_wide"),
    [
        (0x01, "failed", False),
        (0x08, "retry", True),
        (0x0A, "retry", True),
        (0x0B, "failed", False),
        (0x14, "retry", True),
        (0x45, "retry", False),
        (0x58, "retry", True),
        (0x64, "retry", False),
        (0x65, "failed", False),
        (0xFF, "retry", False),
        (0x480, "retry", False),
    ],
)
def test_each_status_is_told_apart(
    centre: Smsc, courier: SmppCourier, status: int, state: str, provider_wide: bool
) -> None:
    centre.decide = lambda _: status
    outcome = one(courier)
    assert (outcome.state, outcome.provider_wide, outcome.suppress) == (state, provider_wide, False)
    assert outcome.code == f"SMPP 0x{status:02X}"
    assert outcome.detail


@pytest.mark.parametrize("status", [0x05, 0x0D, 0x0E, 0x0F])
def test_a_login_that_is_refused_concerns_us_and_nobody_else(
    centre: Smsc, courier: SmppCourier, status: int
) -> None:
    centre.bind_status = status
    outcome = one(courier)
    assert (outcome.state, outcome.code, outcome.provider_wide) == ("retry", f"bind 0x{status:02X}", True)
    centre.bind_status = 0
    assert one(courier).state == "accepted"


def test_a_yes_that_names_no_message_is_unknown(centre: Smsc, courier: SmppCourier) -> None:
    centre.decide = lambda _: "no-id"
    assert one(courier).state == "unknown"


def test_a_connection_that_ends_before_the_answer_is_unknown_and_not_repeated(
    centre: Smsc, courier: SmppCourier
) -> None:
    centre.decide = lambda said: DROP if said.destination_addr.endswith(b"2") else None
    outcomes = courier.send(letters(4), lambda: True)
    assert [outcome and outcome.state for outcome in outcomes[:2]] == ["accepted", "accepted"]
    assert outcomes[2] is not None
    assert (outcomes[2].state, outcomes[2].code) == ("unknown", "lost")
    assert outcomes[3] is not None
    assert outcomes[3].state in {"unknown", "accepted"}  # written to the old session, or to a new one
    centre.decide = lambda _: None
    assert one(courier).state == "accepted"
    assert sum(said.destination_addr.endswith(b"2") for said in centre.submits) == 1


def test_an_answer_that_does_not_come_is_unknown_and_never_taken_for_another(
    centre: Smsc, open_courier: Callable[..., SmppCourier]
) -> None:
    courier = open_courier(centre, seconds=1.0)
    centre.decide = lambda _: HANG
    outcome = one(courier)
    assert (outcome.state, outcome.code) == ("unknown", "timeout")
    centre.decide = lambda _: None
    assert one(courier).state == "accepted"
    assert len(centre.binds) == 2


def test_a_centre_that_is_not_there_has_certainly_nothing(open_courier: Callable[..., SmppCourier]) -> None:
    outcomes = open_courier(Smsc(port=9)).send(letters(3), lambda: True)
    assert outcomes[0] is not None
    assert (outcomes[0].state, outcomes[0].code, outcomes[0].provider_wide) == ("retry", "connect", True)
    assert outcomes[1:] == [None, None]


def test_a_session_that_was_lost_meanwhile_is_bound_again(centre: Smsc, courier: SmppCourier) -> None:
    assert one(courier).state == "accepted"
    assert centre.sock is not None
    centre.sock.shutdown(2)
    assert one(courier).state == "accepted"
    assert (len(centre.binds), len(centre.submits)) == (2, 2)


def test_an_idle_session_is_asked_whether_it_lives(
    centre: Smsc, courier: SmppCourier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smpp_module, "_PROBE_AFTER", -1.0)
    monkeypatch.setattr("incident_center.delivery.transports.smpp_link._PROBE_TIMEOUT", 0.2)
    assert [one(courier).state, one(courier).state] == ["accepted", "accepted"]
    assert centre.commands()[-2:] == ["enquire_link", "submit_sm"]
    centre.answers_probes = False
    assert one(courier).state == "accepted"
    assert len(centre.binds) == 2


def test_what_the_lease_no_longer_covers_is_not_sent(centre: Smsc, courier: SmppCourier) -> None:
    left = iter([True, True])
    outcomes = courier.send(letters(4), lambda: next(left, False))
    assert [outcome and outcome.state for outcome in outcomes] == ["accepted", "accepted", None, None]
    assert len(centre.submits) == 2


@pytest.mark.parametrize("text", [LONG, "Выплаты задерживаются. " * 8])
def test_a_long_text_is_one_message_of_joined_segments(centre: Smsc, courier: SmppCourier, text: str) -> None:
    outcome = one(courier, text)
    segments_of = count_sms(text).segments
    assert (outcome.state, outcome.provider_ref) == ("accepted", f"id-{segments_of}")
    assert len(centre.submits) == segments_of > 1
    assert [said.registered_delivery for said in centre.submits] == [0] * (segments_of - 1) + [1]
    heads = [said.short_message[:6] for said in centre.submits]
    assert [head[:3] + head[4:] for head in heads] == [
        bytes([5, 0, 3, len(heads), place]) for place in range(1, len(heads) + 1)
    ]
    assert len({head[3] for head in heads}) == 1
    assert {said.esm_class for said in centre.submits} == {0x40}
    whole = b"".join(said.short_message[6:] for said in centre.submits)
    assert text_of(whole, centre.submits[0].data_coding) == text


def test_a_refused_first_segment_leaves_nothing_behind(centre: Smsc, courier: SmppCourier) -> None:
    centre.decide = lambda _: 0x58
    assert one(courier, LONG).state == "retry"
    assert len(centre.submits) == 1


@pytest.mark.parametrize("later", [0x0B, 0x58, DROP, HANG])
def test_a_later_segment_that_is_refused_or_lost_leaves_an_unknown(
    centre: Smsc, open_courier: Callable[..., SmppCourier], later: int | str
) -> None:
    courier = open_courier(centre, seconds=1.0 if later == HANG else 30.0)
    centre.decide = lambda said: later if said.short_message[5] == 2 else None
    outcome = one(courier, LONG)
    assert (outcome.state, outcome.provider_wide) == ("unknown", False)


def test_a_number_that_is_none_is_not_asked_for(centre: Smsc, courier: SmppCourier) -> None:
    (outcome,) = courier.send([Letter(key=1, channel=Channel.SMS, to="49 151", text="x")], lambda: True)
    assert outcome is not None
    assert (outcome.state, outcome.code) == ("failed", "address")
    assert centre.submits == []


def receipt(words: str, *, tlvs: bytes = b"", sequence: int = 77) -> bytes:
    return deliver_sm(words.encode(), esm_class=0x04, tlvs=tlvs, sequence=sequence)


def listen_until(courier: SmppCourier, condition: Callable[[], bool]) -> None:
    def listened() -> bool:
        courier.listen()
        return condition()

    until(listened)


def collected(courier: SmppCourier, centre: Smsc, pdu: bytes) -> list[SmppReceipt]:
    answers = centre.commands().count("deliver_sm_resp")
    centre.push(pdu)
    listen_until(courier, lambda: centre.commands().count("deliver_sm_resp") > answers)
    found: list[SmppReceipt] = []
    courier.receipts(found.append)
    return found


RECEIPT = "id:id-1 sub:001 dlvrd:001 submit date:2611221200 done date:2611221201 stat:{} err:{} text:Payouts"


@pytest.mark.parametrize(
    ("words", "tlvs", "expected"),
    [
        (RECEIPT.format("DELIVRD", "000"), b"", ("id-1", "delivered", "DELIVRD 000")),
        (RECEIPT.format("UNDELIV", "034"), b"", ("id-1", "failed", "UNDELIV 034")),
        (RECEIPT.format("EXPIRED", "0"), b"", ("id-1", "failed", "EXPIRED 0")),
        (RECEIPT.format("REJECTD", "0"), b"", ("id-1", "failed", "REJECTD 0")),
        (RECEIPT.format("UNKNOWN", "0"), b"", ("id-1", "unknown", "UNKNOWN 0")),
        ("", tlv(0x1E, b"id-9\0") + tlv(0x0427, b"\2"), ("id-9", "delivered", "DELIVRD")),
        # An operator's own parameters, known to no library.
        ("", tlv(0x1401, b"x") + tlv(0x1E, b"id-9\0") + tlv(0x0427, b"\5"), ("id-9", "failed", "UNDELIV")),
    ],
)
def test_a_receipt_is_kept_then_answered(
    centre: Smsc, courier: SmppCourier, words: str, tlvs: bytes, expected: tuple[str, str, str]
) -> None:
    one(courier)
    (found,) = collected(courier, centre, receipt(words, tlvs=tlvs))
    assert (found.provider_ref, found.state, found.code) == expected
    assert found.at == NOW
    assert centre.heard[-1] == ("deliver_sm_resp", 0)
    courier.receipts(pytest.fail)  # type: ignore[arg-type] # whatever it is, there must be none


@pytest.mark.parametrize(
    "pdu",
    [
        receipt(RECEIPT.format("ENROUTE", "000")),  # says nothing new
        receipt("what?"),
        deliver_sm(RECEIPT.format("DELIVRD", "0").encode(), esm_class=0x20),
    ],
)
def test_a_receipt_that_says_nothing_is_answered_and_dropped(
    centre: Smsc, courier: SmppCourier, pdu: bytes
) -> None:
    one(courier)
    assert collected(courier, centre, pdu) == []
    courier.texts(pytest.fail)  # type: ignore[arg-type] # whatever it is, there must be none


@pytest.mark.parametrize(
    ("words", "tlvs"),
    [
        (RECEIPT.replace("id-1", "0000000255").format("DELIVRD", "0"), b""),
        (RECEIPT.replace("id-1", "255").format("DELIVRD", "0"), tlv(0x1E, b"FF\0")),
        ("", tlv(0x1E, b"00ff\0") + tlv(0x0427, b"\2")),
    ],
)
def test_a_number_in_two_ways_of_counting_is_one(
    centre: Smsc, open_courier: Callable[..., SmppCourier], words: str, tlvs: bytes
) -> None:
    centre.name = lambda _: "FF"
    courier = open_courier(centre, url=f"{centre.url}?ids=hex")
    assert one(courier).provider_ref == "255"
    (found,) = collected(courier, centre, receipt(words, tlvs=tlvs))
    assert (found.provider_ref, found.state) == ("255", "delivered")


def test_receipts_between_answers_do_not_disturb_them(centre: Smsc, courier: SmppCourier) -> None:
    def decide(said: Submitted) -> None:
        centre.push(receipt(RECEIPT.format("DELIVRD", "000"), sequence=said.sequence))

    centre.decide = decide
    outcomes = courier.send(letters(4), lambda: True)
    assert [outcome and outcome.state for outcome in outcomes] == ["accepted"] * 4
    found: list[SmppReceipt] = []
    courier.receipts(found.append)
    assert len(found) == 4


@pytest.mark.parametrize(
    ("octets", "coding", "words"),
    [
        (b"STOP", 0, "STOP"),
        (b"STOP", 3, "STOP"),
        ("СТОП".encode("utf-16-be"), 8, "СТОП"),
        (b"\x1b\x65 \x7c\xff", 0, "€ ö?"),
    ],
)
def test_a_customers_text_is_kept_with_their_number(
    centre: Smsc, courier: SmppCourier, octets: bytes, coding: int, words: str
) -> None:
    one(courier)
    centre.push(deliver_sm(octets, coding=coding))
    listen_until(courier, lambda: "deliver_sm_resp" in centre.commands())
    found: list[tuple[str, str]] = []
    courier.texts(found.append)
    assert found == [("+4915112345678", words)]


def test_what_cannot_be_read_is_rejected_and_the_session_goes_on(centre: Smsc, courier: SmppCourier) -> None:
    one(courier)
    assert collected(courier, centre, Pdu(0x05, 5, body=b"\0\1").pack()) == []
    assert centre.heard[-1] == ("deliver_sm_resp", 0x66)
    assert one(courier).state == "accepted"
    assert len(centre.binds) == 1


def test_the_centres_own_questions_are_answered(centre: Smsc, courier: SmppCourier) -> None:
    one(courier)
    centre.push(Pdu(0x15, 5).pack() + Pdu(0x0103, 6).pack())  # enquire_link, and data_sm, which is not spoken
    listen_until(courier, lambda: len(centre.heard) >= 4)
    assert centre.heard[-2:] == [("enquire_link_resp", 0), ("generic_nack", 3)]
    centre.push(Pdu(0x06, 7).pack())
    listen_until(courier, lambda: "unbind_resp" in centre.commands())
    assert one(courier).state == "accepted"
    assert len(centre.binds) == 2


def test_a_server_that_speaks_something_else_is_left(centre: Smsc, courier: SmppCourier) -> None:
    one(courier)

    def decide(_: Submitted) -> str:
        centre.push(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        return HANG

    centre.decide = decide
    outcome = one(courier)
    assert (outcome.state, outcome.code) == ("unknown", "lost")


def test_smpps_verifies_the_certificate(
    tmp_path_factory: pytest.TempPathFactory, open_courier: Callable[..., SmppCourier]
) -> None:
    authority = make_authority(tmp_path_factory.mktemp("smpps"))
    with smsc(authority.server_context()) as centre:
        outcome = one(open_courier(centre))
        assert (outcome.state, outcome.code) == ("retry", "tls")
        courier = open_courier(centre, tls_context=authority.client_context)
        assert one(courier).state == "accepted"
        courier.close()


def test_the_alphabet_is_the_one_that_segments_are_counted_in() -> None:
    assert {text_of(bytes([code]), GSM7) for code in range(128) if code != 0x1B} == GSM_BASIC
    assert len(GSM_EXTENSION) == 10
    # The other implementation has a grave accent where GSM has a paragraph sign, and lacks the form feed.
    for letter in sorted(GSM_BASIC | GSM_EXTENSION - {"\f"}):
        if letter not in "§\f":
            assert segments(letter, reference=0).parts == (their_gsm.gsm_encode(letter),)


_LETTERS = st.sampled_from(sorted(GSM_BASIC | GSM_EXTENSION)) | st.characters(exclude_categories=["Cs"])


@given(
    st.one_of(
        st.text(st.sampled_from(sorted(GSM_BASIC | GSM_EXTENSION)), max_size=500),
        st.text(_LETTERS, max_size=300),
    ),
    st.integers(0, 255),
)
def test_segments_are_as_many_as_were_counted_and_make_up_the_text(text: str, reference: int) -> None:
    cut = segments(text, reference=reference)
    assert len(cut.parts) == count_sms(text).segments
    assert cut.data_coding in {GSM7, UCS2}
    assert all(len(part) <= (160 if cut.data_coding == GSM7 else 140) for part in cut.parts)
    bodies = [part[6:] if cut.joined else part for part in cut.parts]
    assert "".join(text_of(body, cut.data_coding) for body in bodies) == text


@given(st.binary(max_size=100), st.integers(1, 7))
def test_any_bytes_are_taken_apart_or_refused(noise: bytes, size: int) -> None:
    buffer = bytearray()
    taken = 0
    for at in range(0, len(noise), size):
        buffer += noise[at : at + size]
        try:
            while (pdu := take_pdu(buffer)) is not None:
                taken += len(pdu.pack())
        except ValueError:
            return
    assert taken + len(buffer) == len(noise)
