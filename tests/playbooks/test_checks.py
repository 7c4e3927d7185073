"""What a folder of playbooks is checked for beyond the form of one file."""

from __future__ import annotations

from pathlib import Path

import pytest

from incident_center.playbooks import check_folder
from tests.playbooks.samples import CORRECTION, HOLDING, PHRASE, PLAYBOOK, found_in, line_of, write


def test_the_sample_files_have_no_fault(tmp_path: Path) -> None:
    assert check_folder(write(tmp_path)) == []


def test_a_fault_in_one_sentence_of_a_list_has_the_line_of_that_sentence(tmp_path: Path) -> None:
    several = (
        'doing:\n        - "One."\n        - "Two {eta}."\n        - >-\n          Three\n          {lone.\n'
    )
    text = PLAYBOOK.replace('doing: ["We are looking for the cause."]\n', several, 1)
    problems = found_in(write(tmp_path, {"gateway.yaml": text}), "gateway.yaml")
    lines = {problem.line: problem.message for problem in problems}
    assert lines.keys() == {line_of(text, "Two {eta}"), line_of(text, "- >-")}
    assert "{eta} is not known" in lines[line_of(text, "Two {eta}")]


def test_all_faults_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    text = (
        PLAYBOOK.replace("major", "huge")
        .replace("partial_outage", "broken")
        .replace("minutes: 30", "minutes: x")
    )
    problems = found_in(write(tmp_path, {"gateway.yaml": text}), "gateway.yaml")
    assert [problem.line for problem in problems] == [
        line_of(text, part) for part in ("huge", "minutes: x", "broken")
    ]


@pytest.mark.parametrize("language", ["en", "de"])
def test_an_sms_is_measured_with_long_values(tmp_path: Path, language: str) -> None:
    """English has one segment, German two; the address and the times count as long as they get."""
    sms = "Payouts delayed. Next update by {next_update_by}. {status_url}"
    start = PLAYBOOK.index(f"    {language}:\n")
    longer = sms.replace("delayed.", "delayed." + " Please wait." * (6 if language == "en" else 18))
    text = PLAYBOOK[:start] + PLAYBOOK[start:].replace(sms, longer, 1)
    problems = found_in(write(tmp_path, {"gateway.yaml": text}), "gateway.yaml")
    assert len(problems) == 1
    assert problems[0].line == line_of(text, "Please wait.")
    taken, limit = (2, 1) if language == "en" else (3, 2)
    assert f"the SMS takes {taken} segments with long values" in problems[0].message
    assert f"{limit} at most" in problems[0].message


def test_a_letter_outside_gsm7_is_named_when_it_makes_an_sms_too_long(tmp_path: Path) -> None:
    text = PLAYBOOK.replace('sms: "Payouts delayed', 'sms: "Łódź payouts delayed', 1)
    problems = found_in(write(tmp_path, {"gateway.yaml": text}), "gateway.yaml")
    assert [problem.message.rpartition(": ")[2] for problem in problems] == ["Ł ó ź"]


def test_typographic_signs_in_an_sms_are_no_fault(tmp_path: Path) -> None:
    text = PLAYBOOK.replace('sms: "Payouts delayed', 'sms: "Payouts – “delayed”…', 1)
    assert check_folder(write(tmp_path, {"gateway.yaml": text})) == []


def test_phases_come_once_in_order_and_end_with_resolved(tmp_path: Path) -> None:
    start, end = PLAYBOOK.index("  - phase: investigating"), PLAYBOOK.index("  - phase: resolved")
    head, first, last = PLAYBOOK[:start], PLAYBOOK[start:end], PLAYBOOK[end:]
    for phases, messages in (
        (first, ["the phase resolved is missing"]),
        (first + first + last, ["the phase investigating stands here a second time"]),
        (last + first, ["phases stand in this order: investigating, identified, monitoring, resolved"]),
    ):
        problems = found_in(write(tmp_path, {"gateway.yaml": head + phases}), "gateway.yaml")
        assert [p.message.partition(";")[0] for p in problems] == messages


def test_resolved_may_not_promise_an_update(tmp_path: Path) -> None:
    text = PLAYBOOK.replace(
        "Payouts work again. {status_url}", "Payouts work. {next_update_by} {status_url}", 1
    )
    problems = found_in(write(tmp_path, {"gateway.yaml": text}), "gateway.yaml")
    assert len(problems) == 1
    assert "{next_update_by} is not known here" in problems[0].message


def test_a_question_whose_answer_no_text_carries_is_found(tmp_path: Path) -> None:
    text = PLAYBOOK.replace("{scope} were", "payouts were").replace("{scope} are", "payouts are", 1)
    problems = found_in(write(tmp_path, {"gateway.yaml": text}), "gateway.yaml")
    assert [str(p) for p in problems] == [
        f"gateway.yaml:{line_of(text, '  scope:')}: {{scope}} is asked for, but no en text carries it"
    ]


def test_holding_may_name_the_update_before_and_must_promise_the_next(tmp_path: Path) -> None:
    text = HOLDING.replace("We are looking", "Since {last_update_at} we are looking", 1)
    assert check_folder(write(tmp_path, {"holding.yaml": text})) == []
    text = HOLDING.replace("Next update by {next_update_by}", "Soon more", 1)
    problems = found_in(write(tmp_path, {"holding.yaml": text}), "holding.yaml")
    assert [(p.line, p.message.partition(";")[0]) for p in problems] == [
        (line_of(text, "Soon more"), "{next_update_by} is missing")
    ]


