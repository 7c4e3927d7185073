"""What a folder of playbooks gives to the rest of the product."""

from __future__ import annotations

from pathlib import Path

import pytest

from incident_center.playbooks import PHASES, PlaybookErrors, check_folder, load_library
from tests.playbooks.samples import CORRECTION, HOLDING, PLAYBOOK, WORDS, both, write


def test_a_playbook_is_read_as_it_stands(tmp_path: Path) -> None:
    playbook = load_library(write(tmp_path)).playbooks["gateway"]
    assert (playbook.key, playbook.impact, playbook.components) == ("gateway", "major", ("sepa", "cards"))
    assert playbook.languages == ("en", "de")
    assert playbook.title["de"] == "Gateway ausgefallen"
    assert playbook.ask["scope"].text["en"] == "Which payouts?"
    assert playbook.ask["scope"].sample["de"] == "SEPA-Auszahlungen"
    script = playbook.phase("investigating")
    assert (script.next_update_minutes, script.component_status) == (30, "partial_outage")
    assert script.confirm["en"] == ("The fault is ours.",)
    assert script.words["en"].known == ("Since {started_at}, {scope} are delayed.",)
    assert script.words["de"].unknown == ()


def test_a_phase_that_is_not_there_is_a_key_error(tmp_path: Path) -> None:
    playbook = load_library(write(tmp_path)).playbooks["gateway"]
    with pytest.raises(KeyError, match="gateway has no phase monitoring"):
        playbook.phase("monitoring")
    with pytest.raises(KeyError):
        playbook.phase("nonsense")


def test_the_library_has_holding_correction_and_phrases(tmp_path: Path) -> None:
    library = load_library(write(tmp_path))
    assert library.holding.next_update_minutes == 30
    assert library.correction.ask["wrong"].text["en"] == "What was wrong?"
    assert library.phrases["not-known"].say["en"][1] == "I will know more by {next_update_by}."
    assert library.languages == ("en", "de")


def test_languages_are_those_that_every_script_carries(tmp_path: Path) -> None:
    """A third language in holding and correction alone is no promise that every outage is told in it."""
    french = {
        "holding.yaml": HOLDING + "  fr:\n" + _words("    ", "payouts"),
        "correction.yaml": CORRECTION.replace("sample: {en", "fr: Faux ?, sample: {fr: Oui., en")
        + "  fr:\n"
        + _words("    ", "{wrong}").replace(" Next update by {next_update_by}.", ""),
    }
    assert load_library(write(tmp_path, french)).languages == ("en", "de")


def _words(indent: str, scope: str) -> str:
    return "".join(indent + line for line in WORDS.replace("{scope}", scope).splitlines(keepends=True))


def _subject(words: str, subject: str) -> str:
    return words.replace("{scope}", "payouts").replace("Payouts are delayed", subject, 1)


@pytest.mark.parametrize(
    ("own", "again", "default_again", "streak", "expected"),
    [
        (False, False, False, 1, "default"),
        (False, False, False, 2, "default"),
        (False, False, True, 1, "default"),
        (False, False, True, 2, "default again"),
        (True, False, True, 1, "own"),
        (True, False, True, 3, "own"),
        (True, True, True, 1, "own"),
        (True, True, True, 2, "own again"),
        (False, True, True, 2, "own again"),
        (False, True, False, 1, "default"),
    ],
)
def test_holding_words(
    tmp_path: Path, own: bool, again: bool, default_again: bool, streak: int, expected: str
) -> None:
    playbook = PLAYBOOK
    playbook += f"holding:\n{both(_subject(WORDS, 'own'), 2)}" if own else ""
    playbook += f"holding_again:\n{both(_subject(WORDS, 'own again'), 2)}" if again else ""
    holding = f"kind: holding\nnext_update_minutes: 30\nholding:\n{both(_subject(WORDS, 'default'), 2)}"
    holding += f"holding_again:\n{both(_subject(WORDS, 'default again'), 2)}" if default_again else ""
    library = load_library(write(tmp_path, {"gateway.yaml": playbook, "holding.yaml": holding}))
    words = library.holding_words("gateway", streak)
    assert {language: each.subject for language, each in words.items()} == {"en": expected, "de": expected}
    default = "default again" if default_again and streak > 1 else "default"
    assert library.holding_words("gone", streak)["en"].subject == default
    assert library.holding_words(None, streak)["en"].subject == default


def test_what_must_not_be_said_adds_up(tmp_path: Path) -> None:
    text = PLAYBOOK.replace(
        "impact: major\n", "impact: major\nnever_say: {en: [a bank's name], de: [eine Bank]}\n"
    )
    text = text.replace(
        "    confirm:", "    never_say: {en: [a time of repair], de: [eine Uhrzeit]}\n    confirm:", 1
    )
    playbook = load_library(write(tmp_path, {"gateway.yaml": text})).playbooks["gateway"]
    assert playbook.not_to_say("investigating", "en") == ("a bank's name", "a time of repair")
    assert playbook.not_to_say("resolved", "de") == ("eine Bank",)
    assert playbook.not_to_say("resolved", "fr") == ("a bank's name",)


def test_what_must_be_confirmed_falls_back_to_english(tmp_path: Path) -> None:
    playbook = load_library(write(tmp_path)).playbooks["gateway"]
    assert playbook.phase("investigating").to_confirm("de") == ("Der Fehler liegt bei uns.",)
    assert playbook.phase("investigating").to_confirm("fr") == ("The fault is ours.",)
    assert playbook.phase("resolved").to_confirm("de") == ()


def test_a_folder_with_a_fault_is_not_loaded_and_says_all_faults(tmp_path: Path) -> None:
    folder = write(tmp_path, {"gateway.yaml": PLAYBOOK.replace("{scope}", "{skope}"), "holding.yaml": None})
    with pytest.raises(PlaybookErrors) as caught:
        load_library(folder)
    assert caught.value.problems == check_folder(folder)
    assert {problem.file for problem in caught.value.problems} == {"gateway.yaml", "holding.yaml"}
    assert str(caught.value).startswith("gateway.yaml:")


def test_other_files_in_the_folder_are_no_playbooks(tmp_path: Path) -> None:
    folder = write(tmp_path, {"README.md": "# Not YAML: {"})
    assert list(load_library(folder).playbooks) == ["gateway"]


def test_the_order_of_the_phases_is_the_order_of_an_outage() -> None:
    assert PHASES == ("investigating", "identified", "monitoring", "resolved")
