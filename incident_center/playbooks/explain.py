"""What pydantic found, in sentences that say what to do."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from incident_center.playbooks.models import Words

Path = tuple[str | int, ...]


def explain(error: ValidationError, model: type[BaseModel]) -> list[tuple[Path, str]]:
    """(path, sentence) for each fault, in the order of the model's fields."""
    return [
        (path_of(item["loc"]), sentence(dict(item), model))
        for item in error.errors(include_url=False, include_context=True)
    ]


def path_of(location: Path) -> Path:
    """A pydantic location without its mark for "the key itself is wrong"."""
    return tuple(part for part in location if part != "[key]")


def sentence(item: Mapping[str, Any], model: type[BaseModel]) -> str:
    """One fault as a sentence that begins with the name of the field."""
    location: Path = item["loc"]
    named = [str(part) for part in path_of(location)]
    name = ".".join(named[-2:] if named and named[-1].isdigit() else named[-1:]) or "the file"
    if item["type"] == "extra_forbidden":
        return f"unknown key “{name}”; known here: {', '.join(_known_keys(model, location[:-1]))}"
    if location and location[-1] == "[key]":
        return f"the name “{location[-2]}” does not fit here ({item['msg'].lower()})"
    return f"{name} {_what(item)}"


def _what(item: Mapping[str, Any]) -> str:
    context: Mapping[str, Any] = item.get("ctx") or {}
    given = _kind_of(item["input"])
    told = {
        "missing": "is missing",
        "string_type": f"must be a text, not {given}",
        "int_type": f"must be a whole number, not {given}",
        "dict_type": f"must be a map, not {given}",
        "model_type": f"must be a map, not {given}",
        "tuple_type": f"must be a list, not {given}",
        "literal_error": f"must be {context.get('expected')}, not “{item['input']}”",
        "too_short": f"needs at least {context.get('min_length')} in its list",
        "too_long": f"takes at most {context.get('max_length')} in its list",
        "greater_than_equal": f"must be at least {context.get('ge')}",
        "less_than_equal": f"must be at most {context.get('le')}",
        "string_pattern_mismatch": f"“{item['input']}” has another form than {context.get('pattern')}",
    }
    return told.get(item["type"], str(item["msg"]))


def _kind_of(value: object) -> str:
    kinds = {
        dict: "a map",
        list: "a list",
        tuple: "a list",
        str: "a text",
        int: "a number",
        bool: "true/false",
    }
    return "nothing" if value is None else kinds.get(type(value), type(value).__name__)


def _known_keys(model: type[BaseModel], location: Path) -> list[str]:
    """The fields of the model that stands at `location`."""
    current: Any = model
    for part in location:
        current = _inside(_bare(current), part)
    current = _bare(current)
    return sorted(current.model_fields) if _is_model(current) else ["none"]


def _inside(annotation: Any, part: str | int) -> Any:
    if _is_model(annotation):
        return annotation.model_fields[part].annotation
    inner = [argument for argument in get_args(annotation) if argument is not Ellipsis]
    return inner[-1] if inner else Any


def _bare(annotation: Any) -> Any:
    """Without Annotated, and the one kind that is not None out of an optional one."""
    while get_origin(annotation) in {Annotated, Union, UnionType}:
        inner = [argument for argument in get_args(annotation) if argument is not type(None)]
        annotation = inner[0]
    return annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def words_problems(error: ValidationError) -> list[tuple[str, str]]:
    """(field, sentence) for words that `Words.model_validate` refused; fields as `Words.texts` names them."""
    return [(".".join(str(part) for part in path), message) for path, message in explain(error, Words)]
