"""Read a folder of playbooks into a `Library`, or say everything that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from incident_center.playbooks.checks import Script, check_file, check_together, file_path, is_hidden
from incident_center.playbooks.explain import explain
from incident_center.playbooks.models import (
    LANGUAGE_PATTERN,
    CorrectionScript,
    HoldingScript,
    Phrase,
    Playbook,
    Words,
)
from incident_center.playbooks.yamlfile import ContentErrors, Document, Problem, read_document

_KINDS: dict[str, type[Script]] = {
    "incident": Playbook,
    "holding": HoldingScript,
    "correction": CorrectionScript,
}
_INSTEAD = {
    "key": "the file's name is the key",
    "words": "the languages stand beside phase",
    "text": "the languages stand beside sample",
}
_KEY = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_LANGUAGE = re.compile(LANGUAGE_PATTERN)


class PlaybookErrors(ContentErrors):
    """A folder of playbooks that may not be used; `problems` says why."""


@dataclass(frozen=True)
class Library:
    """All playbooks of a folder. `languages` are those that every script carries, in `holding`'s order."""

    playbooks: dict[str, Playbook]
    holding: HoldingScript
    correction: CorrectionScript
    phrases: dict[str, Phrase]
    languages: tuple[str, ...]

    def holding_words(self, playbook_key: str | None, streak: int) -> Mapping[str, Words]:
        """The words of a holding update by language; `streak` 1 is the first in a row.

        A playbook that is unknown, gone or silent falls back to `holding.yaml`, so this never fails.
        """
        playbook = self.playbooks.get(playbook_key or "")
        own = _held(playbook, streak) if playbook else None
        return own or _held(self.holding, streak) or self.holding.holding


def _held(script: Playbook | HoldingScript, streak: int) -> Mapping[str, Words] | None:
    return (script.holding_again if streak > 1 else None) or script.holding


@dataclass
class _Shelf:
    """What has been read so far; each file with its document, so that a problem has its line."""

    playbooks: dict[str, Playbook] = field(default_factory=dict)
    holding: HoldingScript | None = None
    correction: CorrectionScript | None = None
    phrases: dict[str, Phrase] = field(default_factory=dict)
    documents: dict[str, Document] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def load_library(folder: Path) -> Library:
    """The library in `folder`. Raises PlaybookErrors with every problem of every file."""
    shelf = _read_folder(folder)
    if shelf.problems or shelf.holding is None or shelf.correction is None:
        raise PlaybookErrors(shelf.problems)
    carriers: list[Script] = [shelf.holding, shelf.correction, *shelf.playbooks.values()]
    languages = tuple(
        language
        for language in shelf.holding.languages
        if all(language in each.languages for each in carriers)
    )
    return Library(shelf.playbooks, shelf.holding, shelf.correction, shelf.phrases, languages)


def check_folder(folder: Path) -> list[Problem]:
    """Everything that is wrong in `folder`, by file and line; [] when `load_library` would read it."""
    return _read_folder(folder).problems


def _read_folder(folder: Path) -> _Shelf:
    shelf = _Shelf()
    if not folder.is_dir():
        shelf.problems.append(Problem(folder.name, 1, "there is no such folder of playbooks"))
        return shelf
    for path in sorted(folder.iterdir()):
        _read_file(path, path.name, shelf, is_phrase=False)
    phrases = folder / "phrases"
    for path in sorted(phrases.iterdir()) if phrases.is_dir() else ():
        _read_file(path, f"phrases/{path.name}", shelf, is_phrase=True)
    _check_shelf(shelf)
    shelf.problems.sort()
    return shelf


def _read_file(path: Path, name: str, shelf: _Shelf, *, is_phrase: bool) -> None:
    if path.suffix == ".yml":
        shelf.problems.append(Problem(name, 1, "files here end in .yaml; rename it"))
    if path.suffix != ".yaml" or not path.is_file():
        return
    document = read_document(path, file=name)
    if not _KEY.fullmatch(path.stem):
        document.problem((), "a file's name is its key: small letters, digits and single hyphens")
    if not document.problems:
        _keep(document, path.stem, shelf, is_phrase=is_phrase)
    shelf.problems += document.problems


def _keep(document: Document, key: str, shelf: _Shelf, *, is_phrase: bool) -> None:
    """Put what the file holds on the shelf, or its problems into the document."""
    item = _validated(document, key, is_phrase=is_phrase)
    if item is None:
        return
    check_file(item, document)
    if not isinstance(item, Phrase):
        shelf.documents[key] = document
    if isinstance(item, Playbook):
        shelf.playbooks[key] = item
    elif isinstance(item, HoldingScript):
        shelf.holding = item
    elif isinstance(item, CorrectionScript):
        shelf.correction = item
    else:
        shelf.phrases[key] = item


def _validated(document: Document, key: str, *, is_phrase: bool) -> Script | Phrase | None:
    data = document.data
    if not isinstance(data, dict):
        document.problem((), "the file must be a map of keys")
        return None
    model: type[Script | Phrase] | None = Phrase if is_phrase else _model_for(document, data, key)
    if model is None:
        return None
    extra = [path for path in document.lines if path == ("key",) or is_hidden(path)]
    if extra:
        for path in extra:
            document.problem(path, f"unknown key “{path[-1]}”; {_INSTEAD[str(path[-1])]}")
        return None
    named = {"key": key} if model in {Playbook, Phrase} else {}
    try:
        return model.model_validate(_reshaped(data) | named)
    except ValidationError as error:
        for path, message in explain(error, model):
            document.problem(file_path(path), message)
        return None


def _model_for(document: Document, data: dict[str, object], key: str) -> type[Script] | None:
    kind = data.get("kind", "incident")
    model = _KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        document.problem(("kind",), f"kind must be one of {', '.join(_KINDS)}, not “{kind}”")
        return None
    fitting = key if key in {"holding", "correction"} else "incident"
    if kind != fitting:
        document.problem(("kind",), f"a file called {key}.yaml must be of kind {fitting}, not {kind}")
        return None
    return model


def _reshaped(data: dict[str, object]) -> dict[str, object]:
    """The file's data as the models have it: a phase's languages under `words`, a question's under `text`."""
    shaped = dict(data)
    phases = data.get("phases")
    if isinstance(phases, list):
        shaped["phases"] = [_gathered(phase, "words") for phase in phases]
    ask = data.get("ask")
    if isinstance(ask, dict):
        shaped["ask"] = {name: _gathered(question, "text") for name, question in ask.items()}
    return shaped


def _gathered(entry: object, name: str) -> object:
    if not isinstance(entry, dict):
        return entry
    languages = {
        key: value
        for key, value in entry.items()
        if _LANGUAGE.fullmatch(key) and key not in Words.model_fields  # "sms" looks like a language
    }
    rest = {key: value for key, value in entry.items() if key not in languages}
    return rest | {name: languages}


def _check_shelf(shelf: _Shelf) -> None:
    broken = {problem.file for problem in shelf.problems}
    for name, script in (("holding.yaml", shelf.holding), ("correction.yaml", shelf.correction)):
        if script is None and name not in broken:
            shelf.problems.append(Problem(name, 1, "the file is missing; every installation needs it"))
    if not shelf.playbooks and not broken:
        shelf.problems.append(Problem(".", 1, "there is no playbook in this folder"))
    always = {"holding": shelf.holding, "correction": shelf.correction}
    scripts = {key: script for key, script in always.items() if script is not None}
    shelf.problems += check_together({**shelf.playbooks, **scripts}, shelf.documents)
