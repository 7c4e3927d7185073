"""Which placeholders the words of an update may and must carry, and how long its SMS may be.

Used when a file is checked and again when a lead's edited words are published.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from incident_center.playbooks.locales import speech
from incident_center.playbooks.models import Words
from incident_center.playbooks.parts import PlaceholderError, parse, render, slots
from incident_center.playbooks.placeholders import PLACEHOLDERS
from incident_center.playbooks.sms import SmsCount, count_sms, normalise_sms


class TextProblem(NamedTuple):
    """What is wrong with one field of `Words` ("sms", "known.0")."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class TextRules:
    """Names that may stand in every text, and names that the SMS and the phone words must carry."""

    allowed: frozenset[str]
    sms_needs: frozenset[str]
    phone_needs: frozenset[str]


_PROMISE = frozenset({"next_update_by"})
_LINK = frozenset({"status_url"})
_ALL = frozenset(PLACEHOLDERS)


def phase_rules(phase: str, answers: Collection[str] = ()) -> TextRules:
    """Rules for a phase; `answers` are the names in the playbook's `ask`. Resolved makes no promise."""
    allowed = (_ALL - {"last_update_at"}) | set(answers)
    if phase == "resolved":
        return TextRules(allowed - _PROMISE, _LINK, frozenset())
    return TextRules(allowed, _LINK | _PROMISE, _PROMISE)


def holding_rules(answers: Collection[str] = ()) -> TextRules:
    """Rules for a holding update: it always makes a new promise and may name the update before it."""
    return TextRules(_ALL | set(answers), _LINK | _PROMISE, _PROMISE)


def correction_rules(answers: Collection[str] = ()) -> TextRules:
    """Rules for a correction: it may follow the end of an incident, so a promise is possible, not needed."""
    return TextRules(_ALL | set(answers), _LINK, frozenset())


def sms_limit(language: str) -> int:
    """Segments that an SMS may take: English says it in one, other languages in two."""
    return 1 if language.partition("-")[0] == "en" else 2


def sms_preview(sms: str, samples: Mapping[str, str]) -> tuple[str, SmsCount]:
    """The SMS as it would be sent with these values, and what it costs.

    Raises PlaceholderError for a name that has no value in `samples`.
    """
    text = normalise_sms(render(parse(sms, samples.keys()), samples))
    return text, count_sms(text)


def estimate_in(text: str, language: str) -> str | None:
    """Words in `text` that promise a time of repair ("within two hours"), as far as `locale.yaml` knows them."""
    found = next(filter(None, (pattern.search(text) for pattern in speech(language).estimates)), None)
    return found.group(0) if found else None


def word_problems(
    words: Words, *, language: str, rules: TextRules, samples: Mapping[str, str]
) -> list[TextProblem]:
    """Everything that keeps these words from being published. `samples` has a value for each allowed name."""
    found: list[TextProblem] = []
    carried: dict[str, set[str]] = {}
    for field, text in words.texts():
        try:
            carried[field] = slots(parse(text, rules.allowed))
        except PlaceholderError as error:
            found.append(TextProblem(field, str(error)))
    for field, needs in (("sms", rules.sms_needs), ("phone", rules.phone_needs)):
        missing = sorted(needs - carried[field]) if field in carried else []
        found += [
            TextProblem(field, f"{{{name}}} is missing; the {field} text must carry it") for name in missing
        ]
    if "sms" in carried:
        found += _sms_problems(words.sms, language, samples)
    return found


def _sms_problems(sms: str, language: str, samples: Mapping[str, str]) -> list[TextProblem]:
    text, count = sms_preview(sms, samples)
    limit = sms_limit(language)
    if count.segments <= limit:
        return []
    message = (
        f"the SMS takes {count.segments} segments with long values ({count.units} units), {limit} at most;"
        f" shorten it: “{text}”"
    )
    if count.odd:
        message += f"; these characters make it longer: {' '.join(count.odd)}"
    return [TextProblem("sms", message)]
