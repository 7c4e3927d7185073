"""Components, incidents, drafts, updates, wordings, promises."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from incident_center.db import Base, Json, state_column
from incident_center.states import (
    ComponentStatus,
    DraftState,
    Impact,
    Medium,
    Phase,
    PromiseState,
    Rung,
    RungOutcome,
    UpdateKind,
)


class Component(Base):
    __tablename__ = "components"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(60), unique=True)
    position: Mapped[int] = mapped_column(default=0)
    names: Mapped[dict[str, str]] = mapped_column(Json)  # language -> name as customers know it
    descriptions: Mapped[dict[str, str]] = mapped_column(Json, default=dict)
    status: Mapped[ComponentStatus] = mapped_column(
        state_column(ComponentStatus), default=ComponentStatus.OPERATIONAL
    )
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Incident(Base):
    __tablename__ = "incidents"

    id: Mapped[int] = mapped_column(primary_key=True)
    playbook: Mapped[str] = mapped_column(String(80))
    titles: Mapped[dict[str, str]] = mapped_column(Json)  # language -> title
    impact: Mapped[Impact] = mapped_column(state_column(Impact))
    phase: Mapped[Phase] = mapped_column(state_column(Phase))
    answers: Mapped[dict[str, dict[str, str]]] = mapped_column(
        Json, default=dict
    )  # name -> language -> words
    started_at: Mapped[datetime]
    declared_at: Mapped[datetime]
    declared_by: Mapped[str] = mapped_column(String(200))
    resolved_at: Mapped[datetime | None]
    updated_at: Mapped[datetime]
    version: Mapped[int] = mapped_column(default=0)  # number of published updates; the publisher's guard
    form_key: Mapped[str | None] = mapped_column(String(64), unique=True)  # one declaration per form

    components: Mapped[list[Component]] = relationship(
        secondary="incident_components", order_by="Component.position", viewonly=True
    )

    @property
    def ref(self) -> str:
        return f"INC-{self.id}"


class IncidentComponent(Base):
    __tablename__ = "incident_components"

    incident_id: Mapped[int] = mapped_column(ForeignKey("incidents.id"), primary_key=True)
    component_id: Mapped[int] = mapped_column(ForeignKey("components.id"), primary_key=True, index=True)


class ComponentChange(Base):
    """A component's change of status, by an update or by hand."""

    __tablename__ = "component_changes"

    id: Mapped[int] = mapped_column(primary_key=True)
    component_id: Mapped[int] = mapped_column(ForeignKey("components.id"), index=True)
    incident_id: Mapped[int | None] = mapped_column(ForeignKey("incidents.id"), index=True)
    update_id: Mapped[int | None] = mapped_column(ForeignKey("updates.id"), index=True)
    old_status: Mapped[ComponentStatus] = mapped_column(state_column(ComponentStatus))
    new_status: Mapped[ComponentStatus] = mapped_column(state_column(ComponentStatus))
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(String(200))


