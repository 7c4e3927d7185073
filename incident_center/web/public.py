"""The public pages: the state now, one incident, the history. They need neither a sign-in nor JavaScript."""

from flask import Blueprint, Response, make_response, render_template, request

from incident_center import clock
from incident_center.errors import NotThere
from incident_center.incidents import questions
from incident_center.web import public_cards
from incident_center.web.context import center
from incident_center.web.language import page_language, remember, template_words
from incident_center.web.numbers import row_number
from incident_center.web.subscriber_forms import channels_offered

blueprint = Blueprint("public", __name__)
blueprint.context_processor(template_words)
blueprint.after_request(remember)

CACHE_SECONDS = (
    10  # a reload storm costs one rendering in ten seconds for each proxy, and news is never older
)
RECENT = 5
A_PAGE = 25


@blueprint.get("/")
def home() -> Response:
    """The state of every component, and each open incident with its newest update and promise."""
    house, language, now = center().house, page_language(), clock.now()
    with center().database.reading() as session:
        components = questions.components(session)
        incidents = public_cards.open_cards(session, house=house, language=language, now=now)
        recent = public_cards.past(session, house=house, language=language, now=now, limit=RECENT)
    return _kept_briefly(
        render_template(
            "public/home.html",
            now=now,
            overall=public_cards.overall(components, incidents),
            components=[(public_cards.in_language(c.names, language), c.status.value) for c in components],
            incidents=incidents,
            recent=recent,
            channels=channels_offered(house),
        )
    )


@blueprint.get("/i/<int:incident_id>")
def incident(incident_id: int) -> Response:
    """Everything that was written about one incident, newest first."""
    house, language, now = center().house, page_language(), clock.now()
    with center().database.reading() as session:
        card, updates = public_cards.incident_page(
            session, house=house, incident_id=incident_id, language=language, now=now
        )
    return _kept_briefly(
        render_template(
            "public/incident.html", now=now, incident=card, updates=updates, channels=channels_offered(house)
        )
    )


@blueprint.get("/history")
def history() -> Response:
    """All incidents, in pages, and how the house has kept its promises."""
    house, language, now = center().house, page_language(), clock.now()
    before = request.args.get("before", type=row_number)
    with center().database.reading() as session:
        found = public_cards.past(
            session,
            house=house,
            language=language,
            now=now,
            limit=A_PAGE + 1,
            before_id=before,
            resolved_only=False,
        )
        kept = questions.kept_rate(session)
    older = found[A_PAGE - 1].id if len(found) > A_PAGE else None
    return _kept_briefly(
        render_template("public/history.html", now=now, incidents=found[:A_PAGE], older=older, kept=kept)
    )


@blueprint.errorhandler(NotThere)
def not_there(_: NotThere) -> Response:
    return make_response(render_template("public/not_there.html"), 404)


def _kept_briefly(page: str) -> Response:
    """The same for everybody who reads this language, so caches may answer, but only for moments."""
    response = make_response(page)
    response.headers["Cache-Control"] = f"public, max-age={CACHE_SECONDS}"
    response.add_etag()
    response.make_conditional(request)
    return response
