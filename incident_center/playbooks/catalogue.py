"""Word catalogues: `<language>/<room>.yaml`, nested maps of texts with `{name}` values.

Strict: every language has the same rooms, keys and placeholders, or the catalogue does not load.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from incident_center.playbooks.models import LANGUAGE_PATTERN
from incident_center.playbooks.parts import (
    NAME,
    Parts,
    PlaceholderError,
    Slot,
    name_character,
    odd_character,
    parse,
    slots,
)
from incident_center.playbooks.yamlfile import ContentErrors, Document, Problem, read_document
from incident_center.playbooks.yamlfile import Path as KeyPath

FALLBACK = "en"
_LANGUAGE = re.compile(LANGUAGE_PATTERN)
_KEY = re.compile(r"[a-z0-9][a-z0-9_]*")
_NAMES = re.compile(r"\{(" + NAME.pattern + r")\}")


class CatalogueErrors(ContentErrors):
    """Word catalogues that may not be used; `problems` says why."""


@dataclass(frozen=True)
class Catalogue:
    """Words by language and key; a key is room and path joined by dots: "public.title"."""

    words: dict[str, dict[str, Parts]]

    @property
    def languages(self) -> tuple[str, ...]:
        """All languages, the fallback first."""
        return tuple(sorted(self.words, key=lambda language: (language != FALLBACK, language)))

    def parts(self, language: str, key: str) -> Parts:
        """The unfilled words; an unknown language falls back to "en". Raises KeyError for an unknown key."""
        words = self.words.get(language) or self.words.get(language.partition("-")[0]) or self.words[FALLBACK]
        try:
            return words[key]
        except KeyError:
            raise KeyError(f"the word catalogue has no “{key}”") from None

    def say(self, language: str, key: str, **values: object) -> str:
        """The words with their values. Raises KeyError naming an unknown key or a missing value.

        Values go in as they are, once; a value that the words do not use is no fault.
        """
        said = []
        for part in self.parts(language, key):
            if isinstance(part, Slot) and part.name not in values:
                raise KeyError(f"“{key}” needs a value for {{{part.name}}}")
            said.append(str(values[part.name]) if isinstance(part, Slot) else part)
        return "".join(said)


@dataclass
class _Room:
    """One file of one language: its words and where each key stands."""

    document: Document
    words: dict[str, Parts]
    paths: dict[str, KeyPath]


_Rooms = dict[str, dict[str, _Room]]  # language → room → what stands in it


def load_catalogue(folder: Path) -> Catalogue:
    """The catalogue in `folder`, from whichever room files exist. Raises CatalogueErrors."""
    rooms, problems = _read(folder)
    if problems:
        raise CatalogueErrors(problems)
    return Catalogue(
        {
            language: {
                f"{name}.{key}": parts for name, room in by_name.items() for key, parts in room.words.items()
            }
            for language, by_name in rooms.items()
        }
    )


def check_catalogue(folder: Path) -> list[Problem]:
    """Everything that is wrong in `folder`, by file and line; [] when `load_catalogue` would read it."""
    return _read(folder)[1]


def _read(folder: Path) -> tuple[_Rooms, list[Problem]]:
    rooms: _Rooms = {}
    for home in sorted(folder.iterdir()) if folder.is_dir() else ():
        if home.is_dir() and _LANGUAGE.fullmatch(home.name):
            files = sorted(home.glob("*.yaml"))
            rooms[home.name] = {path.stem: _room(path, f"{home.name}/{path.name}") for path in files}
    problems = [
        problem
        for by_name in rooms.values()
        for room in by_name.values()
        for problem in room.document.problems
    ]
    if FALLBACK not in rooms:
        problems.append(
            Problem(FALLBACK, 1, "there is no folder en; it is what other languages fall back to")
        )
    elif not problems:
        for language in rooms.keys() - {FALLBACK}:
            problems += _differences(rooms[FALLBACK], language, rooms[language])
    return rooms, sorted(problems)


def _room(path: Path, file: str) -> _Room:
    room = _Room(read_document(path, file=file), {}, {})
    if not room.document.problems:
        if isinstance(room.document.data, dict):
            _collect(room.document.data, (), room)
        else:
            room.document.problem((), "the file must be a map of keys")
    return room


def _collect(data: dict[str, object], path: KeyPath, room: _Room) -> None:
    for key, value in data.items():
        here = (*path, key)
        if not _KEY.fullmatch(key):
            room.document.problem(here, f"the key “{key}” must be small letters, digits and underscores")
        elif isinstance(value, dict) and value:
            _collect(value, here, room)
        elif isinstance(value, str):
            _keep(value, here, room)
        else:
            room.document.problem(here, f"“{key}” must be a text or a map with texts")


def _keep(text: str, path: KeyPath, room: _Room) -> None:
    key = ".".join(str(part) for part in path)
    stripped = text.strip()
    odd = odd_character(stripped)
    if not stripped:
        room.document.problem(path, f"“{key}” is blank; write a text")
    elif odd is not None:
        room.document.problem(path, f"“{key}” holds the character {name_character(odd)}; remove it")
    else:
        try:
            room.words[key] = parse(stripped, set(_NAMES.findall(stripped)))
            room.paths[key] = path
        except PlaceholderError as error:
            room.document.problem(path, str(error))


def _differences(expected: dict[str, _Room], language: str, there: dict[str, _Room]) -> Iterator[Problem]:
    for name in sorted(expected.keys() - there.keys()):
        yield Problem(f"{language}/{name}.yaml", 1, f"the file is missing; {FALLBACK} has it")
    for name in sorted(there.keys() - expected.keys()):
        yield Problem(f"{FALLBACK}/{name}.yaml", 1, f"the file is missing; {language} has it")
    for name in sorted(expected.keys() & there.keys()):
        yield from _missing_keys(expected[name], there[name])
        yield from _missing_keys(there[name], expected[name])
        yield from _other_placeholders(expected[name], there[name])


def _missing_keys(full: _Room, lacking: _Room) -> Iterator[Problem]:
    for key in sorted(full.words.keys() - lacking.words.keys()):
        document = lacking.document
        origin = f"{full.document.file}:{full.document.line(full.paths[key])}"
        message = f"“{key}” is missing; {origin} has it"
        yield Problem(document.file, document.line(full.paths[key]), message)


def _other_placeholders(expected: _Room, there: _Room) -> Iterator[Problem]:
    for key in sorted(expected.words.keys() & there.words.keys()):
        wanted, found = slots(expected.words[key]), slots(there.words[key])
        if wanted != found:
            names = ", ".join(f"{{{name}}}" for name in sorted(wanted)) or "no placeholder"
            message = f"“{key}” must carry {names} as {expected.document.file} does"
            yield Problem(there.document.file, there.document.line(there.paths[key]), message)
