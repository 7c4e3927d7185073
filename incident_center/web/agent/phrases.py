"""Phrases for the hard moments of a call or chat, with a search over titles, situations and words."""

from collections.abc import Iterable

from flask import make_response, render_template, request
from flask.typing import ResponseReturnValue

from incident_center.playbooks import Phrase
from incident_center.staff import guard
from incident_center.web.agent.blueprint import blueprint
from incident_center.web.context import center


def find_phrases(phrases: Iterable[Phrase], query: str) -> list[Phrase]:
    """Those that hold every word of the query in any language, wherever it stands. Pure."""
    wanted = query.casefold().split()
    return [phrase for phrase in phrases if all(word in _all_text(phrase) for word in wanted)]


def _all_text(phrase: Phrase) -> str:
    said = [text for variants in phrase.say.values() for text in variants]
    return " ".join([phrase.key, *phrase.title.values(), *phrase.when.values(), *said]).casefold()


@blueprint.get("/phrases")
@guard.require("viewer")
def phrases() -> ResponseReturnValue:
    """The list alone for htmx; a page of its own for everybody else."""
    query = request.args.get("q", "")
    found = find_phrases(center().house.library.phrases.values(), query)
    template = "agent/_phrases.html" if request.headers.get("HX-Request") else "agent/phrases.html"
    response = make_response(render_template(template, phrases=found, query=query))
    response.headers["Vary"] = "HX-Request"
    return response
