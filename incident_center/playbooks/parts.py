"""Texts with placeholders: parse once, fill in two steps, never fill a value again.

A text is cut into `Parts`: literal strings and `Slot`s. Values go in as literals, so a brace in a lead's
answer or in a customer's name stays a brace. Early values are filled when an update is published, late ones
for each reader.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in a text that waits for the value called `name`."""

    name: str


Parts = tuple[str | Slot, ...]

NAME = re.compile(r"[a-z][a-z0-9_]*")
_BRACE = re.compile(r"\{([a-z][a-z0-9_]*)\}|[{}]")
_LINE_SPACE = re.compile(r"[\r\n\t]+")

# A marked slot is written wholly in private-use characters, so that escaping, Markdown, changes of case and
# line breaking leave it alone: start, one character for each character of the name, end.
_START, _END, _SHIFT = "\ue000", "\ue001", 0xE100
_MARKED = re.compile("\ue000([\ue130-\ue17a]+)\ue001")
_LEFT_OVER = re.compile("[\ue000\ue001\ue100-\ue1ff]")


class PlaceholderError(ValueError):
    """A brace that is no known placeholder. `name` is what stands in the braces, "" for a lone brace."""

    def __init__(self, name: str, text: str, position: int, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.text = text
        self.position = position


_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def odd_character(text: str, *, keep: str = "\n") -> str | None:
    """The first character of `text` that no message can carry, or None.

    Odd are control characters other than those in `keep`, private-use characters (our own marks are made of
    them), halves of surrogate pairs, the two Unicode line separators (mail libraries break headers there) and the
    marks that turn the direction of writing (they can make a link or a sum read backwards).
    """
    if text.isascii() and text.isprintable():
        return None
    for character in text:
        if character in keep:
            continue
        if character in _TURNING or unicodedata.category(character) in {"Cc", "Co", "Cs", "Zl", "Zp"}:
            return character
    return None


def name_character(character: str) -> str:
    """A character as a person can look it up: "U+E000"."""
    return f"U+{ord(character):04X}"


def parse(text: str, allowed: Collection[str]) -> Parts:
    """Cut `text` into literals and slots. Only names in `allowed` may stand in braces.

    Raises PlaceholderError for an unknown name or a lone brace, ValueError for a character that no message
    can carry.
    """
    odd = odd_character(text)
    if odd is not None:
        raise ValueError(
            f"the text holds the character {name_character(odd)}, which cannot be sent; remove it"
        )
    parts: list[str | Slot] = []
    end = 0
    for found in _BRACE.finditer(text):
        name = found.group(1)
        if name is None:
            raise _lone_brace(text, found.start(), allowed)
        if name not in allowed:
            message = f"{{{name}}} is not known here; {_choice(allowed)}"
            raise PlaceholderError(name, text, found.start(), message)
        parts += [text[end : found.start()], Slot(name)]
        end = found.end()
    return _joined([*parts, text[end:]])


def _lone_brace(text: str, position: int, allowed: Collection[str]) -> PlaceholderError:
    near = text[max(0, position - 10) : position + 20].replace("\n", " ")
    message = (
        f"a brace without a placeholder at character {position + 1}, near “{near}”; write a name in single"
        f" braces, small letters, no spaces, or remove the brace; {_choice(allowed)}"
    )
    return PlaceholderError("", text, position, message)


def _choice(allowed: Collection[str]) -> str:
    if not allowed:
        return "no placeholder may stand here"
    return "allowed: " + ", ".join(f"{{{name}}}" for name in sorted(allowed))


def fill(parts: Parts, values: Mapping[str, str]) -> Parts:
    """Put the values that are there into their slots; other slots stay.

    A value is one line: line breaks and tabs in it become a space. Raises ValueError naming the slot when a
    value holds a character that no message can carry.
    """
    return _joined(
        clean_value(part.name, values[part.name]) if isinstance(part, Slot) and part.name in values else part
        for part in parts
    )


def clean_value(name: str, value: str) -> str:
    """`value` on one line. Raises ValueError naming the placeholder for a character that cannot be sent."""
    line = _LINE_SPACE.sub(" ", value)
    odd = odd_character(line, keep="")
    if odd is not None:
        raise ValueError(f"the value of {{{name}}} holds the character {name_character(odd)}; remove it")
    return line


def render(parts: Parts, values: Mapping[str, str]) -> str:
    """The finished text. Raises KeyError naming the slot that has no value."""
    return "".join(
        clean_value(part.name, values[part.name]) if isinstance(part, Slot) else part for part in parts
    )


def slots(parts: Parts) -> set[str]:
    """The names that still wait for a value."""
    return {part.name for part in parts if isinstance(part, Slot)}


def to_json(parts: Parts) -> list[str | dict[str, str]]:
    """Literals as strings, slots as {"slot": name}: what is stored with a frozen wording."""
    return [{"slot": part.name} if isinstance(part, Slot) else part for part in parts]


def from_json(items: object) -> Parts:
    """The parts that `to_json` wrote. Raises ValueError for anything else."""
    if not isinstance(items, list):
        raise ValueError("parts are stored as a list")  # noqa: TRY004  stored data is wrong, not the caller
    return _joined(_from_item(item) for item in items)


def _from_item(item: object) -> str | Slot:
    if isinstance(item, str):
        return item
    if isinstance(item, dict) and item.keys() == {"slot"}:
        name = item["slot"]
        if isinstance(name, str) and NAME.fullmatch(name):
            return Slot(name)
    raise ValueError(f"not a stored part: {item!r}")


def mark(parts: Parts) -> str:
    """One string for a template engine: slots become private-use characters that `unmark` finds again.

    It survives HTML escaping, Jinja, MJML and Markdown. Literals are not escaped: the template does that.
    """
    return "".join(_marked(part.name) if isinstance(part, Slot) else part for part in parts)


def _marked(name: str) -> str:
    return _START + "".join(chr(_SHIFT + ord(character)) for character in name) + _END


def unmark(text: str) -> Parts:
    """The parts of a rendered text. Raises ValueError when a mark was cut in two on the way."""
    parts: list[str | Slot] = []
    end = 0
    for found in _MARKED.finditer(text):
        name = "".join(chr(ord(character) - _SHIFT) for character in found.group(1))
        if not NAME.fullmatch(name):
            raise ValueError(f"a damaged mark at character {found.start() + 1}")
        parts += [text[end : found.start()], Slot(name)]
        end = found.end()
    parts.append(text[end:])
    for part in parts:
        if isinstance(part, str) and (broken := _LEFT_OVER.search(part)):
            raise ValueError(f"a damaged mark: {name_character(broken.group())} stands alone")
    return _joined(parts)


def _joined(parts: Iterable[str | Slot]) -> Parts:
    """Neighbouring literals as one and no empty ones, so that equal texts are equal parts."""
    return tuple(_merge(parts))


def _merge(parts: Iterable[str | Slot]) -> Iterator[str | Slot]:
    literal = ""
    for part in parts:
        if isinstance(part, str):
            literal += part
            continue
        if literal:
            yield literal
            literal = ""
        yield part
    if literal:
        yield literal
