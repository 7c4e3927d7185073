"""The silent fix of a typo: pages and agents show the fixed words, nobody is written to, both versions are kept."""

from collections.abc import Mapping

from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from incident_center import clock
from incident_center.errors import Flaw, NotThere, Refused
from incident_center.incidents.verbs import current_words, fix_typo
from incident_center.models import Update
from incident_center.staff import guard
from incident_center.web.console.blueprint import blueprint
from incident_center.web.console.composer import FIELDS, LISTS, read_words, refuse, typed_words
from incident_center.web.context import center


@blueprint.get("/updates/<int:update_id>/fix")
@guard.require("lead")
def fix_form(update_id: int) -> ResponseReturnValue:
    with center().database.reading() as session:
        update = _update(session, update_id)
        words = {
            language: typed_words(found.model_dump(mode="json"))
            for language, found in current_words(session, update).items()
        }
        return _page(update, words, reason="")


@blueprint.post("/updates/<int:update_id>/fix")
@guard.require("lead")
def fix(update_id: int) -> ResponseReturnValue:
    typed: dict[str, dict[str, str]] = {}
    reason = request.form.get("reason", "").strip()
    try:
        with center().database.transaction() as session:
            update = _update(session, update_id)
            typed = {
                language: {name: request.form.get(f"words.{language}.{name}", "") for name in FIELDS}
                for language in update.words
            }
            words, flaws = read_words(typed)
            if not reason:
                flaws.append(Flaw("reason", "missing", "Say in a few words what was mistyped."))
            refuse(flaws)
            fix_typo(
                session,
                house=center().house,
                update_id=update_id,
                words=words,
                reason=reason,
                by=guard.by(),
                now=clock.now(),
            )
            anchor, incident_id = f"update-{update.number}", update.incident_id
    except Refused as refused:
        with center().database.reading() as session:
            return _page(_update(session, update_id), typed, reason, *refused.flaws), 422
    return redirect(url_for("console.room", incident_id=incident_id, _anchor=anchor), 303)


def _update(session: Session, update_id: int) -> Update:
    update = session.get(Update, update_id)
    if update is None:
        raise NotThere(f"update {update_id}")
    return update


def _page(update: Update, words: Mapping[str, Mapping[str, str]], reason: str, *flaws: Flaw) -> str:
    return render_template(
        "console/fix.html",
        update=update,
        incident=update.incident,
        words=words,
        reason=reason,
        flaws=flaws,
        fields=FIELDS,
        lists=LISTS,
    )
