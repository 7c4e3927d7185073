"""From a playbook to the words of one incident: which script, which placeholders, what is wrong with the words."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from incident_center.errors import Flaw
from incident_center.house import House
from incident_center.incidents.inputs import Answers, Publication
from incident_center.models import Incident
from incident_center.playbooks import (
    EARLY,
    LATE,
    PhaseScript,
    PlaceholderError,
    Playbook,
    Words,
    long_samples,
    parse,
    script_changes,
    slots,
    sms_preview,
)
from incident_center.states import Phase, UpdateKind

SMS_SEGMENTS_MAX = (
    3  # three parts still arrive as one text on every phone we know of; more reads like a letter
)
ANSWER_MAX = 300


def playbook_of(house: House, incident: Incident) -> Playbook | None:
    """None when the file has been removed since: the incident goes on, its words are written by hand."""
    return house.library.playbooks.get(incident.playbook)


def phase_script(house: House, incident: Incident, phase: Phase) -> PhaseScript | None:
    playbook = playbook_of(house, incident)
    if playbook is None:
        return None
    try:
        return playbook.phase(phase.value)
    except KeyError:
        return None


def script_for(house: House, incident: Incident, phase: Phase) -> dict[str, Words]:
    """The phase's scripted words, language by language; empty when the playbook has none."""
    script = phase_script(house, incident, phase)
    return dict(script.words) if script else {}


def correction_script(house: House) -> dict[str, Words]:
    return dict(house.library.correction.correction)


def base_script(house: House, incident: Incident, publication: Publication) -> dict[str, Words]:
    """What the lead's words are compared with."""
    if publication.kind is UpdateKind.CORRECTION:
        return correction_script(house)
    if publication.kind is UpdateKind.HOLDING:
        return dict(publication.words)
    return script_for(house, incident, publication.phase)


def changes_against_script(
    script: Mapping[str, Words], words: Mapping[str, Words]
) -> dict[str, list[dict[str, Any]]]:
    """language -> [{field, before, after}], only where something differs."""
    changed: dict[str, list[dict[str, Any]]] = {}
    for language, edited in words.items():
        if language not in script:
            continue
        rows = script_changes(script[language], edited)
        if rows:
            changed[language] = [row._asdict() for row in rows]
    return changed


def allowed_names(answers: Iterable[str]) -> frozenset[str]:
    return frozenset(EARLY | LATE | set(answers))


def early_values(
    house: House, incident: Incident, language: str, extra_answers: Answers | None = None
) -> dict[str, str]:
    """Values that are the same for every reader of one language, filled when the update is published."""
    values = {
        "company": house.company,
        "incident_ref": incident.ref,
        "status_url": house.incident_url(incident.id),
    }
    for answers in (incident.answers, extra_answers or {}):
        for name, by_language in answers.items():
            if language in by_language:
                values[name] = by_language[language]
    return values


def words_flaws(
    words: Mapping[str, Words],
    *,
    languages: Iterable[str],
    allowed: frozenset[str],
    values: Mapping[str, Mapping[str, str]],
    next_update: bool,
) -> Iterator[Flaw]:
    """What is wrong with an update's words: languages missing, placeholders unknown or without a value, SMS too long.

    values: language -> early values. next_update: whether the update makes a promise that {next_update_by} can name.
    """
    for language in languages:
        if language not in words:
            yield Flaw(f"words.{language}", "missing", f"The words in '{language}' are missing.")
            continue
        known = allowed if next_update else allowed - {"next_update_by"}
        for path, text in words[language].texts():
            yield from _text_flaws(f"words.{language}.{path}", text, known, values[language])


def _text_flaws(field: str, text: str, allowed: frozenset[str], values: Mapping[str, str]) -> Iterator[Flaw]:
    try:
        parts = parse(text, allowed)
    except PlaceholderError as error:
        yield Flaw(field, "placeholder", str(error))
        return
    except ValueError as error:
        yield Flaw(field, "characters", str(error))
        return
    left = slots(parts) - LATE - set(values)
    for name in sorted(left):
        yield Flaw(
            field, "unanswered", f"{{{name}}} has no answer in this language. Answer it, or take it out."
        )
    if field.endswith(".sms") and not left:
        yield from _sms_flaws(field, text, values)


def _sms_flaws(field: str, text: str, values: Mapping[str, str]) -> Iterator[Flaw]:
    """Counted with long samples in the late slots: no reader's zone makes it longer."""
    language = field.split(".")[1]
    _, count = sms_preview(text, {**long_samples(language), **values})
    if count.segments > SMS_SEGMENTS_MAX:
        yield Flaw(
            field,
            "too_long",
            f"This SMS has {count.segments} segments; at most {SMS_SEGMENTS_MAX}. Shorten it.",
        )


def answer_flaws(asked: Iterable[str], answers: Answers, languages: Iterable[str]) -> Iterator[Flaw]:
    """Each question is answered once per language, in a line that can stand inside a sentence."""
    asked = list(asked)
    for name in answers:
        if name not in asked:
            yield Flaw(f"answers.{name}", "unknown", f"The playbook asks no '{name}'. Leave it out.")
    for name in asked:
        for language in languages:
            text = answers.get(name, {}).get(language, "").strip()
            field = f"answers.{name}.{language}"
            if not text:
                yield Flaw(field, "missing", "Please answer this question; the words of the update need it.")
            elif len(text) > ANSWER_MAX:
                yield Flaw(
                    field, "too_long", f"At most {ANSWER_MAX} characters; it stands inside a sentence."
                )
            elif not text.isprintable():
                yield Flaw(
                    field, "characters", "Write it in one line, without line breaks or control characters."
                )


def time_slots(
    incident: Incident, *, next_update_by: datetime | None, last_update_at: datetime | None
) -> dict[str, datetime]:
    """The instants behind the late time slots."""
    slots = {"started_at": incident.started_at, "last_update_at": last_update_at or incident.started_at}
    if next_update_by is not None:
        slots["next_update_by"] = next_update_by
    return slots
