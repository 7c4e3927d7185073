"""What pages, agents and programs ask about incidents. Reads only; the same rows answer everybody."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from incident_center.errors import NotThere
from incident_center.incidents.rules import ENDING, is_overdue
from incident_center.models import Component, ComponentChange, Incident, Promise, Update, UpdateFix, Wording
from incident_center.states import Medium, PromiseState, UpdateKind

OVERDUE = "overdue"


@dataclass(frozen=True)
class PromiseView:
    """A promise as it is at `now`. state: open, overdue (open, but its minute has passed), kept, late, closed."""

    state: str
    made_at: datetime
    due_at: datetime
    settled_at: datetime | None
    by_holding: bool
    streak: int


@dataclass(frozen=True)
class KeptRate:
    """How many promises were kept (an end in time counts), of them by a holding update, late, and still open."""

    kept: int
    kept_by_holding: int
    late: int
    open: int

    @property
    def settled(self) -> int:
        return self.kept + self.late


def components(session: Session) -> list[Component]:
    return list(session.scalars(select(Component).order_by(Component.position, Component.id)))


def incident(session: Session, incident_id: int, *, public: bool = False) -> Incident:
    """Raises NotThere; with `public` also for an incident that has no update yet: there is nothing to tell."""
    found = session.get(Incident, incident_id)
    if found is None or (public and found.version == 0):
        raise NotThere(f"There is no incident {incident_id}.")
    return found


def open_incidents(session: Session, *, public: bool = False) -> list[Incident]:
    """Unresolved ones, newest first; with `public` only those that have been told of."""
    wanted = (
        select(Incident)
        .where(Incident.phase.not_in(ENDING))
        .order_by(Incident.started_at.desc(), Incident.id.desc())
    )
    if public:
        wanted = wanted.where(Incident.version > 0)
    return list(session.scalars(wanted))


def recent_incidents(
    session: Session, *, limit: int = 20, before_id: int | None = None, resolved_only: bool = True
) -> list[Incident]:
    """Newest first, in keyset pages; ended ones unless asked otherwise."""
    wanted = select(Incident).where(Incident.version > 0).order_by(Incident.id.desc()).limit(limit)
    if resolved_only:
        wanted = wanted.where(Incident.phase.in_(ENDING))
    if before_id is not None:
        wanted = wanted.where(Incident.id < before_id)
    return list(session.scalars(wanted))


def updates(session: Session, incident_id: int) -> list[Update]:
    """All of them, newest first, each with the promise that it made."""
    return list(
        session.scalars(
            select(Update)
            .where(Update.incident_id == incident_id)
            .options(joinedload(Update.promise))
            .order_by(Update.number.desc())
        )
    )


def latest_update(session: Session, incident_id: int, *, told: bool = False) -> Update | None:
    """The newest one; with `told` the newest that says how things are, not a holding update or a correction."""
    wanted = select(Update).where(Update.incident_id == incident_id)
    if told:
        wanted = wanted.where(Update.kind == UpdateKind.UPDATE)
    newest = wanted.options(joinedload(Update.promise)).order_by(Update.number.desc()).limit(1)
    return session.scalar(newest)


def wording(session: Session, update_id: int, *, medium: Medium, language: str) -> Wording:
    """The words as they stand today (the latest fix); English where the update has no such language."""
    for wanted in (language, "en"):
        found = session.scalar(
            select(Wording)
            .where(Wording.update_id == update_id, Wording.medium == medium, Wording.language == wanted)
            .order_by(Wording.revision.desc())
            .limit(1)
        )
        if found is not None:
            return found
    raise NotThere(f"Update {update_id} has no words for {medium} in {language}.")


def wordings(session: Session, update_ids: list[int], *, medium: Medium, language: str) -> dict[int, Wording]:
    """update id -> its words as they stand today, in one question; updates without that language are left out."""
    rows = session.scalars(
        select(Wording)
        .where(Wording.update_id.in_(update_ids), Wording.medium == medium, Wording.language == language)
        .order_by(Wording.revision)
    )
    return {row.update_id: row for row in rows}


def fixes(session: Session, update_ids: list[int]) -> dict[int, list[UpdateFix]]:
    """update id -> its silent fixes, oldest first."""
    found: dict[int, list[UpdateFix]] = {}
    rows = session.scalars(
        select(UpdateFix)
        .where(UpdateFix.update_id.in_(update_ids))
        .order_by(UpdateFix.update_id, UpdateFix.revision)
    )
    for row in rows:
        found.setdefault(row.update_id, []).append(row)
    return found


def component_changes(session: Session, incident_id: int) -> list[ComponentChange]:
    return list(
        session.scalars(
            select(ComponentChange)
            .where(ComponentChange.incident_id == incident_id)
            .order_by(ComponentChange.id)
        )
    )


def open_promise(session: Session, incident_id: int) -> Promise | None:
    return session.scalar(
        select(Promise).where(Promise.incident_id == incident_id, Promise.state == PromiseState.OPEN)
    )


def promise_view(session: Session, promise: Promise | None, *, now: datetime) -> PromiseView | None:
    """True with every worker dead: lateness is read off the promise's own time."""
    if promise is None:
        return None
    overdue = promise.state is PromiseState.OPEN and is_overdue(promise.due_at, now=now)
    by = session.get(Update, promise.settled_by_update_id) if promise.settled_by_update_id else None
    return PromiseView(
        state=OVERDUE if overdue else promise.state.value,
        made_at=promise.made_at,
        due_at=promise.due_at,
        settled_at=promise.settled_at,
        by_holding=by is not None and by.kind is UpdateKind.HOLDING,
        streak=promise.streak,
    )


def promises(session: Session, *, after_id: int = 0, limit: int = 100) -> list[Promise]:
    """Open and past, oldest first, in keyset pages."""
    return list(
        session.scalars(select(Promise).where(Promise.id > after_id).order_by(Promise.id).limit(limit))
    )


def kept_rate(session: Session, *, since: datetime | None = None) -> KeptRate:
    """How the house keeps its word, over all promises or those made since a moment."""
    counted = (
        select(Promise.state, Update.kind, func.count())
        .select_from(Promise)
        .outerjoin(Update, Update.id == Promise.settled_by_update_id)
        .group_by(Promise.state, Update.kind)
    )
    if since is not None:
        counted = counted.where(Promise.made_at >= since)
    kept = by_holding = late = still_open = 0
    for state, kind, number in session.execute(counted):
        if state is PromiseState.OPEN:
            still_open += number
        elif state is PromiseState.LATE:
            late += number
        else:
            kept += number
            by_holding += number if kind is UpdateKind.HOLDING else 0
    return KeptRate(kept=kept, kept_by_holding=by_holding, late=late, open=still_open)