def test_a_playbooks_own_holding_may_use_its_answers_and_the_common_one_may_not(tmp_path: Path) -> None:
    own = HOLDING.partition("minutes: 30\n")[2].replace("payouts are delayed", "{scope} are delayed")
    assert check_folder(write(tmp_path, {"gateway.yaml": PLAYBOOK + own})) == []
    common = HOLDING.replace("payouts are delayed", "{scope} are delayed", 1)
    problems = found_in(write(tmp_path, {"holding.yaml": common}), "holding.yaml")
    assert [p.line for p in problems] == [line_of(common, "{scope}")]


def test_holding_and_correction_speak_every_language_of_the_playbooks(tmp_path: Path) -> None:
    french = PLAYBOOK.replace(", de:", ", fr: Bonjour, de:").replace("], fr: Bonjour", "], fr: [Oui]")
    for part in ("investigating", "resolved"):
        start = french.index("\n    en:\n", french.index(f"phase: {part}")) + 1
        english = french[start : french.index("\n    de:\n", start) + 1]
        french = french[:start] + english.replace("    en:\n", "    fr:\n", 1) + french[start:]
    problems = check_folder(write(tmp_path, {"gateway.yaml": french}))
    assert [str(problem) for problem in problems] == [
        "correction.yaml:4: the language fr is missing; gateway.yaml carries it",
        "holding.yaml:3: the language fr is missing; gateway.yaml carries it",
    ]


@pytest.mark.parametrize(
    ("file", "text", "line", "message"),
    [
        ("holding.yaml", None, 1, "the file is missing"),
        ("correction.yaml", None, 1, "the file is missing"),
        ("holding.yaml", "", 1, "the file is empty"),
        ("holding.yaml", "- a\n", 1, "must be a map"),
        ("holding.yaml", PLAYBOOK, 1, "must be of kind holding, not incident"),
        ("holding.yaml", CORRECTION, 1, "must be of kind holding, not correction"),
        ("phrases/not-known.yaml", PHRASE.replace('"I do not know that yet.", ', ""), 4, "needs at least 2"),
        (
            "phrases/not-known.yaml",
            PHRASE.replace("{next_update_by}", "{eta}", 1),
            4,
            "{eta} is not known here",
        ),
        (
            "phrases/not-known.yaml",
            PHRASE.replace("when: {en: The caller asks for the cause., ", "when: {"),
            2,
            "en is m",
        ),
        ("phrases/not-known.yaml", PHRASE + "avoid: {en: [Soon.]}\n", 6, "the language de is missing here"),
        ("phrases/not-known.yaml", PHRASE + "kind: incident\n", 6, "unknown key “kind”"),
        ("Bad_Name.yaml", PLAYBOOK, 1, "a file's name is its key"),
        ("other.yml", PLAYBOOK, 1, "files here end in .yaml; rename it"),
        ("gateway.yaml", None, 1, "there is no playbook in this folder"),
    ],
)
def test_a_fault_of_a_whole_file(
    tmp_path: Path, file: str, text: str | None, line: int, message: str
) -> None:
    problems = check_folder(write(tmp_path, {file: text}))
    place = "." if file == "gateway.yaml" else file
    assert [p for p in problems if (p.file, p.line) == (place, line) and message in p.message], problems


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "gateway.yaml").write_bytes(
        PLAYBOOK.replace("Gateway ausgefallen", "fällt aus").encode("latin-1")
    )
    assert "not UTF-8" in found_in(folder, "gateway.yaml")[0].message


def test_a_character_that_yaml_refuses_has_its_line(tmp_path: Path) -> None:
    text = PLAYBOOK.replace("impact: major", "impact: \x01major")
    problems = found_in(write(tmp_path, {"gateway.yaml": text}), "gateway.yaml")
    assert [p.line for p in problems] == [line_of(text, "impact")]


def test_a_folder_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    assert [str(p) for p in check_folder(tmp_path / "gone")] == [
        "gone:1: there is no such folder of playbooks"
    ]


def test_words_like_no_and_times_stay_texts(tmp_path: Path) -> None:
    """YAML 1.1 would read them as False and 750."""
    text = PLAYBOOK.replace("[The fault is ours.]", "[no]").replace("[Der Fehler liegt bei uns.]", "[12:30]")
    assert check_folder(write(tmp_path, {"gateway.yaml": text})) == []


def test_a_time_of_repair_needs_a_phase_that_asks_for_its_basis(tmp_path: Path) -> None:
    based = PLAYBOOK.replace("We are looking for the cause.", "It works again within two hours.", 1)
    assert found_in(write(tmp_path, {"gateway.yaml": based}), "gateway.yaml") == []
    text = based.replace(
        "confirm: {en: [The fault is ours.], de: [Der Fehler liegt bei uns.]}", "confirm: {}"
    )
    (problem,) = found_in(write(tmp_path, {"gateway.yaml": text}), "gateway.yaml")
    assert problem.line == line_of(text, "within two hours")
    assert "promises a time" in problem.message
