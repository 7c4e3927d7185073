"""Placeholders: parsed once, filled in two steps, a value never filled again."""

from __future__ import annotations

import html
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment

from incident_center.playbooks import (
    EARLY,
    LATE,
    PLACEHOLDERS,
    Parts,
    PlaceholderError,
    Slot,
    fill,
    from_json,
    long_samples,
    mark,
    parse,
    render,
    slots,
    to_json,
    unmark,
)

NAMES = sorted(PLACEHOLDERS)
names = st.sampled_from(NAMES)
# What people type, without what parse() refuses.
literals = st.text(st.characters(exclude_categories=["Cc", "Co", "Cs", "Zl", "Zp"], exclude_characters="{}"))
values = st.text(st.characters(exclude_categories=["Cc", "Co", "Cs", "Zl", "Zp"]))


@st.composite
def texts(draw: st.DrawFn) -> str:
    pieces = draw(st.lists(st.one_of(literals, names.map(lambda name: f"{{{name}}}"))))
    return "".join(pieces)


parts_of_any_kind = texts().map(lambda text: parse(text, NAMES))


def test_a_text_is_cut_into_literals_and_slots() -> None:
    assert parse("Since {started_at}, late.", NAMES) == ("Since ", Slot("started_at"), ", late.")


def test_early_and_late_names_are_all_names_and_none_is_both() -> None:
    assert set(PLACEHOLDERS) == EARLY | LATE
    assert not EARLY & LATE
    assert sorted(EARLY) == ["company", "incident_ref", "status_url"]


@pytest.mark.parametrize("language", ["en", "de", "de-AT", "fr"])
def test_every_placeholder_has_a_long_sample_in_every_language(language: str) -> None:
    assert long_samples(language).keys() == PLACEHOLDERS.keys()


@given(texts())
def test_rendering_with_each_name_as_its_own_value_gives_the_text_back(text: str) -> None:
    assert render(parse(text, NAMES), {name: f"{{{name}}}" for name in NAMES}) == text


@given(parts_of_any_kind, st.dictionaries(names, values), st.dictionaries(names, values))
def test_filling_in_two_steps_is_filling_at_once(
    parts: Parts, early: dict[str, str], late: dict[str, str]
) -> None:
    assert fill(fill(parts, early), late) == fill(parts, {**late, **early})


@given(parts_of_any_kind, values)
def test_a_value_with_placeholders_in_it_stays_as_it_is(parts: Parts, value: str) -> None:
    poisoned = value + "{company}{salutation}"
    filled = fill(parts, {"status_url": poisoned})
    assert slots(filled) == slots(parts) - {"status_url"}
    assert render(filled, dict.fromkeys(NAMES, "")).count(poisoned) >= parts.count(Slot("status_url"))


@given(parts_of_any_kind)
def test_parts_survive_being_stored(parts: Parts) -> None:
    assert from_json(json.loads(json.dumps(to_json(parts)))) == parts


@given(parts_of_any_kind)
def test_marked_parts_come_back_the_same(parts: Parts) -> None:
    assert unmark(mark(parts)) == parts


@given(parts_of_any_kind)
def test_marks_survive_escaping_and_change_of_case(parts: Parts) -> None:
    page = Environment(autoescape=True).from_string("<p title='{{ text }}'>{{ text|upper }}</p>")
    found = unmark(page.render(text=mark(parts)))
    assert [part for part in found if isinstance(part, Slot)] == [p for p in parts if isinstance(p, Slot)] * 2
    assert unmark(html.escape(mark(parts))) == parse_escaped(parts)


def parse_escaped(parts: Parts) -> Parts:
    return tuple(html.escape(part) if isinstance(part, str) else part for part in parts)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("a { b", 2),
        ("a } b", 2),
        ("{}", 0),
        ("{ company }", 0),
        ("{{company}}", 0),
        ("{Company}", 0),
        ("{company!r}", 0),
        ("{company.x}", 0),
        ("{company", 0),
        ("x {company} }", 12),
    ],
)
def test_a_lone_brace_is_refused_where_it_stands(text: str, position: int) -> None:
    with pytest.raises(PlaceholderError) as caught:
        parse(text, NAMES)
    assert (caught.value.name, caught.value.position, caught.value.text) == ("", position, text)
    assert "remove the brace" in str(caught.value)
    assert "{status_url}" in str(caught.value)


def test_an_unknown_name_is_refused_with_the_names_that_are_known() -> None:
    with pytest.raises(PlaceholderError) as caught:
        parse("by {eta}", ["company", "status_url"])
    assert (caught.value.name, caught.value.position) == ("eta", 3)
    assert str(caught.value) == "{eta} is not known here; allowed: {company}, {status_url}"


def test_where_no_placeholder_may_stand_the_message_says_so() -> None:
    with pytest.raises(PlaceholderError, match="no placeholder may stand here"):
        parse("{company}", [])


@pytest.mark.parametrize(
    "character", ["\x00", "\x1b", "\r", "\x7f", "\x85", "\u2028", "\ue000", "\ue16e", "\ud800"]
)
def test_a_character_that_cannot_be_sent_is_refused_in_texts_and_values(character: str) -> None:
    with pytest.raises(ValueError, match=f"U\\+{ord(character):04X}"):
        parse(f"a{character}b", NAMES)
    if character != "\r":
        with pytest.raises(ValueError, match=r"\{company\}"):
            fill((Slot("company"),), {"company": f"a{character}b"})
        with pytest.raises(ValueError, match=r"\{company\}"):
            render((Slot("company"),), {"company": f"a{character}b"})


def test_a_text_may_have_line_breaks_and_a_value_is_put_on_one_line() -> None:
    parts = parse("Hello\n{company}", NAMES)
    assert render(parts, {"company": "Nord\r\nwind\tPay"}) == "Hello\nNord wind Pay"


def test_a_slot_without_a_value_is_named() -> None:
    with pytest.raises(KeyError, match="status_url"):
        render(parse("{company} {status_url}", NAMES), {"company": "N"})


@pytest.mark.parametrize(
    "stored", [None, "text", {"slot": "x"}, [1], [{"slot": 1}], [{"slot": "X"}], [{"slot": "a", "b": 1}]]
)
def test_anything_else_than_stored_parts_is_refused(stored: object) -> None:
    with pytest.raises(ValueError, match="stored"):
        from_json(stored)


@pytest.mark.parametrize(
    "damage",
    ["\ue000", "\ue001", "\ue000\ue163", "\ue163\ue001", "\ue000\ue163 \ue001", "\ue000\ue130\ue001"],
)
def test_a_mark_that_was_cut_is_noticed(damage: str) -> None:
    with pytest.raises(ValueError, match="damaged mark"):
        unmark(f"before {damage} after")