class Draft(Base):
    """What the lead is writing. At most one open draft an incident; `version` counts its saves."""

    __tablename__ = "drafts"
    __table_args__ = (
        Index(
            "uq_drafts_one_open",
            "incident_id",
            unique=True,
            sqlite_where=text("state = 'open'"),
            postgresql_where=text("state = 'open'"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    incident_id: Mapped[int] = mapped_column(ForeignKey("incidents.id"))
    state: Mapped[DraftState] = mapped_column(state_column(DraftState), default=DraftState.OPEN)
    kind: Mapped[UpdateKind] = mapped_column(state_column(UpdateKind), default=UpdateKind.UPDATE)
    phase: Mapped[Phase] = mapped_column(state_column(Phase))
    corrects_update_id: Mapped[int | None] = mapped_column(ForeignKey("updates.id"))
    words: Mapped[dict[str, Any]] = mapped_column(Json)  # language -> Words, placeholders unfilled
    answers: Mapped[dict[str, dict[str, str]]] = mapped_column(
        Json, default=dict
    )  # a correction's own answers
    confirmed: Mapped[list[int]] = mapped_column(Json, default=list)  # ticked confirmations by position
    component_status: Mapped[dict[str, str]] = mapped_column(Json, default=dict)  # component key -> status
    next_update: Mapped[str] = mapped_column(String(40), default="")  # as typed: minutes or a local time
    version: Mapped[int] = mapped_column(default=1)
    saved_at: Mapped[datetime]
    saved_by: Mapped[str] = mapped_column(String(200))


class Update(Base):
    """One publication; never changed once published (a typo's fix is a row of its own)."""

    __tablename__ = "updates"
    __table_args__ = (UniqueConstraint("incident_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    incident_id: Mapped[int] = mapped_column(ForeignKey("incidents.id"))
    number: Mapped[int]  # 1, 2, 3 … within the incident
    kind: Mapped[UpdateKind] = mapped_column(state_column(UpdateKind))
    phase: Mapped[Phase] = mapped_column(state_column(Phase))
    corrects_update_id: Mapped[int | None] = mapped_column(ForeignKey("updates.id"))
    words: Mapped[dict[str, Any]] = mapped_column(
        Json
    )  # language -> Words as published, placeholders unfilled
    answers: Mapped[dict[str, dict[str, str]]] = mapped_column(Json, default=dict)  # a correction's own
    script_changes: Mapped[dict[str, Any]] = mapped_column(
        Json, default=dict
    )  # language -> [{field, before, after}]
    confirmed: Mapped[dict[str, list[str]]] = mapped_column(
        Json, default=dict
    )  # language -> what the lead ticked
    next_update_by: Mapped[datetime | None]
    published_at: Mapped[datetime]
    published_by: Mapped[str] = mapped_column(String(200))

    incident: Mapped[Incident] = relationship(viewonly=True)
    promise: Mapped["Promise | None"] = relationship(viewonly=True, foreign_keys="Promise.update_id")


class UpdateFix(Base):
    """A silent fix of a typo: pages and agents show the fixed words, nobody is notified, both are kept."""

    __tablename__ = "update_fixes"

    id: Mapped[int] = mapped_column(primary_key=True)
    update_id: Mapped[int] = mapped_column(ForeignKey("updates.id"), index=True)
    revision: Mapped[int]
    words: Mapped[dict[str, Any]] = mapped_column(Json)
    reason: Mapped[str] = mapped_column(String(300), default="")
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(String(200))


class Wording(Base):
    """The final text of one update for one medium and language, frozen; late slots are parts of `content`.

    content: email {subject, text, html}, sms/phone/chat {text}, page {subject, known, unknown, doing, you_can};
    each value is parts (playbooks.to_json) or a list of parts. values: the instants behind the time slots.
    """

    __tablename__ = "wordings"
    __table_args__ = (UniqueConstraint("update_id", "medium", "language", "revision"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    update_id: Mapped[int] = mapped_column(ForeignKey("updates.id"))
    medium: Mapped[Medium] = mapped_column(state_column(Medium))
    language: Mapped[str] = mapped_column(String(8))
    revision: Mapped[int] = mapped_column(default=0)  # above 0: a silent fix
    content: Mapped[dict[str, Any]] = mapped_column(Json)
    values: Mapped[dict[str, str]] = mapped_column(
        Json
    )  # started_at, next_update_by, last_update_at: ISO 8601
    published_at: Mapped[datetime]


class Promise(Base):
    """ "Next update by due_at", made by an update. At most one open an incident."""

    __tablename__ = "promises"
    __table_args__ = (
        Index(
            "uq_promises_one_open",
            "incident_id",
            unique=True,
            sqlite_where=text("state = 'open'"),
            postgresql_where=text("state = 'open'"),
        ),
        Index("ix_promises_state_due_at", "state", "due_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    incident_id: Mapped[int] = mapped_column(ForeignKey("incidents.id"), index=True)
    update_id: Mapped[int] = mapped_column(ForeignKey("updates.id"), unique=True)
    made_at: Mapped[datetime]
    due_at: Mapped[datetime]
    state: Mapped[PromiseState] = mapped_column(state_column(PromiseState), default=PromiseState.OPEN)
    streak: Mapped[int] = mapped_column(default=0)  # holding updates in a row before this promise
    settled_at: Mapped[datetime | None]
    settled_by_update_id: Mapped[int | None] = mapped_column(ForeignKey("updates.id"))


class PromiseRung(Base):
    """One step of a promise's escalation; the unique key makes it happen once, whoever tries."""

    __tablename__ = "promise_rungs"
    __table_args__ = (UniqueConstraint("promise_id", "rung"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    promise_id: Mapped[int] = mapped_column(ForeignKey("promises.id"))
    rung: Mapped[Rung] = mapped_column(state_column(Rung))
    outcome: Mapped[RungOutcome] = mapped_column(state_column(RungOutcome))
    due_at: Mapped[datetime]
    at: Mapped[datetime]
    note: Mapped[str] = mapped_column(Text, default="")
