"""Names in any script are welcome; links, markup and invisible characters are not."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incident_center.audience.names import parse_name
from incident_center.errors import Refused


@pytest.mark.parametrize(
    "name",
    [
        "Anna Berg",
        "O’Brien",
        "Sinéad O'Connor",
        "Jean-Luc d'Aubigné",
        "Müller-Lüdenscheidt",
        "李小龍",
        "Лев Толстой",
        "محمد بن سلمان",
        "नरेंद्र मोदी",
        "ג׳ורג׳",
        "Gal·la Martí",
        "Þóra",
        "J. R. R. Tolkien",
        "X",
        "علی\u200cرضا",
    ],
)
def test_a_name_in_any_script_is_kept(name: str) -> None:
    assert parse_name(name) == name


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("evil.com", "name.link"),
        ("https://x", "name.link"),
        ("Visit www.x", "name.link"),
        ("<b>Anna</b>", "name.odd"),
        ("{company}", "name.odd"),
        ("Anna\u202eBerg", "name.odd"),
        ("Anna\x00", "name.odd"),
        ("Anna\x1b[31m", "name.odd"),
        ("Anna 🎉", "name.odd"),
        ("12345", "name.odd"),
        ("a@x.example", "name.odd"),
        ("\ue000Anna", "name.odd"),
        ("A" * 81, "name.too_long"),
    ],
)
def test_what_is_no_name_is_refused(typed: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_name(typed)
    assert (refused.value.flaws[0].field, refused.value.flaws[0].code) == ("name", code)


def test_blanks_are_single_and_nothing_is_nothing() -> None:
    assert parse_name("  Anna \n\t Berg ") == "Anna Berg"
    assert parse_name(" \u200b ") is None


def test_a_title_that_is_closed_up_gets_its_blank_so_that_no_mail_program_makes_it_a_link() -> None:
    assert parse_name("Dr.Li") == "Dr. Li"


@given(st.text(max_size=100))
def test_an_accepted_name_is_short_visible_and_stable(typed: str) -> None:
    try:
        name = parse_name(typed)
    except Refused:
        return
    if name is None:
        return
    assert len(name) <= 80
    assert not set(name) & set("<>{}/@\\\r\n\t\x00")
    assert not any(unicodedata.category(letter) in {"Cc", "Cs", "Co"} for letter in name)
    assert parse_name(name) == name
