"""What the composer's buttons do: save, discard, preview, publish. Whatever is refused keeps every typed word."""

from flask import make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from incident_center import clock
from incident_center.errors import Conflict, Flaw, Refused
from incident_center.incidents import questions
from incident_center.incidents.verbs import discard_draft, open_draft, publish_update, save_draft, withdraw
from incident_center.staff import audit, guard
from incident_center.web.console import composer
from incident_center.web.console.blueprint import blueprint
from incident_center.web.console.composer import ComposerForm
from incident_center.web.console.room import room_page, show
from incident_center.web.context import center


@blueprint.post("/incidents/<int:incident_id>/publish")
@guard.require("lead")
def publish(incident_id: int) -> ResponseReturnValue:
    now, house, form = clock.now(), center().house, None
    try:
        with center().database.transaction() as session:
            incident = questions.incident(session, incident_id)
            form = _read(session)
            publication, flaws = composer.to_publication(
                form, components=questions.components(session), zone=house.zone, now=now
            )
            composer.refuse(show(session, incident, form, now=now).flaws if flaws else [])
            update = publish_update(
                session, house=house, incident_id=incident_id, publication=publication, by=guard.by(), now=now
            )
    except Refused as refused:
        return _again(incident_id, form, flaws=refused.flaws), 422
    except Conflict as conflict:
        return _again(incident_id, form, conflict=str(conflict)), 409
    return redirect(url_for("console.room", incident_id=incident_id, _anchor=f"update-{update.number}"), 303)


@blueprint.post("/incidents/<int:incident_id>/draft")
@guard.require("lead")
def draft(incident_id: int) -> ResponseReturnValue:
    form = None
    try:
        with center().database.transaction() as session:
            questions.incident(session, incident_id)
            form = _read(session)
            save_draft(
                session,
                incident_id=incident_id,
                draft=composer.to_draft(form),
                version=form.draft_version,
                by=guard.by(),
                now=clock.now(),
            )
    except Refused as refused:
        return _again(incident_id, form, flaws=refused.flaws), 422
    except Conflict as conflict:
        return _again(incident_id, form, conflict=str(conflict)), 409
    return redirect(url_for("console.room", incident_id=incident_id, _anchor="composer"), 303)


@blueprint.post("/incidents/<int:incident_id>/withdraw")
@guard.require("lead")
def withdraw_declaration(incident_id: int) -> ResponseReturnValue:
    """Declared by mistake: ended without a word to anybody, as long as nobody has been told."""
    try:
        with center().database.transaction() as session:
            withdraw(session, incident_id=incident_id, by=guard.by(), now=clock.now())
    except Conflict as conflict:
        return _again(incident_id, None, conflict=str(conflict)), 409
    return redirect(url_for("console.board"), 303)


@blueprint.post("/incidents/<int:incident_id>/discard")
@guard.require("lead")
def discard(incident_id: int) -> ResponseReturnValue:
    with center().database.transaction() as session:
        questions.incident(session, incident_id)
        if discard_draft(session, incident_id=incident_id):
            audit.record(
                session, by=guard.by(), action="draft.discarded", incident_id=incident_id, now=clock.now()
            )
    return redirect(url_for("console.room", incident_id=incident_id, _anchor="composer"), 303)


@blueprint.post("/incidents/<int:incident_id>/preview")
@guard.require("lead")
def preview(incident_id: int) -> ResponseReturnValue:
    """The preview alone for htmx; without JavaScript the whole room with what was typed. Saves nothing."""
    with center().database.reading() as session:
        incident = questions.incident(session, incident_id)
        form = _read(session)
        now = clock.now()
        if request.headers.get("HX-Request"):
            page = render_template(
                "console/_preview.html",
                incident=incident,
                form=form,
                shown=show(session, incident, form, now=now),
                swapped=True,
            )
        else:
            page = room_page(session, incident, form, now=now, notice="Nothing has been published yet.")
    response = make_response(page)
    response.headers["Vary"] = "HX-Request"
    return response


def _read(session: Session) -> ComposerForm:
    house = center().house
    return composer.from_browser(
        request.form,
        languages=house.languages,
        asked=house.library.correction.ask if request.form.get("kind") == "correction" else (),
        keys=[component.key for component in questions.components(session)],
    )


def _again(
    incident_id: int, form: ComposerForm | None, *, flaws: tuple[Flaw, ...] = (), conflict: str = ""
) -> str:
    """The room with everything that was typed. After a conflict the form has seen what the other did."""
    with center().database.reading() as session:
        incident = questions.incident(session, incident_id)
        if form is not None and conflict:
            kept = open_draft(session, incident_id)
            form.seen_version = incident.version
            form.draft_id, form.draft_version = (kept.id, kept.version) if kept else (None, None)
        return room_page(session, incident, form, now=clock.now(), flaws=flaws, conflict=conflict)
