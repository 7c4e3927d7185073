"""Small valid files that a test breaks in one place, so that only that place can be the cause."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from incident_center.playbooks import Problem, check_folder

WORDS = """\
subject: "Payouts are delayed"
known: ["Since {started_at}, {scope} are delayed."]
unknown: []
doing: ["We are looking for the cause."]
you_can: ["Please do not submit the same payout again."]
sms: "Payouts delayed. Next update by {next_update_by}. {status_url}"
phone: "Payouts are delayed. I will know more by {next_update_by}."
"""

RESOLVED = """\
subject: "Payouts work again"
known: ["Since {started_at}, {scope} were delayed. They work again."]
unknown: []
doing: ["We are checking every payout."]
you_can: ["You do not need to do anything."]
sms: "Payouts work again. {status_url}"
phone: "Payouts work again."
"""


def indented(text: str, spaces: int) -> str:
    return "".join(" " * spaces + line for line in text.splitlines(keepends=True))


def both(words: str, spaces: int) -> str:
    return "".join(f"{' ' * spaces}{language}:\n{indented(words, spaces + 2)}" for language in ("en", "de"))


PLAYBOOK = f"""\
title: {{en: Gateway down, de: Gateway ausgefallen}}
use_when: {{en: Payouts fail., de: Auszahlungen schlagen fehl.}}
impact: major
components: [sepa, cards]
ask:
  scope: {{en: Which payouts?, de: Welche?, sample: {{en: SEPA payouts to Germany, de: SEPA-Auszahlungen}}}}
phases:
  - phase: investigating
    next_update_minutes: 30
    component_status: partial_outage
    confirm: {{en: [The fault is ours.], de: [Der Fehler liegt bei uns.]}}
{both(WORDS, 4)}\
  - phase: resolved
{both(RESOLVED, 4)}\
"""

HOLDING = f"""\
kind: holding
next_update_minutes: 30
holding:
{both(WORDS.replace("{scope}", "payouts"), 2)}\
"""

CORRECTION = f"""\
kind: correction
ask:
  wrong: {{en: What was wrong?, de: Was war falsch?, sample: {{en: Cards work., de: Karten gehen.}}}}
correction:
{both(RESOLVED.replace("{scope}", "{wrong}"), 2)}\
"""

PHRASE = """\
title: {en: Not known yet, de: Noch unbekannt}
when: {en: The caller asks for the cause., de: Nach der Ursache gefragt.}
say:
  en: ["I do not know that yet.", "I will know more by {next_update_by}."]
  de: ["Das weiß ich noch nicht.", "Bis {next_update_by} weiß ich mehr."]
"""

FILES = {
    "gateway.yaml": PLAYBOOK,
    "holding.yaml": HOLDING,
    "correction.yaml": CORRECTION,
    "phrases/not-known.yaml": PHRASE,
}


def write(folder: Path, changed: Mapping[str, str | None] | None = None) -> Path:
    """A folder with all sample files; `changed` replaces files by name, None leaves one out."""
    for name, text in {**FILES, **(changed or {})}.items():
        if text is not None:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return folder


def line_of(text: str, part: str) -> int:
    """The line on which `part` stands first."""
    return text[: text.index(part)].count("\n") + 1


def found_in(folder: Path, file: str) -> list[Problem]:
    """What the check says of one file."""
    return [problem for problem in check_folder(folder) if problem.file == file]
