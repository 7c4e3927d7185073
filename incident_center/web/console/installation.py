"""A restored or copied database sends nothing until a lead says that this is the installation that writes."""

from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from incident_center import clock
from incident_center.delivery import installation
from incident_center.errors import Flaw
from incident_center.staff import audit, guard
from incident_center.web.console.blueprint import blueprint
from incident_center.web.context import center


@blueprint.get("/installation")
@guard.require("viewer")
def held_installation() -> ResponseReturnValue:
    with center().database.reading() as session:
        return _page(held=installation.is_held(session))


@blueprint.post("/installation")
@guard.require("lead")
def confirm_installation() -> ResponseReturnValue:
    if request.form.get("sure") != "yes":
        flaw = Flaw(
            "sure", "missing", "Tick the box first: two installations must not write to the same customers."
        )
        return _page(flaw, held=True), 422
    ended = 0
    with center().database.transaction() as session:
        if installation.is_held(session):
            now = clock.now()
            ended = installation.confirm(session, by=guard.by(), now=now)
            audit.record(session, by=guard.by(), action="installation.confirmed", now=now)
    return redirect(url_for("console.held_installation", ended=ended), 303)


def _page(*flaws: Flaw, held: bool) -> str:
    ended = request.args.get("ended", type=int)
    return render_template("console/installation.html", held=held, ended=ended, flaws=flaws)
