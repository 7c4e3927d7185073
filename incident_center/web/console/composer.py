"""What stands in the composer, as typed: from script, draft or browser; to a draft, to a publication."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from werkzeug.datastructures import MultiDict

from incident_center.errors import Flaw, Refused
from incident_center.incidents.inputs import DraftInput, Publication
from incident_center.incidents.rules import ENDING
from incident_center.models import Component, Draft
from incident_center.playbooks import Words, words_problems
from incident_center.playbooks.locales import language_name
from incident_center.states import ComponentStatus, Phase, UpdateKind
from incident_center.web.local_times import read_next_update
from incident_center.web.numbers import row_number, row_numbers
from incident_center.web.say import label

LISTS = ("known", "unknown", "doing", "you_can")
FIELDS = ("subject", *LISTS, "sms", "phone")
MINUTES = (15, 30, 60, 120)
_BOTH = "You chose minutes and typed a time. Choose “at …” for the time, or empty it."


@dataclass
class ComposerForm:
    """words: language -> field -> text as typed, one sentence a line in the four facts.

    next_update: "30" (minutes) or "at", then next_at holds "15:30" and fold which of two such times is meant.
    status: component key -> status, "" leaves it as it is.
    """

    phase: Phase
    words: dict[str, dict[str, str]]
    kind: UpdateKind = UpdateKind.UPDATE
    corrects: int | None = None
    answers: dict[str, dict[str, str]] = field(default_factory=dict)
    confirmed: set[int] = field(default_factory=set)
    status: dict[str, str] = field(default_factory=dict)
    next_update: str = ""
    next_at: str = ""
    fold: str = ""
    seen_version: int = 0
    draft_id: int | None = None
    draft_version: int | None = None
    goes_on_from: int | None = None  # number of the update whose words these are, before anything is typed

    @property
    def ends(self) -> bool:
        return self.phase in ENDING

    @property
    def next_text(self) -> str:
        return self.next_at if self.next_update == "at" else self.next_update


def typed_words(words: Mapping[str, Any]) -> dict[str, str]:
    """Words (or a draft's raw words) as the text areas show them."""
    typed = {}
    for name in FIELDS:
        value = words.get(name) or ""
        typed[name] = value if isinstance(value, str) else "\n".join(str(line) for line in value)
    return typed


def from_words(phase: Phase, words: Mapping[str, Words], languages: Iterable[str]) -> ComposerForm:
    empty: dict[str, Any] = {}
    return ComposerForm(
        phase=phase,
        words={
            lang: typed_words(words[lang].model_dump(mode="json") if lang in words else empty)
            for lang in languages
        },
    )


def from_draft(draft: Draft, languages: Iterable[str]) -> ComposerForm:
    at = ":" in draft.next_update
    return ComposerForm(
        phase=draft.phase,
        words={lang: typed_words(draft.words.get(lang) or {}) for lang in languages},
        kind=draft.kind,
        corrects=draft.corrects_update_id,
        answers={name: dict(texts) for name, texts in draft.answers.items()},
        confirmed=set(draft.confirmed),
        status=dict(draft.component_status),
        next_update="at" if at else draft.next_update,
        next_at=draft.next_update if at else "",
        draft_id=draft.id,
        draft_version=draft.version,
    )


def from_browser(
    typed: MultiDict[str, str], *, languages: Iterable[str], asked: Iterable[str], keys: Iterable[str]
) -> ComposerForm:
    """Raises Refused when the hidden fields do not make sense; what people type is taken as it is."""
    languages = list(languages)
    try:
        phase = Phase(typed.get("phase", ""))
        kind = UpdateKind(typed.get("kind", UpdateKind.UPDATE))
    except ValueError as error:
        raise Refused(Flaw("phase", "unknown", "Choose a phase.")) from error
    if kind is UpdateKind.HOLDING:
        raise Refused(Flaw("kind", "unknown", "Holding updates are published by the promise keeper."))
    return ComposerForm(
        phase=phase,
        kind=kind,
        words={
            lang: {name: typed.get(f"words.{lang}.{name}", "").replace("\r\n", "\n") for name in FIELDS}
            for lang in languages
        },
        corrects=typed.get("corrects", type=row_number),
        answers={
            name: {lang: typed.get(f"answers.{name}.{lang}", "") for lang in languages} for name in asked
        },
        confirmed=row_numbers(typed.getlist("confirmed")),
        status={key: value for key in keys if (value := typed.get(f"status.{key}", ""))},
        next_update=typed.get("next_update", "")[:8],
        next_at=typed.get("next_at", "")[:8],
        fold=typed.get("fold", ""),
        seen_version=typed.get("seen_version", 0, type=row_number),
        draft_id=typed.get("draft_id", type=row_number),
        draft_version=typed.get("draft_version", type=row_number),
    )


def to_draft(form: ComposerForm) -> DraftInput:
    return DraftInput(
        phase=form.phase,
        kind=form.kind,
        words={lang: _raw(words) for lang, words in form.words.items()},
        answers=form.answers,
        confirmed=tuple(sorted(form.confirmed)),
        component_status=form.status,
        next_update=form.next_text,
        corrects_update_id=form.corrects,
    )


def to_publication(
    form: ComposerForm, *, components: Iterable[Component], zone: str, now: datetime
) -> tuple[Publication, list[Flaw]]:
    """What can be understood of the form, and what cannot. Languages that cannot be read are left out."""
    words, flaws = read_words(form.words)
    next_update_by = None
    if not form.ends:
        if form.next_at and form.next_update not in {"", "at"}:
            flaws.append(Flaw("next_update_by", "both", _BOTH))
        try:
            next_update_by = read_next_update(form.next_text, zone=zone, fold=form.fold, now=now)
        except Refused as refused:
            flaws += refused.flaws
    status: dict[int, ComponentStatus] = {}
    for component in components:
        wanted = form.status.get(component.key, "")
        if wanted and wanted not in set(ComponentStatus):
            flaws.append(Flaw(f"status.{component.key}", "unknown", "Choose one of the statuses."))
        elif wanted:
            status[component.id] = ComponentStatus(wanted)
    publication = Publication(
        phase=form.phase,
        words=words,
        next_update_by=next_update_by,
        confirmed=frozenset(form.confirmed),
        component_status=status,
        kind=form.kind,
        corrects_update_id=form.corrects,
        answers=form.answers,
        seen_version=form.seen_version,
        draft_id=form.draft_id,
        draft_version=form.draft_version,
    )
    return publication, flaws


def read_words(typed: Mapping[str, Mapping[str, str]]) -> tuple[dict[str, Words], list[Flaw]]:
    words: dict[str, Words] = {}
    flaws: list[Flaw] = []
    for language, texts in typed.items():
        missing = [name for name in FIELDS if name != "unknown" and not texts.get(name, "").strip()]
        if missing:
            flaws += [_missing(language, name) for name in missing]
            continue
        try:
            words[language] = Words.model_validate(_raw(texts), strict=False)
        except ValidationError as error:
            flaws += [
                Flaw(f"words.{language}.{path}", "invalid", f"{language_name(language)}: {message}.")
                for path, message in words_problems(error)
            ]
    return words, flaws


def refuse(flaws: Iterable[Flaw]) -> None:
    """Raises Refused when there are any."""
    if found := tuple(flaws):
        raise Refused(*found)


def _missing(language: str, name: str) -> Flaw:
    message = f"{language_name(language)}: “{label(name)}” is empty."
    return Flaw(f"words.{language}.{name}", "missing", message)


def _raw(texts: Mapping[str, str]) -> dict[str, Any]:
    """A sentence a line; blank lines are layout."""
    return {
        name: [line.strip() for line in texts.get(name, "").split("\n") if line.strip()]
        if name in LISTS
        else texts.get(name, "").strip()
        for name in FIELDS
    }
