"""The board: what is open and until when, how promises were kept, the components, what is over."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from incident_center import clock
from incident_center.db import Database
from incident_center.delivery import installation
from incident_center.errors import Flaw, Refused
from incident_center.incidents import questions
from incident_center.incidents.drafts import open_draft
from incident_center.incidents.questions import KeptRate, PromiseView
from incident_center.incidents.verbs import set_component_status
from incident_center.models import Component, Incident, Update, WorkerBeat
from incident_center.staff import guard
from incident_center.states import ComponentStatus
from incident_center.web.console.blueprint import blueprint
from incident_center.web.context import center

WORKER_SILENT = timedelta(seconds=45)  # workers give a sign of life every ten seconds


@dataclass(frozen=True)
class Card:
    """One open incident on the board."""

    incident: Incident
    latest: Update | None
    promise: PromiseView | None
    draft_by: str | None


@dataclass(frozen=True)
class Board:
    cards: list[Card]
    kept: KeptRate
    components: list[Component]
    recent: list[Incident]
    worker_seen: datetime | None
    unwatched: bool
    unwritable: bool
    notes: list[WorkerBeat]
    held: bool


def read_board(session: Session, database: Database, *, now: datetime) -> Board:
    cards = [_card(session, incident, now) for incident in questions.open_incidents(session)]
    cards.sort(key=lambda card: card.promise.due_at if card.promise else now)  # the most pressing first
    seen = session.scalar(select(func.max(WorkerBeat.beat_at)))
    unwatched = seen is None or now - seen > WORKER_SILENT
    troubled = (WorkerBeat.note != "", WorkerBeat.beat_at > now - WORKER_SILENT)
    return Board(
        cards=cards,
        kept=questions.kept_rate(session),
        components=questions.components(session),
        recent=questions.recent_incidents(session, limit=8),
        worker_seen=seen,
        unwatched=unwatched,
        unwritable=unwatched and not database.takes_writes(),
        notes=list(session.scalars(select(WorkerBeat).where(*troubled).order_by(WorkerBeat.owner))),
        held=installation.is_held(session),
    )


def _card(session: Session, incident: Incident, now: datetime) -> Card:
    latest = questions.latest_update(session, incident.id)
    draft = open_draft(session, incident.id)
    return Card(
        incident=incident,
        latest=latest,
        promise=questions.promise_view(session, latest.promise if latest else None, now=now),
        draft_by=draft.saved_by if draft else None,
    )


@blueprint.get("/")
@guard.require("viewer")
def board() -> ResponseReturnValue:
    with center().database.reading() as session:
        board = read_board(session, center().database, now=clock.now())
        return render_template("console/board.html", board=board)


@blueprint.get("/board")
@guard.require("viewer")
def board_news() -> ResponseReturnValue:
    """The moving part of the board; the whole board for those who open it by hand."""
    if not request.headers.get("HX-Request"):
        return redirect(url_for("console.board"), 303)
    with center().database.reading() as session:
        board = read_board(session, center().database, now=clock.now())
        response = make_response(render_template("console/_board.html", board=board))
    response.headers["Vary"] = "HX-Request"
    return response


@blueprint.get("/components")
@guard.require("lead")
def components() -> ResponseReturnValue:
    with center().database.reading() as session:
        return _components_page(session)


@blueprint.post("/components/<int:component_id>")
@guard.require("lead")
def change_component(component_id: int) -> ResponseReturnValue:
    wanted = request.form.get("status", "")
    if wanted not in set(ComponentStatus):
        with center().database.reading() as session:
            page = _components_page(session, Flaw("status", "unknown", "Choose one of the statuses."))
        return page, 422
    try:
        with center().database.transaction() as session:
            set_component_status(
                session,
                component_id=component_id,
                status=ComponentStatus(wanted),
                by=guard.by(),
                now=clock.now(),
            )
    except Refused as refused:
        with center().database.reading() as session:
            return _components_page(session, *refused.flaws), 422
    return redirect(url_for("console.components", changed=component_id), 303)


def _components_page(session: Session, *flaws: Flaw) -> str:
    return render_template(
        "console/components.html",
        components=questions.components(session),
        statuses=list(ComponentStatus),
        changed=request.args.get("changed", type=int),
        flaws=flaws,
    )
