"""What a model alone cannot see: languages, placeholders, phase order, SMS length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pydantic import BaseModel

from incident_center.playbooks.models import (
    PHASES,
    CorrectionScript,
    HoldingScript,
    Phrase,
    Playbook,
    Questions,
    Words,
)
from incident_center.playbooks.parts import PlaceholderError, parse, slots
from incident_center.playbooks.placeholders import PLACEHOLDERS, long_samples
from incident_center.playbooks.rules import (
    TextRules,
    correction_rules,
    estimate_in,
    holding_rules,
    phase_rules,
    word_problems,
)
from incident_center.playbooks.yamlfile import Document, Path, Problem

Script = Playbook | HoldingScript | CorrectionScript

REQUIRED_LANGUAGES = ("en", "de")
# Texts that are not shown as they stand: names, and words whose placeholders are checked on their own.
_NOT_PLAIN = {"key", "kind", "impact", "components", "phase", "component_status", "say"}


class _Group(NamedTuple):
    """The words of one update in all languages: where they stand in the file and what binds them."""

    path: Path
    words: Mapping[str, Words]
    rules: TextRules
    basis: bool = False  # the lead confirms something before these words go out


def file_path(path: Path) -> Path:
    """A model's path as the file has it: a phase's `words` and a question's `text` are not written there."""
    return path[:2] + path[3:] if is_hidden(path[:3]) else path


def is_hidden(path: Path) -> bool:
    """Whether `path` is a level that models have and files do not."""
    return len(path) == 3 and (path[0], path[2]) in {("phases", "words"), ("ask", "text")}


def check_file(item: Script | Phrase, document: Document) -> None:
    """Add to `document` what is wrong with the content of one file whose form is right."""
    _check_languages(item, document)
    _check_plain_texts(item, document)
    if isinstance(item, Phrase):
        _check_phrase(item, document)
        return
    if isinstance(item, Playbook):
        _check_phases(item, document)
        _check_confirmations(item, document)
    _check_words(item, document)
    if not isinstance(item, HoldingScript):
        _check_questions(item, document)


def check_together(scripts: Mapping[str, Script], documents: Mapping[str, Document]) -> list[Problem]:
    """Holding and correction speak every language of every playbook: they follow any of them."""
    found: list[Problem] = []
    spoken = {language: key for key, script in scripts.items() for language in script.languages}
    for key in ("holding", "correction"):
        script = scripts.get(key)
        for language, other in spoken.items() if script else ():
            if script and language not in script.languages:
                document = documents[key]
                message = f"the language {language} is missing; {other}.yaml carries it"
                found.append(Problem(document.file, document.line((key,)), message))
    return found


def _walk(value: object, path: Path) -> Iterator[tuple[Path, object]]:
    """Every map and every text below `value` with its path in the file."""
    if isinstance(value, Words):
        return
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _walk(getattr(value, name), (*path, name))
    elif isinstance(value, dict):
        yield file_path(path), value
        for key, inner in value.items():
            yield from _walk(inner, (*path, key))
    elif isinstance(value, tuple):
        for index, inner in enumerate(value):
            yield from _walk(inner, (*path, index))
    elif isinstance(value, str):
        yield file_path(path), value


def _check_languages(item: Script | Phrase, document: Document) -> None:
    carried = item.languages
    source: Path = ("holding",) if isinstance(item, HoldingScript) else ("title",)
    if isinstance(item, CorrectionScript):
        source = ("correction",)
    for language in REQUIRED_LANGUAGES:
        if language not in carried:
            document.problem(
                source, f"the language {language} is missing; every file carries at least en and de"
            )
    for path, value in _walk(item, ()):
        # Every map but `ask` itself is a map of languages; one that may be left out is then empty.
        if (
            not isinstance(value, dict)
            or path in {("ask",), source}
            or (not value and _may_be_empty(item, path))
        ):
            continue
        for language in carried:
            if language not in value:
                document.problem(path, f"the language {language} is missing here")
        for language in value:
            if language not in carried:
                message = f"the language {language} stands here, but not in {source[0]}"
                document.problem((*path, language), message)


def _may_be_empty(item: Script | Phrase, path: Path) -> bool:
    needed = isinstance(item, Playbook | Phrase)
    return path[-1] in {"confirm", "never_say", "avoid"} or (not needed and path[0] in {"title", "use_when"})


def _check_plain_texts(item: Script | Phrase, document: Document) -> None:
    for path, value in _walk(item, ()):
        if isinstance(value, str) and _NOT_PLAIN.isdisjoint(path) and ("{" in value or "}" in value):
            document.problem(
                path, "a brace in a text that is shown as it stands; placeholders are not filled here"
            )


