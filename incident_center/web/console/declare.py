"""Declare an incident: choose a playbook, answer its questions, check what is affected."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime

from flask import abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from incident_center import clock
from incident_center.errors import Flaw, Refused
from incident_center.incidents import questions
from incident_center.incidents.inputs import Declaration
from incident_center.incidents.verbs import declare
from incident_center.playbooks import IMPACTS, Playbook
from incident_center.staff import guard
from incident_center.states import Impact
from incident_center.web.console.blueprint import blueprint
from incident_center.web.context import center
from incident_center.web.local_times import fold_choices, local_text, read_local
from incident_center.web.numbers import row_numbers


@dataclass
class DeclareForm:
    """What stands in the form, as typed."""

    impact: str
    started_at: str
    component_ids: set[int]
    form_key: str
    fold: str = ""
    answers: dict[str, dict[str, str]] = field(default_factory=dict)


@blueprint.get("/declare")
@guard.require("lead")
def choose_playbook() -> ResponseReturnValue:
    worst_first = sorted(
        center().house.library.playbooks.values(),
        key=lambda playbook: (-IMPACTS.index(playbook.impact), playbook.title["en"]),
    )
    return render_template("console/choose.html", playbooks=worst_first)


@blueprint.get("/declare/<key>")
@guard.require("lead")
def declare_form(key: str) -> ResponseReturnValue:
    playbook = _playbook(key)
    with center().database.reading() as session:
        ticked = {c.id for c in questions.components(session) if c.key in playbook.components}
        form = DeclareForm(
            impact=playbook.impact,
            started_at=local_text(clock.now(), center().house.zone),
            component_ids=ticked,
            form_key=uuid.uuid4().hex,
        )
        return _page(session, playbook, form)


@blueprint.post("/declare/<key>")
@guard.require("lead")
def declare_incident(key: str) -> ResponseReturnValue:
    playbook = _playbook(key)
    form = _read(playbook)
    try:
        declaration = _declaration(playbook, form)
        with center().database.transaction() as session:
            incident = declare(
                session, house=center().house, declaration=declaration, by=guard.by(), now=clock.now()
            )
    except Refused as refused:
        with center().database.reading() as session:
            return _page(session, playbook, form, *refused.flaws), 422
    return redirect(url_for("console.room", incident_id=incident.id), 303)


def _playbook(key: str) -> Playbook:
    return center().house.library.playbooks.get(key) or abort(404)


def _read(playbook: Playbook) -> DeclareForm:
    typed = request.form
    return DeclareForm(
        impact=typed.get("impact", ""),
        started_at=typed.get("started_at", ""),
        fold=typed.get("fold", ""),
        component_ids=row_numbers(typed.getlist("components")),
        form_key=typed.get("form_key", "")[:64],
        answers={
            name: {lang: typed.get(f"answers.{name}.{lang}", "") for lang in center().house.languages}
            for name in playbook.ask
        },
    )


def _declaration(playbook: Playbook, form: DeclareForm) -> Declaration:
    """Raises Refused for what the verb cannot be asked."""
    flaws: list[Flaw] = []
    started_at: datetime | None = None
    try:
        started_at = read_local("started_at", form.started_at, zone=center().house.zone, fold=form.fold)
    except Refused as refused:
        flaws += refused.flaws
    if form.impact not in set(Impact):
        flaws.append(Flaw("impact", "missing", "Choose how much this hurts customers."))
    if flaws or started_at is None:
        raise Refused(*flaws)
    return Declaration(
        playbook=playbook.key,
        component_ids=tuple(sorted(form.component_ids)),
        impact=Impact(form.impact),
        started_at=started_at,
        answers=form.answers,
        form_key=form.form_key or None,
    )


def _page(session: Session, playbook: Playbook, form: DeclareForm, *flaws: Flaw) -> str:
    return render_template(
        "console/declare.html",
        playbook=playbook,
        form=form,
        components=questions.components(session),
        impacts=list(Impact),
        folds=fold_choices(form.started_at, center().house.zone),
        flaws=flaws,
    )
