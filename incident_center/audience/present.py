"""How things stand for somebody at this moment, from the same rows that the public page shows."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from incident_center.delivery.composer import render_page
from incident_center.delivery.people import concerned, unresolved
from incident_center.delivery.standing import Matter, Part, Standing, State
from incident_center.delivery.texts import PageText
from incident_center.house import House
from incident_center.incidents import questions
from incident_center.incidents.rules import is_overdue
from incident_center.models import Component, Incident, Subscriber, SubscriberComponent, Update
from incident_center.playbooks import say_time
from incident_center.states import ComponentStatus, Medium, UpdateKind

_FINE = frozenset({ComponentStatus.OPERATIONAL, ComponentStatus.UNDER_MAINTENANCE})


def standing(session: Session, *, house: House, person: Subscriber, now: datetime) -> Standing:
    """What concerns this person, in their language and zone. "All well" is said only when it is: an incident that
    was declared a minute ago has no words yet, and a component may be unwell without any."""
    session.flush()
    incidents = _concerning(session, person)
    told = [incident for incident in incidents if incident.version > 0]
    if told:
        matters = tuple(_matter(session, house, incident, person, now) for incident in told)
        return Standing(State.OPEN, now, person.zone, matters=matters)
    components = _followed(session, person)
    if incidents or any(component.status not in _FINE for component in components):
        return Standing(State.CHECKING, now, person.zone)
    worked_on = tuple(
        component.names.get(person.language) or component.names.get("en") or component.key
        for component in components
        if component.status is ComponentStatus.UNDER_MAINTENANCE
    )
    state = State.MAINTENANCE if worked_on else State.ALL_WELL
    return Standing(state, now, person.zone, worked_on=worked_on)


def _concerning(session: Session, person: Subscriber) -> Sequence[Incident]:
    """Unresolved incidents of which this person is, or will be, told; newest first."""
    theirs = select(Subscriber.id).where(Subscriber.id == person.id, concerned(Incident.id)).exists()
    return session.scalars(
        select(Incident).where(unresolved(), theirs).order_by(Incident.started_at.desc(), Incident.id.desc())
    ).all()


def _followed(session: Session, person: Subscriber) -> list[Component]:
    components = questions.components(session)
    if person.all_components:
        return components
    chosen = set(
        session.scalars(
            select(SubscriberComponent.component_id).where(SubscriberComponent.subscriber_id == person.id)
        )
    )
    return [component for component in components if component.id in chosen]


def _matter(session: Session, house: House, incident: Incident, person: Subscriber, now: datetime) -> Matter:
    """The newest update that says how things are: a holding update and a correction by themselves would not tell
    a newcomer what the matter is. What has been corrected in it since stands below it."""
    updates = questions.updates(session, incident.id)
    telling = next((update for update in updates if update.kind is UpdateKind.UPDATE), updates[-1])
    text = _page(session, house, telling, person, now)
    corrections = [
        Part(
            house.catalogue.say(
                person.language,
                "message.kind.correction",
                corrected_at=_said(corrected.published_at, person, now),
            ),
            tuple(_page(session, house, correction, person, now).known),
        )
        for correction, corrected in _corrections(telling, updates)
    ]
    known, you_can = (
        Part(house.catalogue.say(person.language, f"message.heading.{name}"), tuple(sentences))
        for name, sentences in (("known", text.known), ("you_can", text.you_can))
    )
    return Matter(
        headline=text.subject,
        parts=tuple(part for part in (known, *corrections, you_can) if part.sentences),
        next_update=_next_update(session, house, incident, person, now),
        corrected=bool(corrections),
    )


def _corrections(telling: Update, updates: Sequence[Update]) -> list[tuple[Update, Update]]:
    """(correction, what it corrects), oldest first, of `telling` and of its corrections."""
    known, found = {telling.id: telling}, []
    for update in sorted(updates, key=lambda each: each.number):
        corrected = known.get(update.corrects_update_id) if update.corrects_update_id else None
        if corrected is not None:
            known[update.id] = update
            found.append((update, corrected))
    return found


def _page(session: Session, house: House, update: Update, person: Subscriber, now: datetime) -> PageText:
    words = questions.wording(session, update.id, medium=Medium.PAGE, language=person.language)
    return render_page(house, words, zone=person.zone, now=now)


def _next_update(
    session: Session, house: House, incident: Incident, person: Subscriber, now: datetime
) -> str | None:
    """A time that has passed is not promised to somebody new."""
    promise = questions.open_promise(session, incident.id)
    if promise is None or is_overdue(promise.due_at, now=now):
        return None
    return house.catalogue.say(
        person.language, "message.update.next_update", next_update_by=_said(promise.due_at, person, now)
    )


def _said(instant: datetime, person: Subscriber, now: datetime) -> str:
    return say_time(instant, language=person.language, zone=person.zone, now=now)
