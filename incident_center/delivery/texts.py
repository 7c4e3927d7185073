"""What the composer takes and gives: frozen wordings, readers, finished texts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from incident_center.states import Medium


class FrozenLike(Protocol):
    """A FrozenWording or a row of models.Wording."""

    @property
    def language(self) -> str: ...
    @property
    def content(self) -> dict[str, Any]: ...
    @property
    def values(self) -> dict[str, str]: ...
    @property
    def published_at(self) -> datetime: ...


@dataclass(frozen=True)
class FrozenWording:
    """What is stored as models.Wording; `content` and `values` are JSON as described there."""

    medium: Medium
    language: str
    content: dict[str, Any]
    values: dict[str, str]
    published_at: datetime


@dataclass(frozen=True, kw_only=True)
class Reader:
    """The parts of a message that are the reader's own."""

    language: str
    name: str | None = None
    form: str | None = None
    manage_url: str
    unsubscribe_url: str


@dataclass(frozen=True)
class Rendered:
    """A finished text; `subject` and `html` only where the medium has them."""

    subject: str | None
    text: str
    html: str | None


@dataclass(frozen=True)
class PageText:
    subject: str
    known: list[str]
    unknown: list[str]
    doing: list[str]
    you_can: list[str]
