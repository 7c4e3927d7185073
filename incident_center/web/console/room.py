"""The incident room: what was said, what was promised, and the composer for what is said next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from flask import render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from incident_center import clock
from incident_center.delivery import questions as delivery
from incident_center.delivery.composer import render_page
from incident_center.delivery.questions import Progress
from incident_center.delivery.texts import PageText
from incident_center.errors import Flaw, NotThere
from incident_center.incidents import components, questions
from incident_center.incidents.preview import Preview, preview
from incident_center.incidents.questions import PromiseView
from incident_center.incidents.rules import ENDING, next_phases
from incident_center.incidents.scripts import (
    base_script,
    changes_against_script,
    phase_script,
    playbook_of,
    script_for,
)
from incident_center.incidents.verbs import correction_script, current_words, open_draft
from incident_center.models import Component, Draft, Incident, Update, UpdateFix
from incident_center.playbooks import Question, Words
from incident_center.staff import guard
from incident_center.states import Channel, ComponentStatus, Medium, Phase, UpdateKind
from incident_center.web.console import composer
from incident_center.web.console.blueprint import blueprint
from incident_center.web.console.composer import MINUTES, ComposerForm
from incident_center.web.context import center
from incident_center.web.local_times import fold_choices, next_local
from incident_center.web.numbers import row_number


@dataclass(frozen=True)
class UpdateView:
    """One update in the timeline, as customers read it and as the record keeps it."""

    update: Update
    pages: dict[str, PageText]
    promise: PromiseView | None
    progress: Progress
    fixes: list[UpdateFix]
    corrected: Update | None


@dataclass
class Desk:
    """Everything around the composer's fields."""

    form: ComposerForm
    phases: list[Phase]
    confirm: Sequence[str]
    never_say: Sequence[str]
    asked: Mapping[str, Question]
    minutes: list[int]
    scripted_minutes: int | None
    draft: Draft | None
    audience: dict[tuple[str, str], int]
    folds: list[tuple[str, datetime]] = field(default_factory=list)
    corrected: Update | None = None


@dataclass(frozen=True)
class Shown:
    """The live preview: every language, what was changed against the script, what is still wrong."""

    previews: list[Preview]
    changes: dict[str, list[dict[str, str | None]]]
    flaws: list[Flaw]
    next_update_by: datetime | None


@blueprint.get("/incidents/<int:incident_id>")
@guard.require("viewer")
def room(incident_id: int) -> ResponseReturnValue:
    """?phase= opens that phase, ?words=script its script instead of the last words, ?corrects= a correction."""
    now = clock.now()
    with center().database.reading() as session:
        incident = questions.incident(session, incident_id)
        form = start_form(session, incident)
        return room_page(session, incident, form, now=now)


def room_page(
    session: Session,
    incident: Incident,
    form: ComposerForm | None,
    *,
    now: datetime,
    flaws: Sequence[Flaw] = (),
    conflict: str = "",
    notice: str = "",
) -> str:
    views = timeline(session, incident, now=now)
    return render_template(
        "console/room.html",
        incident=incident,
        views=views,
        promise=views[0].promise if views else None,
        desk=build_desk(session, incident, form) if form else None,
        shown=show(session, incident, form, now=now) if form else None,
        components=incident.components,
        others=_others(session, incident),
        statuses=list(ComponentStatus),
        flaws=list(flaws),
        conflict=conflict,
        notice=notice,
        fields=composer.FIELDS,
        lists=composer.LISTS,
    )


def _others(session: Session, incident: Incident) -> list[Component]:
    """Components that the incident does not concern yet: an outage may spread to them."""
    concerned = {component.id for component in incident.components}
    return [component for component in questions.components(session) if component.id not in concerned]


def start_form(session: Session, incident: Incident) -> ComposerForm | None:
    """What the composer opens with: what was asked for, else the open draft, else the likely next words."""
    if not guard.may("lead"):
        return None
    draft, corrects = open_draft(session, incident.id), request.args.get("corrects", type=row_number)
    wanted = request.args.get("phase", "")
    if corrects is not None:
        form = _correction(session, incident, corrects)
    elif draft is not None and not wanted:
        form = composer.from_draft(draft, center().house.languages)
    elif incident.phase in ENDING:
        return None
    else:
        form = _from_script(session, incident, wanted)
    form.seen_version = incident.version
    if draft is not None:  # the open draft ends when this is published
        form.draft_id, form.draft_version = draft.id, draft.version
    return form


def _correction(session: Session, incident: Incident, update_id: int) -> ComposerForm:
    corrected = session.get(Update, update_id)
    if corrected is None or corrected.incident_id != incident.id:
        raise NotThere(f"update {update_id}")
    house = center().house
    form = composer.from_words(incident.phase, correction_script(house), house.languages)
    form.kind, form.corrects = UpdateKind.CORRECTION, update_id
    form.answers = {name: dict.fromkeys(house.languages, "") for name in house.library.correction.ask}
    form.next_update = "" if incident.phase in ENDING else "30"
    return form


