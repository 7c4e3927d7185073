"""Pydantic's findings as sentences that say what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from incident_center.errors import Flaw

# pydantic's type of error -> our stable code and our sentence; {names} come from the error's context
_SENTENCES: Mapping[str, tuple[str, str]] = {
    "missing": ("missing", "This field is required. Add it."),
    "extra_forbidden": ("unknown", "There is no field of this name. Check the spelling or leave it out."),
    "string_type": ("type", "Give a text."),
    "int_type": ("type", "Give a whole number."),
    "int_parsing": ("type", "Give a whole number."),
    "int_from_float": ("type", "Give a whole number."),
    "bool_type": ("type", "Give true or false."),
    "bool_parsing": ("type", "Give true or false."),
    "list_type": ("type", "Give a list."),
    "tuple_type": ("type", "Give a list."),
    "dict_type": ("type", "Give an object."),
    "model_type": ("type", "Give an object."),
    "model_attributes_type": ("type", "Give an object."),
    "enum": ("choice", "Give one of: {expected}."),
    "literal_error": ("choice", "Give one of: {expected}."),
    "string_too_short": ("too_short", "Give at least {min_length} characters."),
    "string_too_long": ("too_long", "Give at most {max_length} characters."),
    "string_pattern_mismatch": ("pattern", "This does not have the form that is asked for: {pattern}"),
    "too_short": ("too_short", "Give at least {min_length}."),
    "too_long": ("too_long", "Give at most {max_length}."),
    "greater_than_equal": ("range", "Give {ge} or more."),
    "less_than_equal": ("range", "Give {le} or less."),
}
_NOT_A_FIELD = {"[key]"}


def flaws_of(error: ValidationError, *, under: str = "") -> tuple[Flaw, ...]:
    """Every finding with the path of its field. `under`: where the checked part stands in the body."""
    return tuple(_flaw(found, under) for found in error.errors(include_url=False, include_input=False))


def _flaw(found: Any, under: str) -> Flaw:
    places = [str(part) for part in found["loc"] if part not in _NOT_A_FIELD]
    field = ".".join([under, *places] if under else places)
    code, sentence = _SENTENCES.get(found["type"], (found["type"], ""))
    if not sentence:
        return Flaw(field, code, found["msg"].removeprefix("Value error, "))
    return Flaw(field, code, sentence.format(**found.get("ctx", {})))
