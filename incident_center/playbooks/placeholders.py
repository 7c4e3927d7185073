"""The closed list of placeholders, and which of them a text may and must carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from incident_center.playbooks.locales import speech


@dataclass(frozen=True, slots=True)
class Placeholder:
    """`bound` early: filled when the update is published; late: filled for each reader (zone, person)."""

    name: str
    bound: Literal["early", "late"]
    description: str


_LIST = (
    Placeholder("company", "early", "the company's name as customers know it"),
    Placeholder("incident_ref", "early", "the incident's number, for example INC-14"),
    Placeholder("status_url", "early", "the short address of the incident's page"),
    Placeholder("started_at", "late", "when it began, in the reader's zone"),
    Placeholder("next_update_by", "late", "when the next news comes at the latest, in the reader's zone"),
    Placeholder("last_update_at", "late", "when the update before was published, in the reader's zone"),
    Placeholder("salutation", "late", "the reader's greeting"),
)

PLACEHOLDERS: dict[str, Placeholder] = {placeholder.name: placeholder for placeholder in _LIST}
EARLY: frozenset[str] = frozenset(p.name for p in _LIST if p.bound == "early")
LATE: frozenset[str] = frozenset(p.name for p in _LIST if p.bound == "late")


def long_samples(language: str) -> dict[str, str]:
    """A long but real value for each placeholder, for length checks and previews.

    Times are of the same day: a time beyond midnight carries its date and may cost a second segment.
    """
    return dict(speech(language).samples)
