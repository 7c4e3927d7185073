"""Types of the API's fields: strict, so that a slip is refused by name instead of guessed at."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from incident_center.playbooks.models import LANGUAGE_PATTERN
from incident_center.playbooks.parts import name_character, odd_character

MAX_ID = 2**31 - 1  # the databases' integer
_INSTANT = re.compile(
    r"(?P<clock>\d{4}-\d\d-\d\d[Tt]\d\d:\d\d(:\d\d(?P<fraction>\.\d+)?)?)(?P<offset>[Zz]|[+-]\d\d:\d\d)?",
    re.ASCII,
)
_EXAMPLE_TIME = "2026-11-21T15:00:00+01:00"
_SHOWN = {"example": _EXAMPLE_TIME}


class Strict(BaseModel):
    """A request's part: unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """A part of an answer. Every field is always there; null where there is nothing to say."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)


def _instant(value: object) -> datetime:
    if not isinstance(value, str):
        raise PydanticCustomError(
            "type",
            "Give the time as text in ISO 8601 with its offset, such as {example}; not a number.",
            _SHOWN,
        )
    return parse_instant(value)


def parse_instant(value: str) -> datetime:
    """An ISO 8601 time with its offset as aware UTC; raises ValueError with a sentence that says what to do.

    Bare numbers are refused because nobody can tell seconds from milliseconds, and times without an offset
    because nobody can tell whose clock they are.
    """
    found = _INSTANT.fullmatch(value)
    if found is None:
        raise ValueError(f"This is no ISO 8601 time. Write it like {_EXAMPLE_TIME}.")
    if found["offset"] is None:
        raise ValueError(
            f"The time has no offset. Say which clock it is: append Z or +01:00, as in {_EXAMPLE_TIME}."
        )
    try:
        return datetime.fromisoformat(_plain(found)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError("There is no such moment in the calendar. Check the date and the time.") from error


def _plain(found: re.Match[str]) -> str:
    """As datetime reads it: microseconds at most, capitals."""
    clock, fraction = found["clock"], found["fraction"]
    if fraction:
        clock = clock.removesuffix(fraction) + fraction[:7].ljust(7, "0")
    return (clock + found["offset"]).upper()


def _sendable(text: str) -> str:
    """Without blanks at the ends; refuses what no message can carry."""
    text = text.replace("\r\n", "\n").strip()
    odd = odd_character(text)
    if odd is not None:
        raise PydanticCustomError(
            "odd", "The character {name} cannot be sent. Remove it.", {"name": name_character(odd)}
        )
    if not text:
        raise PydanticCustomError("blank", "This is blank. Write a text or leave the field out.")
    return text


def _one_line(text: str) -> str:
    if "\n" in text:
        raise PydanticCustomError("lines", "This must be one line.")
    return text


def _confirmed(value: object) -> int | str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise PydanticCustomError("type", "Give the confirmation's text, or its position counted from 0.")
    return value


_TIME_SCHEMA: dict[str, Any] = {"type": "string", "format": "date-time", "examples": [_EXAMPLE_TIME]}

Instant = Annotated[datetime, BeforeValidator(_instant), WithJsonSchema(_TIME_SCHEMA, mode="validation")]
Id = Annotated[StrictInt, Field(ge=1, le=MAX_ID)]
PathId = Annotated[int, Field(ge=1, le=MAX_ID)]
Text = Annotated[str, StringConstraints(max_length=2000), AfterValidator(_sendable)]
Line = Annotated[str, StringConstraints(max_length=300), AfterValidator(_sendable), AfterValidator(_one_line)]
Sentences = Annotated[list[Text], Field(max_length=20)]
Language = Annotated[str, StringConstraints(pattern=LANGUAGE_PATTERN)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,59}$")]
Confirmed = Annotated[
    int | str,
    BeforeValidator(_confirmed),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string"}]}),
]