def _from_script(session: Session, incident: Incident, wanted: str) -> ComposerForm:
    house = center().house
    phase = Phase(wanted) if wanted in next_phases(incident.phase) else incident.phase
    script = phase_script(house, incident, phase)
    words = script_for(house, incident, phase)
    last = next((u for u in questions.updates(session, incident.id) if u.kind is UpdateKind.UPDATE), None)
    goes_on = last is not None and last.phase is phase and request.args.get("words") != "script"
    if last is not None and goes_on:
        words = current_words(session, last)
    form = composer.from_words(phase, words, house.languages)
    form.goes_on_from = last.number if last is not None and goes_on else None
    if script is not None:
        form.next_update = str(script.next_update_minutes or "")
        if script.component_status:
            suggested = components.suggested(
                session, incident=incident, status=ComponentStatus(script.component_status)
            )
            form.status = {c.key: suggested[c.id].value for c in incident.components if c.id in suggested}
    elif phase not in ENDING:
        form.next_update = "30"
    return form


def build_desk(session: Session, incident: Incident, form: ComposerForm) -> Desk:
    house, person = center().house, guard.me()
    language = person.language if person else "en"
    updating = form.kind is UpdateKind.UPDATE
    script = phase_script(house, incident, form.phase) if updating else None
    playbook = playbook_of(house, incident)
    scripted = script.next_update_minutes if script else None
    return Desk(
        form=form,
        phases=[phase for phase in Phase if phase in next_phases(incident.phase)],
        confirm=script.to_confirm(language) if script else (),
        never_say=playbook.not_to_say(form.phase.value, language) if playbook and script else (),
        asked=house.library.correction.ask if form.kind is UpdateKind.CORRECTION else {},
        minutes=sorted({*MINUTES, *([scripted] if scripted else [])}),
        scripted_minutes=scripted,
        draft=open_draft(session, incident.id),
        audience=audience(session, incident, form),
        folds=_folds(form),
        corrected=session.get(Update, form.corrects) if form.corrects else None,
    )


def audience(session: Session, incident: Incident, form: ComposerForm) -> dict[tuple[str, str], int]:
    """(channel, language) -> people who would be written to now, with those of components that join."""
    concerned = [component.id for component in incident.components]
    joining = [component.id for component in _others(session, incident) if form.status.get(component.key)]
    counted = delivery.audience_counts(session, concerned + joining)
    return {(str(Channel(channel)), language): n for (channel, language), n in sorted(counted.items())}


def _folds(form: ComposerForm) -> list[tuple[str, datetime]]:
    """The two moments of a promised time that comes twice; [] for any other."""
    zone = center().house.zone
    local = next_local(form.next_at, zone=zone, now=clock.now()) if form.next_update == "at" else ""
    return fold_choices(local, zone)


def show(session: Session, incident: Incident, form: ComposerForm, *, now: datetime) -> Shown:
    house = center().house
    publication, flaws = composer.to_publication(
        form, components=questions.components(session), zone=house.zone, now=now
    )
    previews = [
        preview(
            session,
            house=house,
            incident=incident,
            publication=publication,
            language=language,
            zone=house.zone,
            now=now,
        )
        for language in house.languages
    ]
    script: Mapping[str, Words] = base_script(house, incident, publication)
    found = _merged(flaws, list(previews[0].flaws) if previews else [])
    return Shown(
        previews=previews,
        changes=changes_against_script(script, publication.words),
        flaws=found,
        next_update_by=publication.next_update_by,
    )


def _merged(mine: list[Flaw], theirs: list[Flaw]) -> list[Flaw]:
    """Ours say what is wrong with a field that could not be read at all; theirs would call it missing."""
    said = {flaw.field for flaw in mine}
    unreadable = {".".join(flaw.field.split(".")[:2]) for flaw in mine if flaw.field.startswith("words.")}
    return mine + [flaw for flaw in theirs if flaw.field not in said | unreadable]


def timeline(session: Session, incident: Incident, *, now: datetime) -> list[UpdateView]:
    updates = questions.updates(session, incident.id)
    ids = [update.id for update in updates]
    by_id = {update.id: update for update in updates}
    fixes = questions.fixes(session, ids)
    house = center().house
    words = {
        language: questions.wordings(session, ids, medium=Medium.PAGE, language=language)
        for language in house.languages
    }
    return [
        UpdateView(
            update=update,
            pages={
                language: render_page(house, found[update.id], zone=house.zone, now=now)
                for language, found in words.items()
                if update.id in found
            },
            promise=questions.promise_view(session, update.promise, now=now),
            progress=delivery.progress(session, update.id),
            fixes=fixes.get(update.id, []),
            corrected=by_id.get(update.corrects_update_id or 0),
        )
        for update in updates
    ]