def _check_phrase(phrase: Phrase, document: Document) -> None:
    for language, variants in phrase.say.items():
        for index, text in enumerate(variants):
            try:
                parse(text, PLACEHOLDERS)
            except PlaceholderError as error:
                document.problem(("say", language, index), str(error))


def _check_phases(playbook: Playbook, document: Document) -> None:
    last = -1
    for index, script in enumerate(playbook.phases):
        place = PHASES.index(script.phase)
        if place == last:
            document.problem(
                ("phases", index, "phase"), f"the phase {script.phase} stands here a second time"
            )
        elif place < last:
            document.problem(("phases", index, "phase"), f"phases stand in this order: {', '.join(PHASES)}")
        last = max(place, last)
        minutes = script.next_update_minutes
        where: Path = ("phases", index, "next_update_minutes")
        if script.phase == "resolved" and minutes is not None:
            document.problem(where, "resolved makes no promise; remove next_update_minutes")
        if script.phase != "resolved" and minutes is None:
            document.problem(
                where, f"next_update_minutes is missing; {script.phase} promises the next update"
            )
    if all(script.phase != "resolved" for script in playbook.phases):
        document.problem(("phases",), "the phase resolved is missing; every outage ends")
    for index, key in enumerate(playbook.components):
        if key in playbook.components[:index]:
            document.problem(("components", index), f"the component {key} stands here a second time")


def _check_confirmations(playbook: Playbook, document: Document) -> None:
    """One tick stands for the same sentence in each language, so each language has as many."""
    for index, script in enumerate(playbook.phases):
        counts = {language: len(sentences) for language, sentences in script.confirm.items()}
        if len(set(counts.values())) > 1:
            shown = ", ".join(f"{language}: {count}" for language, count in counts.items())
            document.problem(
                ("phases", index, "confirm"), f"confirm needs as many entries in each language ({shown})"
            )


def _groups(script: Script) -> Iterator[_Group]:
    if isinstance(script, CorrectionScript):
        yield _Group(("correction",), script.correction, correction_rules(script.ask))
        return
    answers = script.ask if isinstance(script, Playbook) else {}
    for index, phase in enumerate(script.phases if isinstance(script, Playbook) else ()):
        yield _Group(
            ("phases", index), phase.words, phase_rules(phase.phase, answers), any(phase.confirm.values())
        )
    for name, words in (("holding", script.holding), ("holding_again", script.holding_again)):
        if words is not None:
            yield _Group((name,), words, holding_rules(answers))


def _questions(script: Script) -> Questions:
    return {} if isinstance(script, HoldingScript) else script.ask


def samples_for(script: Script, language: str) -> dict[str, str]:
    """A long value for every placeholder that the script's words may carry."""
    questions = _questions(script)
    own = {name: question.sample.get(language, name) for name, question in questions.items()}
    return own | long_samples(language)


def _check_words(script: Script, document: Document) -> None:
    for group in _groups(script):
        for language, words in group.words.items():
            samples = samples_for(script, language)
            for field, message in word_problems(words, language=language, rules=group.rules, samples=samples):
                document.problem((*group.path, language, *_field_path(field)), message)
            if not group.basis:
                _check_estimates(words, language, (*group.path, language), document)


def _check_estimates(words: Words, language: str, path: Path, document: Document) -> None:
    """No time of repair without a stated basis (DESIGN §5): the time of the next news is the one we can keep."""
    for field, text in words.texts():
        if (estimate := estimate_in(text, language)) is not None:
            document.problem(
                (*path, *_field_path(field)),
                f"“{estimate}” promises a time; say it only in a phase whose `confirm` list asks for its basis",
            )


def _field_path(field: str) -> Path:
    name, _, index = field.partition(".")
    return (name, int(index)) if index else (name,)


def _check_questions(script: Playbook | CorrectionScript, document: Document) -> None:
    used: dict[str, set[str]] = {}
    for group in _groups(script):
        for language, words in group.words.items():
            used.setdefault(language, set()).update(_carried(words, group.rules))
    for name in script.ask:
        if name in PLACEHOLDERS:
            document.problem(
                ("ask", name), f"{{{name}}} is filled by the product itself; choose another name"
            )
        for language, names in used.items():
            if name not in names:
                document.problem(("ask", name), f"{{{name}}} is asked for, but no {language} text carries it")


def _carried(words: Words, rules: TextRules) -> Iterator[str]:
    for _, text in words.texts():
        try:
            yield from slots(parse(text, rules.allowed))
        except PlaceholderError:
            continue  # told where the words themselves are checked
