"""The status of components: changed by an update, or by hand."""

import re
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from incident_center.errors import Flaw, NotThere, Refused
from incident_center.house import House
from incident_center.incidents.rules import ENDING, worst
from incident_center.models import Component, ComponentChange, Incident, IncidentComponent, Update
from incident_center.staff import audit
from incident_center.states import ComponentStatus

_KEY = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def status_flaws(session: Session, incident: Incident, wanted: Mapping[int, ComponentStatus]) -> list[Flaw]:
    """Unknown components, and ones that the incident does not concern and that would not be unwell either."""
    known = set(session.scalars(select(Component.id).where(Component.id.in_(wanted)))) if wanted else set()
    concerned = {component.id for component in incident.components}
    flaws = [
        Flaw("component_status", "unknown", f"There is no component {component_id}.")
        for component_id in sorted(set(wanted) - known)
    ]
    return flaws + [
        Flaw("component_status", "not_affected", f"Component {component_id} has no part in this incident.")
        for component_id in sorted(known - concerned)
        if wanted[component_id] is ComponentStatus.OPERATIONAL
    ]


def apply(
    session: Session,
    *,
    incident: Incident,
    update: Update,
    wanted: Mapping[int, ComponentStatus],
    now: datetime,
) -> None:
    """Gives the components their new status and keeps what changed, as part of the update.

    An outage spreads: a component that an update calls unwell belongs to the incident from then on, so that those
    who follow it are written to and the end of the incident gives it back.
    """
    for component_id in sorted(set(wanted) - {component.id for component in incident.components}):
        session.add(IncidentComponent(incident_id=incident.id, component_id=component_id))
    session.flush()
    session.expire(incident, ["components"])
    for component_id, status in wanted.items():
        _change(
            session,
            component_id,
            status,
            incident_id=incident.id,
            update_id=update.id,
            by=update.published_by,
            now=now,
        )


def suggested(session: Session, *, incident: Incident, status: ComponentStatus) -> dict[int, ComponentStatus]:
    """What a script's status means for the incident's components: component id -> its new status.

    Left out are those that would look better than now while another incident that customers know of still
    concerns them: the end of one outage must not declare the other one over.
    """
    held = set(
        session.scalars(
            select(IncidentComponent.component_id)
            .join(Incident, Incident.id == IncidentComponent.incident_id)
            .where(Incident.id != incident.id, Incident.version > 0, Incident.phase.not_in(ENDING))
        )
    )
    return {
        component.id: status
        for component in incident.components
        if component.id not in held or worst([component.status, status]) is status
    }


def set_component_status(
    session: Session, *, component_id: int, status: ComponentStatus, by: str, now: datetime
) -> bool:
    """Changes one status by hand; answers whether anything changed. Raises NotThere."""
    changed = _change(session, component_id, status, incident_id=None, update_id=None, by=by, now=now)
    if changed:
        audit.record(
            session,
            by=by,
            action="component.status_changed",
            subject=f"component {component_id}",
            detail={"status": status.value},
            now=now,
        )
    return changed


def _change(
    session: Session,
    component_id: int,
    status: ComponentStatus,
    *,
    incident_id: int | None,
    update_id: int | None,
    by: str,
    now: datetime,
) -> bool:
    component = session.get(Component, component_id)
    if component is None:
        raise NotThere(f"There is no component {component_id}.")
    if component.status is status:
        return False
    session.add(
        ComponentChange(
            component_id=component_id,
            incident_id=incident_id,
            update_id=update_id,
            old_status=component.status,
            new_status=status,
            at=now,
            by=by,
        )
    )
    component.status = status
    component.updated_at = now
    session.flush()
    return True


def add_component(
    session: Session,
    *,
    house: House,
    key: str,
    names: Mapping[str, str],
    position: int,
    by: str,
    now: datetime,
) -> Component:
    """A new component, operational. Raises Refused: key taken or odd, a language's name missing."""
    flaws = [
        Flaw(f"names.{language}", "missing", f"Give its name in '{language}', as customers know it.")
        for language in house.languages
        if not names.get(language, "").strip()
    ]
    if not _KEY.fullmatch(key):
        flaws.append(Flaw("key", "invalid", "Use small letters, digits and hyphens: sepa-instant."))
    elif session.scalar(select(Component.id).where(Component.key == key)) is not None:
        flaws.append(Flaw("key", "taken", "There is a component with this key already."))
    if flaws:
        raise Refused(*flaws)
    component = Component(key=key, names=dict(names), position=position, created_at=now, updated_at=now)
    session.add(component)
    session.flush()
    audit.record(session, by=by, action="component.added", subject=f"component {component.id}", now=now)
    return component
