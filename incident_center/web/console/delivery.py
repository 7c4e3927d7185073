"""The delivery of one update as the lead sees it, and what a lead may do about it."""

from datetime import UTC, datetime

from flask import Response, current_app, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from incident_center import clock
from incident_center.delivery import resend
from incident_center.delivery.call_list import call_list
from incident_center.delivery.cancel import rest_of
from incident_center.delivery.not_reached import not_reached
from incident_center.delivery.speed import Readings
from incident_center.delivery.state_words import STATES
from incident_center.errors import Conflict, Flaw, NotThere, Refused
from incident_center.incidents import verbs
from incident_center.incidents.sending import WHY_NOT
from incident_center.models import Update
from incident_center.staff import guard
from incident_center.states import DeliveryState
from incident_center.web.console.blueprint import blueprint
from incident_center.web.console.delivery_view import Panel, read_panel
from incident_center.web.context import center
from incident_center.web.numbers import row_number

_FUTURE = "This page is too old or was changed on its way. Reload it and choose again."


@blueprint.get("/updates/<int:update_id>/delivery")
@guard.require("viewer")
def delivery(update_id: int) -> ResponseReturnValue:
    """?reason= unfolds the people of that reason; ?stopped= and ?again= tell what has just been done."""
    with center().database.reading() as session:
        panel = _panel(session, update_id)
        return render_template(
            "console/delivery.html",
            panel=panel,
            incident=panel.update.incident,
            stopped=request.args.get("stopped", type=row_number),
            again=request.args.get("again", type=row_number),
        )


@blueprint.get("/updates/<int:update_id>/delivery/panel")
@guard.require("viewer")
def delivery_panel(update_id: int) -> ResponseReturnValue:
    """What moves; the whole page for those who open it by hand."""
    if not request.headers.get("HX-Request"):
        reason = request.args.get("reason")
        return redirect(url_for("console.delivery", update_id=update_id, reason=reason), 303)
    with center().database.reading() as session:
        panel = _panel(session, update_id)
        response = make_response(render_template("console/_delivery.html", panel=panel))
    response.headers["Vary"] = "HX-Request"
    return response


@blueprint.get("/updates/<int:update_id>/delivery/stop")
@guard.require("lead")
def stop_form(update_id: int) -> ResponseReturnValue:
    with center().database.reading() as session:
        return _stop_page(session, update_id)


@blueprint.post("/updates/<int:update_id>/delivery/stop")
@guard.require("lead")
def stop(update_id: int) -> ResponseReturnValue:
    try:
        with center().database.transaction() as session:
            number = verbs.stop_sending(session, update_id=update_id, by=guard.by(), now=clock.now())
    except Conflict as conflict:
        with center().database.reading() as session:
            return _stop_page(session, update_id, conflict=str(conflict)), 409
    return redirect(url_for("console.delivery", update_id=update_id, stopped=number), 303)


@blueprint.get("/updates/<int:update_id>/delivery/again")
@guard.require("lead")
def again_form(update_id: int) -> ResponseReturnValue:
    with center().database.reading() as session:
        return _again_page(session, update_id)


@blueprint.post("/updates/<int:update_id>/delivery/again")
@guard.require("lead")
def again(update_id: int) -> ResponseReturnValue:
    chosen = {state for state in resend.AGAIN if state.value in request.form.getlist("states")}
    now = clock.now()
    try:
        with center().database.transaction() as session:
            number = verbs.send_again(
                session,
                update_id=update_id,
                states=chosen,
                as_of=_as_of(now),
                by=guard.by(),
                now=now,
            )
    except Refused as refused:
        with center().database.reading() as session:
            return _again_page(session, update_id, chosen=chosen, flaws=refused.flaws), 422
    except Conflict as conflict:
        with center().database.reading() as session:
            return _again_page(session, update_id, chosen=chosen, conflict=str(conflict)), 409
    return redirect(url_for("console.delivery", update_id=update_id, again=number), 303)


@blueprint.post("/updates/<int:update_id>/delivery/call-list")
@guard.require("lead")
def take_call_list(update_id: int) -> ResponseReturnValue:
    """A POST, because taking people's numbers along is noted; the file is written while it is read."""
    here, now = center(), clock.now()
    with here.database.transaction() as session:
        update = verbs.note_call_list(session, update_id=update_id, by=guard.by(), now=now)
        name = f"{update.incident.ref}-update-{update.number}-not-reached.csv"
    response = Response(
        call_list(not_reached(here.database, update_id, now=now), zone=here.house.zone),
        content_type="text/csv; charset=utf-8",
    )
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = "no-store"
    return response


def _panel(session: Session, update_id: int) -> Panel:
    here = center()
    readings: Readings = current_app.extensions.setdefault("incident_center_readings", Readings())
    return read_panel(
        session,
        _update(session, update_id),
        settings=here.settings,
        zone=here.house.zone,
        readings=readings,
        open_reason=request.args.get("reason", "")[:12],
        now=clock.now(),
    )


def _stop_page(session: Session, update_id: int, *, conflict: str = "") -> str:
    update = _update(session, update_id)
    return render_template(
        "console/delivery_stop.html",
        update=update,
        incident=update.incident,
        rest=rest_of(session, update_id),
        conflict=conflict,
    )


def _again_page(
    session: Session,
    update_id: int,
    *,
    chosen: set[DeliveryState] | None = None,
    flaws: tuple[Flaw, ...] = (),
    conflict: str = "",
) -> str:
    """Who certainly has not got it is chosen beforehand; who may have it never is."""
    update, now = _update(session, update_id), clock.now()
    reason = resend.why_not(session, update_id, now=now)
    return render_template(
        "console/delivery_again.html",
        update=update,
        incident=update.incident,
        groups=resend.groups(session, update_id, as_of=now),
        chosen=set(resend.CERTAINLY_NOT) if chosen is None else chosen,
        as_of=now.isoformat(),
        words=STATES,
        why_not=conflict or (WHY_NOT[reason] if reason else ""),
        flaws=flaws,
    )


def _as_of(now: datetime) -> datetime:
    """When the lead saw the numbers. Raises Refused for what is no time of the past."""
    try:
        seen = datetime.fromisoformat(request.form.get("as_of", ""))
        if seen.tzinfo is not None and seen <= now:
            return seen.astimezone(UTC)
    except (ValueError, OverflowError):  # the year 1, before UTC has one
        pass
    raise Refused(Flaw("as_of", "invalid", _FUTURE))


def _update(session: Session, update_id: int) -> Update:
    update = session.get(Update, update_id)
    if update is None:
        raise NotThere(f"update {update_id}")
    return update
