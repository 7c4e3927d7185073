"""Segments after GSM 03.38."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incident_center.playbooks import count_sms, normalise_sms
from incident_center.playbooks.sms import GSM_BASIC, GSM_EXTENSION, SmsCount

gsm = st.text(st.sampled_from(sorted(GSM_BASIC | GSM_EXTENSION)), max_size=700)
anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=400)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", SmsCount("gsm7", 0, 1, 160, ())),
        ("a" * 160, SmsCount("gsm7", 160, 1, 0, ())),
        ("a" * 161, SmsCount("gsm7", 161, 2, 145, ())),
        ("a" * 306, SmsCount("gsm7", 306, 2, 0, ())),
        ("a" * 307, SmsCount("gsm7", 307, 3, 152, ())),
        ("äöüÄÖÜßàé", SmsCount("gsm7", 9, 1, 151, ())),
        ("€" * 80, SmsCount("gsm7", 160, 1, 0, ())),
        # The pair of € would be cut at 153: it moves to the next segment and leaves one septet empty.
        ("a" * 152 + "€" + "a" * 7, SmsCount("gsm7", 161, 2, 144, ())),
        ("ł" * 70, SmsCount("ucs2", 70, 1, 0, ("ł",))),
        ("ł" * 71, SmsCount("ucs2", 71, 2, 63, ("ł",))),
        ("😀" * 35, SmsCount("ucs2", 70, 1, 0, ("😀",))),
        # 33 pairs fill 66 of 67 units; the next pair is not cut.
        ("😀" * 36, SmsCount("ucs2", 72, 2, 61, ("😀",))),
        ("ça va łą ł", SmsCount("ucs2", 10, 1, 60, ("ç", "ł", "ą"))),
    ],
)
def test_a_text_costs(text: str, expected: SmsCount) -> None:
    assert count_sms(text) == expected


def test_the_basic_table_has_its_127_characters_and_the_extension_its_ten() -> None:
    assert len(GSM_BASIC) == 127
    assert len(GSM_EXTENSION) == 10


@given(gsm)
def test_gsm_text_is_never_ucs2_and_its_units_fit_its_segments(text: str) -> None:
    count = count_sms(text)
    assert count.encoding == "gsm7"
    assert not count.odd
    size = 160 if count.segments == 1 else 153
    escapes = sum(character in GSM_EXTENSION for character in text)
    assert count.units == len(text) + escapes
    # Each full segment may lose one septet to an escape pair that moved on.
    assert 0 <= size * count.segments - count.left - count.units <= count.segments - 1


@given(anything)
def test_ucs2_units_are_those_of_utf16(text: str) -> None:
    count = count_sms(text)
    if count.encoding == "ucs2":
        assert count.units == len(text.encode("utf-16-be")) // 2
        assert set(count.odd) == set(text) - GSM_BASIC - GSM_EXTENSION
    size = {("gsm7", True): 160, ("gsm7", False): 153, ("ucs2", True): 70, ("ucs2", False): 67}
    assert 0 <= count.left <= size[count.encoding, count.segments == 1]


@given(anything)
def test_a_longer_text_never_costs_less(text: str) -> None:
    costs = [count_sms(text[:length]).segments for length in range(0, len(text) + 1, 7)]
    assert all(before <= after for before, after in pairwise(costs))


def test_typography_is_normalised_and_letters_are_left() -> None:
    assert (
        normalise_sms("„Später“ – ‘soon’ … 15:00\u202fUhr\u00a0(MEZ)")
        == "\"Später\" - 'soon' ... 15:00 Uhr (MEZ)"
    )
    assert normalise_sms("äöüßéà łçЖ😀") == "äöüßéà łçЖ😀"


def test_an_umlaut_typed_as_two_characters_costs_as_one() -> None:
    assert normalise_sms("a\u0308") == "ä"
    assert normalise_sms("Aus\u00adzahlung\u200b\ufeff") == "Auszahlung"


@given(anything)
def test_normalising_twice_is_normalising_once(text: str) -> None:
    once = normalise_sms(text)
    assert normalise_sms(once) == once


@given(gsm.map(lambda text: text.replace("\r", "")))
def test_a_gsm_text_stays_as_it_is(text: str) -> None:
    assert normalise_sms(text) == text


@given(st.sampled_from("‘’“”„«»–—…\u00a0\u202f\u2009\u2011\u200b"), gsm)
def test_no_typographic_sign_makes_a_message_ucs2(sign: str, text: str) -> None:
    assert count_sms(normalise_sms(text + sign)).encoding == "gsm7"
