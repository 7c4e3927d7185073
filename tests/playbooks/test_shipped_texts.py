"""The texts that come with the product are held to the same checks as a customer's own."""

from __future__ import annotations

from pathlib import Path

from incident_center.playbooks import check_catalogue, check_folder, load_library

ROOT = Path(__file__).parents[2]


def test_the_shipped_playbooks_have_no_problem() -> None:
    assert [str(problem) for problem in check_folder(ROOT / "playbooks")] == []


def test_the_shipped_playbooks_speak_english_and_german() -> None:
    assert {"en", "de"} <= set(load_library(ROOT / "playbooks").languages)


def test_the_shipped_word_catalogues_have_no_problem() -> None:
    assert [str(problem) for problem in check_catalogue(ROOT / "templates" / "messages" / "words")] == []
