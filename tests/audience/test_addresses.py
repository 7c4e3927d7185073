"""Addresses are read strictly and kept exactly."""

import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incident_center.audience.addresses import masked, parse_email, parse_phone, region_of
from incident_center.errors import Refused
from incident_center.states import Channel


def code_of(refused: pytest.ExceptionInfo[Refused]) -> str:
    return refused.value.flaws[0].code


@pytest.mark.parametrize(
    "address",
    [
        "o'brien+payout@example.com",
        "Anna.Berg@example.com",
        '"a b"@example.com',
        '"a,b"@example.com',
        r'"a\"b\\c"@example.com',
        "!#$%&'*+-/=?^_`{|}~@example.com",
        "ünal@bücher.example",
        "用户@例子.公司",
    ],
)
def test_an_odd_but_valid_address_is_kept_exactly(address: str) -> None:
    assert parse_email(address).address == address


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("", "email.empty"),
        ("  \t", "email.empty"),
        ("a@x.example,b@x.example", "email.several"),
        ("a@x.example, b@x.example", "email.several"),
        ("a@x.example;b@x.example", "email.several"),
        ("a@x.example b@x.example", "email.several"),
        ("a@x.example\r\nb@x.example", "email.invalid"),
        ("a@x.example\r\nBcc: b", "email.invalid"),
        ("a@x.example\x00", "email.invalid"),
        ("anna", "email.invalid"),
        ("anna@", "email.invalid"),
        ("anna@localhost", "email.invalid"),
        ("Anna <anna@x.example>", "email.invalid"),
        ("anna@[127.0.0.1]", "email.invalid"),
        ('"an<na"@x.example', "email.invalid"),
        ('"an>na"@x.example', "email.invalid"),
        ("anna@x..example", "email.invalid"),
        ("a" * 65 + "@x.example", "email.invalid"),
        ("a" * 5000 + "@x.example", "email.invalid"),
    ],
)
def test_what_is_not_one_address_is_refused(typed: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_email(typed)
    assert code_of(refused) == code
    assert refused.value.flaws[0].field == "email"


def test_blanks_and_invisible_characters_around_an_address_are_dropped() -> None:
    assert parse_email(" \u202aanna@x.example\u202c\u00a0").address == "anna@x.example"


def test_the_same_mailbox_is_found_however_it_is_typed() -> None:
    assert parse_email("Anna@X.example").key == parse_email("anna@x.EXAMPLE").key
    assert parse_email("a@bücher.example").key == parse_email("a@xn--bcher-kva.example").key
    decomposed = unicodedata.normalize("NFD", "jürgen@x.example")
    assert parse_email(decomposed).key == parse_email("jürgen@x.example").key


_LOCAL = st.text(string.ascii_letters + string.digits + "!#$%&'*+-/=?^_`{|}~", min_size=1, max_size=60)
_LABEL = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=20).map("d{}".format)


@given(local=_LOCAL, label=_LABEL)
def test_every_plain_local_part_survives_and_is_stable(local: str, label: str) -> None:
    email = parse_email(f"{local}@{label}.example")
    assert email.address == f"{local}@{label}.example"
    assert parse_email(email.address) == email
    assert parse_email(email.key).key == email.key


@given(st.text(max_size=80) | st.text('ab@.,; \r\n"<>:\u202e', max_size=40))
def test_what_is_accepted_can_stand_in_a_header(typed: str) -> None:
    try:
        email = parse_email(typed)
    except Refused:
        return
    assert not any(unicodedata.category(letter) in {"Cc", "Cf", "Zl", "Zp"} for letter in email.address)
    assert len(email.address) <= 254
    assert parse_email(email.address) == email


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        ("+49 1512 3456789", "+4915123456789"),
        ("0049 1512 3456789", "+4915123456789"),
        ("01512 / 3456789", "+4915123456789"),
        ("(01512) 345-67-89", "+4915123456789"),
        ("tel:+4915123456789", "+4915123456789"),
        ("\u202a+49 1512 3456789\u202c", "+4915123456789"),
        ("٠١٥١٢٣٤٥٦٧٨٩", "+4915123456789"),
        ("+1 212 555 0100", "+12125550100"),
        ("+44 7911 123456", "+447911123456"),
    ],
)
def test_a_mobile_number_becomes_e164(typed: str, number: str) -> None:
    assert parse_phone(typed) == number


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("", "phone.empty"),
        ("+49 900 1234567", "phone.premium"),
        ("+1 900 555 0199", "phone.premium"),
        ("+49 180 5 1234567", "phone.premium"),
        ("+881 612 345 678", "phone.not_mobile"),
        ("030 123456", "phone.not_mobile"),
        ("+49 800 1234567", "phone.not_mobile"),
        ("110", "phone.no_country"),
        ("+49 1512 34", "phone.invalid"),
        ("2125551234", "phone.no_country"),
        ("1-800-FLOWERS", "phone.invalid"),
        ("+49 1512 3456789 ext. 5", "phone.invalid"),
        ("+49 1512 3456789#5", "phone.invalid"),
        ("+49 1512 3456789, +49 1512 3456780", "phone.several"),
        ("01512 3456789 oder 01512 3456780", "phone.several"),
        ("+4915123456789+4915123456780", "phone.several"),
        ("01512 3456789 / 01512 3456780", "phone.several"),
        ("a@x.example", "phone.invalid"),
        ("+49 1512 3456789\x00", "phone.invalid"),
        ("9" * 5000, "phone.invalid"),
    ],
)
def test_what_cannot_receive_a_text_message_is_refused(typed: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_phone(typed)
    assert code_of(refused) == code


def test_without_a_region_a_number_needs_its_country() -> None:
    assert parse_phone("0049 1512 3456789", None) == "+4915123456789"
    with pytest.raises(Refused) as refused:
        parse_phone("01512 3456789", None)
    assert code_of(refused) == "phone.no_country"


def test_the_region_comes_from_the_time_zone() -> None:
    assert (region_of("Europe/Berlin"), region_of("America/New_York"), region_of("UTC")) == ("DE", "US", None)


@given(st.text(max_size=40) | st.text("+0123456789 /-().,;", max_size=30))
def test_an_accepted_number_is_e164_and_reads_the_same_again(typed: str) -> None:
    try:
        number = parse_phone(typed)
    except Refused:
        return
    assert number[0] == "+"
    assert number[1:].isascii()
    assert number[1:].isdecimal()
    assert len(number) <= 16
    assert parse_phone(number, None) == number


def test_a_masked_address_shows_only_enough_to_recognise_it() -> None:
    assert masked(Channel.EMAIL, "anna.berg@x.example") == "a…@x.example"
    assert masked(Channel.SMS, "+4915123456789") == "+49…789"
