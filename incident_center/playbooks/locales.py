"""How each language says times, and the long sample values for length checks and previews (`locale.yaml`)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from importlib.resources import files

from babel import Locale, UnknownLocaleError
from pydantic import BaseModel, ConfigDict

from incident_center.playbooks.yamlfile import ContentErrors, parse_document


class _Entry(BaseModel):
    """One language of `locale.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    locale: str
    time: str
    zoned: str
    date: str
    date_with_year: str
    dated: str
    short_date: str
    short_dated: str
    zones: dict[str, str]
    names: dict[str, str] = {}
    estimates: list[str] = []
    samples: dict[str, str]


@dataclass(frozen=True, eq=False)
class Speech:
    """Patterns of one language; `zones` says which offset an abbreviation stands for."""

    locale: str
    time: str
    zoned: str
    date: str
    date_with_year: str
    dated: str
    short_date: str
    short_dated: str
    zones: dict[str, timedelta] = field(repr=False)
    names: dict[str, str] = field(repr=False)
    samples: dict[str, str] = field(repr=False)
    estimates: tuple[re.Pattern[str], ...] = field(repr=False)


@lru_cache(maxsize=1)
def _entries() -> dict[str, _Entry]:
    source = files("incident_center.playbooks").joinpath("locale.yaml")
    document = parse_document(source.read_text(encoding="utf-8"), file="locale.yaml")
    if document.problems or not isinstance(document.data, dict):
        raise ContentErrors(document.problems)
    return {language: _Entry.model_validate(entry) for language, entry in document.data.items()}


@lru_cache(maxsize=64)
def speech(language: str) -> Speech:
    """How `language` ("de", "de-AT") says times; CLDR's own patterns where `locale.yaml` is silent."""
    entries = _entries()
    entry = entries.get(language) or entries.get(language.partition("-")[0])
    if entry is None:
        return _from_cldr(language, entries["en"])
    return _speech(entry)


def _speech(entry: _Entry) -> Speech:
    zones = {name: _offset(text) for name, text in entry.zones.items()}
    estimates = tuple(re.compile(pattern, re.IGNORECASE) for pattern in entry.estimates)
    words = entry.model_dump(exclude={"zones", "estimates"})
    return Speech(zones=zones, estimates=estimates, **words)


def _from_cldr(language: str, english: _Entry) -> Speech:
    try:
        locale = Locale.parse(language, sep="-")
    except (UnknownLocaleError, ValueError):
        return _speech(english)
    full = str(locale.date_formats["full"].pattern)
    skeletons = locale.datetime_skeletons
    short = next((skeletons[name] for name in ("MMMMEEEEd", "MMMMEd", "MMMEd") if name in skeletons), full)
    entry = english.model_copy(
        update={
            "locale": str(locale),
            "time": str(locale.time_formats["short"].pattern),
            "date": str(getattr(short, "pattern", short)),
            "date_with_year": full,
            "dated": "{time}, {date}",
        }
    )
    return _speech(entry)


def _offset(text: str) -> timedelta:
    hours, minutes = text[1:].split(":")
    size = timedelta(hours=int(hours), minutes=int(minutes))
    return -size if text.startswith("-") else size


@lru_cache
def language_name(language: str) -> str:
    """A language in its own words: "Deutsch"."""
    try:
        locale = Locale.parse(language, sep="-")
    except (UnknownLocaleError, ValueError):
        return language
    return (locale.get_display_name(locale) or language).capitalize()
