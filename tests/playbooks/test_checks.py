"""Each fault of a file is found where it stands: its file, its line, and a sentence that says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from incident_center.playbooks import Problem, check_folder
from tests.playbooks.samples import CORRECTION, HOLDING, PHRASE, PLAYBOOK, line_of, write

# (what is replaced, by what, part of the broken text that stands on the line, part of the message)
FAULTS: dict[str, tuple[str, str, str, str]] = {
    "an unknown key": (
        "impact:",
        "color: red\nimpact:",
        "color",
        "unknown key “color”; known here: ask, components",
    ),
    "an unknown key in words": (
        "      phone:",
        "      fax: x\n      phone:",
        "fax",
        "unknown key “fax”; known here: doing",
    ),
    "an unknown key in a phase": (
        "    confirm:",
        "    owner: me\n    confirm:",
        "owner",
        "unknown key “owner”",
    ),
    "an unknown key in a question": (
        "sample:",
        "hint: x, sample:",
        "hint",
        "unknown key “hint”; known here: sample",
    ),
    "words of a phase beside the language": (
        "    confirm:",
        "    sms: x\n    confirm:",
        "    sms: x",
        "unknown key “sms”",
    ),
    "a level that files do not have": (
        "    confirm:",
        "    words: {}\n    confirm:",
        "words",
        "stand beside phase",
    ),
    "the key in the file": ("impact:", "key: gateway\nimpact:", "key: g", "the file's name is the key"),
    "a key twice": (
        "impact: major",
        "impact: major\nimpact: minor",
        "impact: minor",
        "“impact” stands here a second",
    ),
    "a missing key": ('      phone: "Payouts are', '      # phone: "', "    en:\n", "phone is missing"),
    "a missing title": ("title:", "# title:", "use_when:", "title is missing"),
    "a text where a list belongs": (
        "components: [sepa, cards]",
        "components: sepa",
        "components",
        "must be a list",
    ),
    "a list where a text belongs": (
        '"Payouts are delayed"',
        "[a]",
        "subject",
        "subject must be a text, not a list",
    ),
    "a number where a text belongs": (
        '"We are looking for the cause."',
        "12",
        "doing: [12",
        "must be a text",
    ),
    "a date where a text belongs": (
        '"We are looking for the cause."',
        "2026-01-01",
        "2026",
        "put it in quotes",
    ),
    "true where a text belongs": (
        "title: {en: Gateway down",
        "title: {en: true",
        "title",
        "put it in quotes",
    ),
    "a number with a dot": (
        "next_update_minutes: 30",
        "next_update_minutes: 30.5",
        "30.5",
        "put it in quotes",
    ),
    "minutes as a text": (
        "minutes: 30",
        'minutes: "30"',
        'minutes: "30"',
        "must be a whole number, not a text",
    ),
    "no minutes at all": ("minutes: 30", "minutes: 0", "minutes: 0", "must be at least 1"),
    "minutes beyond a day": ("minutes: 30", "minutes: 3000", "minutes: 3000", "must be at most 1440"),
    "minutes that are missing": ("    next_update_minutes: 30\n", "", "phase: investigating", "is missing"),
    "minutes in resolved": (
        "phase: resolved",
        "phase: resolved\n    next_update_minutes: 5",
        "minutes: 5",
        "no promise",
    ),
    "an unknown impact": (
        "impact: major",
        "impact: huge",
        "impact",
        "must be 'none', 'minor', 'major' or 'critical'",
    ),
    "an unknown phase": ("phase: investigating", "phase: panic", "panic", "must be 'investigating'"),
    "an unknown status": (
        "partial_outage",
        "broken",
        "broken",
        "must be 'operational', 'degraded_performance'",
    ),
    "an unknown kind": (
        "impact: major",
        "impact: major\nkind: party",
        "kind",
        "kind must be one of incident, holding",
    ),
    "another file's kind": (
        "impact: major",
        "impact: major\nkind: holding",
        "kind",
        "must be of kind incident",
    ),
    "a component's name": ("[sepa, cards]", "[SEPA payouts]", "components", "has another form"),
    "a component twice": (
        "[sepa, cards]",
        "[sepa, sepa]",
        "components",
        "the component sepa stands here a second",
    ),
    "a blank text": ('"Payouts are delayed"', '" "', "subject", "subject is blank; write a text"),
    "a blank sentence": ('"We are looking for the cause."', '""', "doing", "doing.0 is blank"),
    "no sentence": ('doing: ["We are looking for the cause."]', "doing: []", "doing: []", "needs at least 1"),
    "nothing": ('"Payouts are delayed"', "", "subject", "must be a text, not nothing"),
    "a subject of two lines": ('"Payouts are delayed"', '"a\\nb"', "subject", "must be one line"),
    "a control character": ('"Payouts are delayed"', '"a\\x1b"', "subject", "U+001B"),
    "a private-use character": ('"Payouts are delayed"', '"a\\uE000"', "subject", "U+E000"),
    "a language that is missing": (
        "title: {en: Gateway down, de: Gateway ausgefallen}",
        "title: {en: x}",
        "title",
        "de is m",
    ),
    "a language missing in a text": (
        "use_when: {en: Payouts fail., de",
        "use_when: {de",
        "use_when",
        "language en is missing",
    ),
    "a language missing in a phase": (
        "    de:",
        "    fr:",
        "phase: investigating",
        "the language de is missing here",
    ),
    "a language too many": ("    de:", "    fr:", "    fr:", "the language fr stands here, but not in title"),
    "a language missing in a question": (
        "{en: Which payouts?, de: Welche?, ",
        "{en: Which?, ",
        "scope:",
        "de is missing",
    ),
    "a question without languages": (
        "en: Which payouts?, de: Welche?, ",
        "",
        "scope:",
        "language en is missing",
    ),
    "a question without a sample": (
        ", sample: {en: SEPA payouts to Germany, de: SEPA-Auszahlungen}",
        "",
        "scope:",
        "sample is m",
    ),
    "no language key": ("title: {en", "title: {English: x, en", "title", "the name “English” does not fit"),
    "an unknown placeholder": (
        "{started_at}, {scope}",
        "{begun}, {scope}",
        "{begun}",
        "{begun} is not known here; allowed:",
    ),
    "a lone brace": ('"We are looking for the cause."', '"Look: }"', "Look", "a brace without a placeholder"),
    "a placeholder in a title": (
        "Gateway down",
        '"{company} down"',
        "title",
        "placeholders are not filled here",
    ),
    "a brace in a confirmation": (
        "[The fault is ours.]",
        '["{scope}"]',
        "confirm",
        "placeholders are not filled here",
    ),
    "a time in the first phase that is not there": (
        "{started_at}, {scope}",
        "{last_update_at}, {scope}",
        "{last_u",
        "not known",
    ),
    "an SMS without its link": (
        " {status_url}",
        "",
        "sms",
        "{status_url} is missing; the sms text must carry it",
    ),
    "an SMS without its promise": (
        "update by {next_update_by}. {s",
        "update soon. {s",
        "soon",
        "{next_update_by} is missing",
    ),
    "a call without its promise": (
        "more by {next_update_by}",
        "more soon",
        "soon",
        "the phone text must carry it",
    ),
    "a question with a name of ours": (
        "ask:\n",
        "ask:\n  company: {en: a, de: b, sample: {en: a, de: b}}\n",
        "  company",
        "filled by the",
    ),
    "a question's name": (
        "ask:\n",
        "ask:\n  My-Name: {en: a, de: b, sample: {en: a, de: b}}\n",
        "  My-Name",
        "the name “My-Name”",
    ),
    "confirmations that differ": (
        "[Der Fehler liegt bei uns.]",
        "[Der Fehler., Bei uns.]",
        "confirm",
        "(en: 1, de: 2)",
    ),
    "an alias": ("impact: major", "x: &a [b]\nimpact: *a", "impact", "aliases (*name) are not read here"),
    "a tag": ("impact: major", "impact: !secret major", "impact", "put it in quotes"),
    "a merge key": ("impact: major", "<<: {impact: major}", "<<", "is not a text"),
    "a number as key": ("impact: major", "1: major", "1: major", "“1” is not a text; put it in quotes"),
    "no YAML": ("impact: major", "impact: [major", "components:", "not YAML:"),
    "two documents": ("impact: major", "impact: major\n---\nx: 1", "---", "not YAML:"),
}


def found_in(folder: Path, file: str) -> list[Problem]:
    return [problem for problem in check_folder(folder) if problem.file == file]


def test_the_sample_files_have_no_fault(tmp_path: Path) -> None:
    assert check_folder(write(tmp_path)) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_on_its_line(tmp_path: Path, fault: str) -> None:
    old, new, place, message = FAULTS[fault]
    assert old in PLAYBOOK
    text = PLAYBOOK.replace(old, new, 1)
    problems = found_in(write(tmp_path, {"gateway.yaml": text}), "gateway.yaml")
    assert [p for p in problems if p.line == line_of(text, place) and message in p.message], (
        line_of(text, place),
        [str(p) for p in problems],
    )


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
