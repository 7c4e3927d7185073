"""Greetings: kind, on one line, and never a reason for a message not to leave."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incident_center.playbooks import Catalogue, load_catalogue, parse, render, salutation
from incident_center.playbooks.parts import odd_character

WORDS = Path(__file__).parents[2] / "templates" / "messages" / "words"


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue(WORDS)


@pytest.mark.parametrize(
    ("language", "name", "form", "expected"),
    [
        ("de", "Weber", "ms", "Guten Tag, Frau Weber"),
        ("de", "Weber", "mr", "Guten Tag, Herr Weber"),
        ("de", "Alex Kim", None, "Guten Tag, Alex Kim"),
        ("de", None, "ms", "Guten Tag"),
        ("en", "Weber", "ms", "Dear Ms Weber"),
        ("en", "Weber", "mr", "Dear Mr Weber"),
        ("en", "Alex Kim", None, "Dear Alex Kim"),
        ("en", " \t\n", "mr", "Hello"),
        ("en", "", None, "Hello"),
        ("fr", "Alex Kim", None, "Dear Alex Kim"),
        ("en", "O'Brien {salutation} <b>", None, "Dear O'Brien {salutation} <b>"),
        ("en", "Alex\r\nBcc: x@y.example", None, "Dear Alex Bcc: x@y.example"),
    ],
)
def test_a_reader_is_greeted(
    catalogue: Catalogue, language: str, name: str | None, form: str | None, expected: str
) -> None:
    assert salutation(catalogue, language=language, name=name, form=form) == expected


@given(st.text(), st.sampled_from(["mr", "ms", None, "dr"]), st.sampled_from(["en", "de", "fr"]))
def test_any_name_gives_one_line_that_can_be_sent(name: str, form: str | None, language: str) -> None:
    greeting = salutation(load_once(), language=language, name=name, form=form)
    assert len(greeting.splitlines()) == 1
    assert odd_character(greeting, keep="") is None
    assert greeting == greeting.strip()
    assert render(parse("{salutation}", ["salutation"]), {"salutation": greeting}) == greeting


_loaded: list[Catalogue] = []


def load_once() -> Catalogue:
    """Hypothesis calls a test many times; a function-scoped fixture would be refused and a file read each time."""
    if not _loaded:
        _loaded.append(load_catalogue(WORDS))
    return _loaded[0]
