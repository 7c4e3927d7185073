"""Errors as pages that say what happened and what to do; under /api/ as problem+json (RFC 9457)."""

import json
from dataclasses import dataclass

import structlog
from flask import Flask, Response, make_response, render_template, request
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException, SecurityError

from incident_center.errors import Conflict, Flaw, NotThere, Refused
from incident_center.web.language import template_words

RETRY_SECONDS = 5
STAFF_PATHS = ("/console", "/agent", "/sign-in", "/sign-out", "/mailbox")
_FOR_CUSTOMERS = {404: "not_there", 429: "trouble.too_many", 503: "trouble.away"}
_log = structlog.get_logger()


@dataclass(frozen=True)
class Page:
    title: str
    advice: str


PAGES = {
    400: Page("That request could not be read", "Go back, reload the page and try again."),
    401: Page(
        "You are signed out",
        "Sign in in another tab, come back and send it again: your browser has kept what you typed.",
    ),
    403: Page("Not yours to open", "Your role does not include this page. Ask an admin if it should."),
    404: Page("Nothing here", "The address is wrong, or what stood here has gone."),
    405: Page("Not like this", "This address does not take that kind of request."),
    409: Page("Somebody else was first", "Nothing was changed. Reload to see what happened, then decide."),
    413: Page("That is too much at once", "A request may be at most 1 MB. Shorten it or send it in parts."),
    422: Page("That cannot be accepted", "Nothing was changed. Mend what is listed and send it again."),
    429: Page("Too many tries", "Wait a minute, then try again."),
    500: Page("Something broke on our side", "It has been noted. Try again; if it stays, tell the operator."),
    503: Page(
        "Unavailable for a moment",
        "The database does not answer. Nothing that you sent was saved; keep this page open and try again.",
    ),
}


def install(app: Flask) -> None:
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(SecurityError, _other_host)
    app.register_error_handler(CSRFError, _csrf)
    app.register_error_handler(NotThere, lambda _error: answer(404))
    app.register_error_handler(Conflict, lambda error: answer(409, detail=str(error)))
    app.register_error_handler(Refused, lambda error: answer(422, flaws=error.flaws))
    for kind in (OperationalError, InterfaceError, PoolTimeout):
        app.register_error_handler(kind, _unavailable)
    app.register_error_handler(DBAPIError, _database)
    app.register_error_handler(500, _broken)
    # Flask's own line names the address as it was asked for, which may be a customer's key; _broken tells of it.
    app.log_exception = lambda *_: None  # type: ignore[method-assign]  # Flask's documented way


def answer(status: int, *, detail: str = "", flaws: tuple[Flaw, ...] = ()) -> Response:
    """The error as the kind of client that asked can read it."""
    page = PAGES.get(status) or Page("That did not work", "Go back and try again.")
    if request.path.startswith("/api/"):
        return _problem(status, page, detail, flaws)
    if not request.path.startswith(STAFF_PATHS):
        return _for_customers(status)
    body = render_template("errors/error.html", status=status, page=page, detail=detail, flaws=flaws)
    return make_response(body, status)


def _for_customers(status: int) -> Response:
    """In the reader's language, without a number and without advice for operators."""
    words = _FOR_CUSTOMERS.get(status, "trouble.broken")
    body = render_template("public/trouble.html", words=f"public.{words}", **template_words())
    return make_response(body, status)


def _problem(status: int, page: Page, detail: str, flaws: tuple[Flaw, ...]) -> Response:
    body: dict[str, object] = {
        "type": f"urn:incident-center:{status}",
        "title": page.title,
        "status": status,
        "detail": detail or page.advice,
        "errors": [{"field": f.field, "code": f.code, "message": f.message} for f in flaws],
    }
    return Response(json.dumps(body), status, content_type="application/problem+json")


def _http(error: HTTPException) -> Response:
    if error.response is not None:  # a view aborted with an answer of its own
        return error.response  # type: ignore[return-value]  # Flask's views make Flask's responses
    response = answer(error.code or 500)
    for name, value in error.get_headers():
        if name.lower() in {"allow", "retry-after", "www-authenticate"}:
            response.headers[name] = value
    return response


def _other_host(_: SecurityError) -> Response:
    """Asked for under a name that is not ours: no addresses can be made for it, so there is no page to show."""
    return Response("This address does not belong to us.\n", 400, mimetype="text/plain")


def _csrf(_: CSRFError) -> Response:
    return answer(400, detail="The form had expired or came from another site. Reload it and send it again.")


def _unavailable(error: Exception) -> Response:
    _log.error("database unavailable", kind=type(error).__name__)
    response = answer(503)
    response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response


def _database(error: DBAPIError) -> Response:
    return _unavailable(error) if error.connection_invalidated else _broken(error)


def _broken(error: Exception) -> Response:
    original = getattr(error, "original_exception", None) or error
    rule = request.url_rule.rule if request.url_rule else ""
    _log.error("request failed", kind=type(original).__name__, rule=rule, exc_info=original)
    return answer(500)
