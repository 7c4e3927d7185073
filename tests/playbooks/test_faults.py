"""One broken place in a valid playbook: the fault is found on its line, with a sentence that says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.playbooks.samples import PLAYBOOK, found_in, line_of, write

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
