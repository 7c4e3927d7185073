"""The agent's page, and the small question it keeps asking: are these still the newest words?"""

from flask import make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from incident_center import clock
from incident_center.incidents.questions import OVERDUE
from incident_center.incidents.snippets import CHANNELS
from incident_center.staff import guard
from incident_center.web.agent.blueprint import blueprint
from incident_center.web.agent.phrases import find_phrases
from incident_center.web.agent.snippets import current_words
from incident_center.web.context import center


@blueprint.get("/")
@guard.require("viewer")
def page() -> ResponseReturnValue:
    query = request.args.get("q", "")
    with center().database.reading() as session:
        words = current_words(session, house=center().house, now=clock.now())
        return render_template(
            "agent/page.html",
            words=words,
            channels=CHANNELS,
            phrases=find_phrases(center().house.library.phrases.values(), query),
            query=query,
        )


@blueprint.get("/news")
@guard.require("viewer")
def news() -> ResponseReturnValue:
    """?seen= is the version on screen. What is on screen stays until the agent takes the new words."""
    if not request.headers.get("HX-Request"):
        return redirect(url_for("agent.page"), 303)
    seen = request.args.get("seen", "")
    with center().database.reading() as session:
        words = current_words(session, house=center().house, now=clock.now())
        late = any(
            told.situation.promise is not None and told.situation.promise.state == OVERDUE
            for told in words.situations
        )
        response = make_response(
            render_template(
                "agent/_news.html", seen=seen, words=words, stale=seen != words.version, late=late
            )
        )
    response.headers["Vary"] = "HX-Request"
    return response
