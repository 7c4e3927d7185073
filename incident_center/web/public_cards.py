"""What the public pages show, made from the incident room's rows; true even when every worker is dead."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from incident_center.delivery.composer import render_page
from incident_center.delivery.texts import PageText
from incident_center.house import House
from incident_center.incidents import questions, rules
from incident_center.incidents.questions import PromiseView
from incident_center.models import Component, Incident, Update, Wording
from incident_center.states import ComponentStatus, Impact, Medium, Phase, UpdateKind

WATCHING = "watching"
_CALM = {ComponentStatus.OPERATIONAL}
_SOME = {
    ComponentStatus.DEGRADED_PERFORMANCE: "some_degraded",
    ComponentStatus.MAJOR_OUTAGE: ComponentStatus.PARTIAL_OUTAGE.value,
}


@dataclass(frozen=True)
class UpdateCard:
    """One update in one language. `corrects`/`corrected_by` are the updates that belong together."""

    number: int
    kind: UpdateKind
    phase: Phase
    language: str
    text: PageText
    published_at: datetime
    promise: PromiseView | None
    corrects: Update | None
    corrected_by: tuple[Update, ...]
    fixed_at: datetime | None


@dataclass(frozen=True)
class IncidentCard:
    """An incident as customers know it.

    `latest` is the newest update and makes the promise. `standing` is the newest one that is neither a correction nor
    a holding update: it tells how things are, and its subject is the headline.
    """

    id: int
    ref: str
    phase: Phase
    impact: Impact
    over: bool
    started_at: datetime
    resolved_at: datetime | None
    components: tuple[str, ...]
    latest: UpdateCard
    standing: UpdateCard

    @property
    def headline(self) -> str:
        return self.standing.text.subject


@dataclass(frozen=True)
class PastIncident:
    """A line of the history: the subject of the first update says what it was about."""

    id: int
    ref: str
    over: bool
    started_at: datetime
    resolved_at: datetime | None
    headline: str


def in_language(names: dict[str, str], language: str) -> str:
    """A component's or incident's name; English, or whatever there is, where the language is missing."""
    return names.get(language) or names.get("en") or next(iter(names.values()), "")


def overall(components: list[Component], incidents: list[IncidentCard]) -> str:
    """A key of public.state: the worst component speaks; an open incident is never "all normal"."""
    worst = rules.worst([component.status for component in components])
    if worst in _SOME and any(component.status is not worst for component in components):
        return _SOME[worst]  # "payouts are not going through" would frighten those whose payouts run
    if worst not in _CALM or not incidents:
        return worst.value
    calm = all(card.phase is Phase.MONITORING for card in incidents)
    return WATCHING if calm else ComponentStatus.DEGRADED_PERFORMANCE.value


def open_cards(session: Session, *, house: House, language: str, now: datetime) -> list[IncidentCard]:
    """Unresolved incidents that have been told of, newest first, each with its latest update."""
    found = questions.open_incidents(session, public=True)
    return [_card(session, house, incident, language, now) for incident in found]


def incident_page(
    session: Session, *, house: House, incident_id: int, language: str, now: datetime
) -> tuple[IncidentCard, list[UpdateCard]]:
    """One incident with all its updates, newest first. Raises NotThere."""
    incident = questions.incident(session, incident_id, public=True)
    found = questions.updates(session, incident_id)
    updates = update_cards(session, house=house, updates=found, language=language, now=now)
    return _incident_card(incident, updates, language), updates


def past(
    session: Session,
    *,
    house: House,
    language: str,
    now: datetime,
    limit: int,
    before_id: int | None = None,
    resolved_only: bool = True,
) -> list[PastIncident]:
    """Incidents that were told of, newest first, in keyset pages."""
    found = questions.recent_incidents(session, limit=limit, before_id=before_id, resolved_only=resolved_only)
    ids = [incident.id for incident in found]
    numbered = select(Update).where(Update.incident_id.in_(ids), Update.number == 1)
    firsts = {first.incident_id: first.id for first in session.scalars(numbered)}
    words = _words(session, list(firsts.values()), language)
    return [
        PastIncident(
            id=incident.id,
            ref=incident.ref,
            over=incident.phase in rules.ENDING,
            started_at=incident.started_at,
            resolved_at=incident.resolved_at,
            headline=render_page(house, words[firsts[incident.id]], zone=house.zone, now=now).subject,
        )
        for incident in found
    ]


def update_cards(
    session: Session, *, house: House, updates: list[Update], language: str, now: datetime
) -> list[UpdateCard]:
    """Cards of one incident's updates in the order given, with corrections tied to what they correct."""
    ids = [update.id for update in updates]
    words = _words(session, ids, language)
    fixes = questions.fixes(session, ids)
    by_id = {update.id: update for update in updates}
    corrections: dict[int, list[Update]] = {}
    for update in sorted(updates, key=lambda each: each.number):
        if update.corrects_update_id is not None:
            corrections.setdefault(update.corrects_update_id, []).append(update)
    return [
        UpdateCard(
            number=update.number,
            kind=update.kind,
            phase=update.phase,
            language=words[update.id].language,
            text=render_page(house, words[update.id], zone=house.zone, now=now),
            published_at=update.published_at,
            promise=questions.promise_view(session, update.promise, now=now),
            corrects=by_id.get(update.corrects_update_id) if update.corrects_update_id else None,
            corrected_by=tuple(corrections.get(update.id, ())),
            fixed_at=fixes[update.id][-1].at if update.id in fixes else None,
        )
        for update in updates
    ]


def _card(session: Session, house: House, incident: Incident, language: str, now: datetime) -> IncidentCard:
    updates = questions.updates(session, incident.id)
    cards = update_cards(session, house=house, updates=updates, language=language, now=now)
    return _incident_card(incident, cards, language)


def _incident_card(incident: Incident, updates: list[UpdateCard], language: str) -> IncidentCard:
    standing = next((card for card in updates if card.kind is UpdateKind.UPDATE), updates[0])
    return IncidentCard(
        id=incident.id,
        ref=incident.ref,
        phase=incident.phase,
        impact=incident.impact,
        over=incident.phase in rules.ENDING,
        started_at=incident.started_at,
        resolved_at=incident.resolved_at,
        components=tuple(in_language(component.names, language) for component in incident.components),
        latest=updates[0],
        standing=standing,
    )


def _words(session: Session, update_ids: list[int], language: str) -> dict[int, Wording]:
    """Every update's words as they stand today, in English where the language is missing."""
    found = questions.wordings(session, update_ids, medium=Medium.PAGE, language=language)
    missing = [update_id for update_id in update_ids if update_id not in found]
    return found | {
        update_id: questions.wording(session, update_id, medium=Medium.PAGE, language=language)
        for update_id in missing
    }
