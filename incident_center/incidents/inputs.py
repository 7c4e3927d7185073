"""What the verbs take: plain, frozen, already parsed. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from incident_center.playbooks import Words
from incident_center.states import ComponentStatus, Impact, Phase, UpdateKind

Answers = Mapping[str, Mapping[str, str]]  # name -> language -> words


@dataclass(frozen=True, kw_only=True)
class Declaration:
    playbook: str
    component_ids: tuple[int, ...]
    impact: Impact
    started_at: datetime
    answers: Answers
    form_key: str | None = None  # the same form sent twice declares once


@dataclass(frozen=True, kw_only=True)
class Publication:
    """One update as its author wants it published.

    words: language -> Words with placeholders unfilled. confirmed: positions in the phase's confirm list.
    component_status: component id -> status; None takes what the script suggests for the incident's components.
    seen_version: Incident.version when the author began to write; None asks for no more than this transaction's.
    """

    phase: Phase
    words: Mapping[str, Words]
    next_update_by: datetime | None = None
    confirmed: frozenset[int] = frozenset()
    component_status: Mapping[int, ComponentStatus] | None = None
    kind: UpdateKind = UpdateKind.UPDATE
    corrects_update_id: int | None = None
    answers: Answers = field(default_factory=dict)
    seen_version: int | None = None
    draft_id: int | None = None
    draft_version: int | None = None


@dataclass(frozen=True, kw_only=True)
class DraftInput:
    """What stands in the composer, as typed: nothing is checked, nothing is lost."""

    phase: Phase
    words: Mapping[str, Mapping[str, Any]]
    kind: UpdateKind = UpdateKind.UPDATE
    answers: Answers = field(default_factory=dict)
    confirmed: tuple[int, ...] = ()
    component_status: Mapping[str, str] = field(default_factory=dict)  # component key -> status
    next_update: str = ""
    corrects_update_id: int | None = None
