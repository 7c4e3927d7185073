"""Declare an incident, or take a mistaken declaration back."""

from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult, select, update
from sqlalchemy.orm import Session

from incident_center.errors import Conflict, Flaw, NotThere, Refused
from incident_center.house import House
from incident_center.incidents.drafts import discard_draft
from incident_center.incidents.inputs import Declaration
from incident_center.incidents.rules import started_at_flaw
from incident_center.incidents.scripts import answer_flaws
from incident_center.models import Component, Incident, IncidentComponent
from incident_center.staff import audit
from incident_center.states import Phase


def declare(session: Session, *, house: House, declaration: Declaration, by: str, now: datetime) -> Incident:
    """A new incident in phase investigating, or the one that the same form has already declared.

    Nothing is public and nobody is written to until its first update. Raises Refused.
    """
    if declaration.form_key:
        earlier = session.scalar(select(Incident).where(Incident.form_key == declaration.form_key))
        if earlier is not None:
            return earlier
    _check(session, house, declaration, now)
    playbook = house.library.playbooks[declaration.playbook]
    incident = Incident(
        playbook=playbook.key,
        titles=dict(playbook.title),
        impact=declaration.impact,
        phase=Phase.INVESTIGATING,
        answers={n: {lang: text.strip() for lang, text in a.items()} for n, a in declaration.answers.items()},
        started_at=declaration.started_at,
        declared_at=now,
        declared_by=by,
        updated_at=now,
        form_key=declaration.form_key,
    )
    session.add(incident)
    session.flush()
    session.add_all(
        IncidentComponent(incident_id=incident.id, component_id=component_id)
        for component_id in sorted(set(declaration.component_ids))
    )
    session.flush()
    audit.record(
        session,
        by=by,
        action="incident.declared",
        incident_id=incident.id,
        detail={"playbook": playbook.key, "impact": incident.impact.value},
        now=now,
    )
    return incident


def withdraw(session: Session, *, incident_id: int, by: str, now: datetime) -> Incident:
    """Ends an incident that was declared by mistake and of which nobody has been told; nobody is written to.

    Raises NotThere, and Conflict once an update is out: then customers must hear that it is over.
    """
    taken = session.execute(
        update(Incident)
        .where(Incident.id == incident_id, Incident.version == 0, Incident.phase == Phase.INVESTIGATING)
        .values(phase=Phase.RESOLVED, resolved_at=now, updated_at=now)
    )
    incident = session.get(Incident, incident_id, populate_existing=True)
    if incident is None:
        raise NotThere(f"There is no incident {incident_id}.")
    if cast("CursorResult[Any]", taken).rowcount != 1:
        raise Conflict("An update is out already. Publish that it is over, so that customers hear it too.")
    discard_draft(session, incident_id=incident_id)
    audit.record(session, by=by, action="incident.withdrawn", incident_id=incident_id, now=now)
    return incident


def _check(session: Session, house: House, declaration: Declaration, now: datetime) -> None:
    flaws: list[Flaw] = []
    playbook = house.library.playbooks.get(declaration.playbook)
    if playbook is None:
        names = ", ".join(sorted(house.library.playbooks))
        flaws.append(Flaw("playbook", "unknown", f"There is no such playbook. Choose one of: {names}."))
    else:
        flaws += answer_flaws(playbook.ask, declaration.answers, house.languages)
    if not declaration.component_ids:
        flaws.append(
            Flaw("components", "missing", "Tick at least one component; it decides who is written to.")
        )
    known = set(session.scalars(select(Component.id).where(Component.id.in_(declaration.component_ids))))
    for unknown in sorted(set(declaration.component_ids) - known):
        flaws.append(Flaw("components", "unknown", f"There is no component {unknown}."))
    if (flaw := started_at_flaw(declaration.started_at, now=now)) is not None:
        flaws.append(flaw)
    if flaws:
        raise Refused(*flaws)
