"""Reads what is not ours: JSON of any shape, asked for by path. What is missing or of another kind reads as empty."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

_MOST_TEXT = 2000
_MOST_ITEMS = 1000


class NotReadable(ValueError):
    """The body is not what this address takes: 400."""


class Body:
    """One JSON object."""

    def __init__(self, value: Any) -> None:
        self._value = value if isinstance(value, dict) else {}

    @classmethod
    def read(cls, raw: bytes) -> Body:
        """Raises NotReadable for anything but one JSON object."""
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise NotReadable from error
        if not isinstance(value, dict):
            raise NotReadable
        return cls(value)

    def text(self, *path: str) -> str:
        """A string or a number as text; "" for anything else."""
        found = self._at(path)
        if isinstance(found, bool) or not isinstance(found, str | int | float):
            return ""
        return _whole(str(found)[:_MOST_TEXT])

    def whole_text(self, name: str) -> str:
        """A string however long it is."""
        found = self._value.get(name)
        return _whole(found) if isinstance(found, str) else ""

    def truth(self, *path: str) -> bool:
        return self._at(path) is True

    def inner(self, *path: str) -> Body:
        return Body(self._at(path))

    def items(self, *path: str) -> Iterator[Body]:
        """The objects of a list."""
        found = self._at(path)
        for one in found[:_MOST_ITEMS] if isinstance(found, list) else ():
            yield Body(one)

    def texts(self, *path: str) -> list[str]:
        """The strings of a list."""
        found = self._at(path)
        given = found[:_MOST_ITEMS] if isinstance(found, list) else ()
        return [_whole(one[:_MOST_TEXT]) for one in given if isinstance(one, str)]

    def flat(self) -> dict[str, str]:
        """The object's own strings and numbers, whole."""
        return {
            _whole(name): _whole(str(value))
            for name, value in self._value.items()
            if isinstance(value, str | int | float) and not isinstance(value, bool)
        }

    def moment(self, *path: str) -> datetime | None:
        """ISO 8601, or seconds since 1970."""
        found = self._at(path)
        try:
            if isinstance(found, int | float) and not isinstance(found, bool):
                return datetime.fromtimestamp(found, UTC)
            at = datetime.fromisoformat(found) if isinstance(found, str) else None
            return None if at is None else _aware(at)
        except (ValueError, OverflowError, OSError):
            return None

    def _at(self, path: tuple[str, ...]) -> Any:
        found: Any = self._value
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        return found


def _whole(text: str) -> str:
    """JSON may hold halves of characters, which nothing behind us can write."""
    return text.encode("utf-8", "replace").decode()


def _aware(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
