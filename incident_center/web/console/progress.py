"""The moving parts of the room: the promise and the deliveries. Each partial polls and ends its polling itself."""

from flask import make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from incident_center import clock
from incident_center.delivery import questions as delivery
from incident_center.errors import NotThere
from incident_center.incidents import questions
from incident_center.models import Update
from incident_center.staff import guard
from incident_center.web.console.blueprint import blueprint
from incident_center.web.context import center


@blueprint.get("/incidents/<int:incident_id>/promise")
@guard.require("viewer")
def promise(incident_id: int) -> ResponseReturnValue:
    """?seen= is the number of updates that the page shows; a newer one is announced, the page stays as it is."""
    if not request.headers.get("HX-Request"):
        return redirect(url_for("console.room", incident_id=incident_id), 303)
    with center().database.reading() as session:
        incident = questions.incident(session, incident_id)
        latest = questions.latest_update(session, incident_id)
        page = render_template(
            "console/_promise.html",
            incident=incident,
            latest=latest,
            promise=questions.promise_view(session, latest.promise if latest else None, now=clock.now()),
            seen=request.args.get("seen", incident.version, type=int),
        )
    return _partial(page)


@blueprint.get("/updates/<int:update_id>/progress")
@guard.require("viewer")
def progress(update_id: int) -> ResponseReturnValue:
    with center().database.reading() as session:
        update = session.get(Update, update_id)
        if update is None:
            raise NotThere(f"update {update_id}")
        if not request.headers.get("HX-Request"):
            return redirect(url_for("console.room", incident_id=update.incident_id), 303)
        page = render_template(
            "console/_progress.html", update=update, progress=delivery.progress(session, update_id)
        )
    return _partial(page)


def _partial(page: str) -> ResponseReturnValue:
    response = make_response(page)
    response.headers["Vary"] = "HX-Request"
    return response
