"""The blueprint that every call hangs on, and what it asks of each request before a call sees it.

Order: how often (429), how large (413), who (401), may they (403), is it JSON (415, 400), does it fit (422).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, TypeVar

from flask import Response, current_app, g, request
from flask_limiter import Limiter
from flask_openapi.blueprint import APIBlueprint
from limits import parse as parse_limit
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from incident_center.center import Center
from incident_center.errors import Conflict, Flaw, NotThere, Refused
from incident_center.integrations.api_v1 import problems
from incident_center.integrations.api_v1.callers import Caller, caller_of, may
from incident_center.integrations.api_v1.problems import Stop

PREFIX = "/api/v1"
MAX_BODY_BYTES = 256 * 1024  # every language's words of one update are about 20 kB
DEFAULT_LIMIT = "1200 per minute"  # per token; the worst of polling clients asks once a second

Answered = (
    Response | dict[str, Any] | tuple[dict[str, Any], int]
)  # flask.typing's own cannot be resolved at run time
View = TypeVar("View", bound=Callable[..., Any])


def _operation_id(name: str = "", **_: str) -> str:
    """The view's name: what generated clients call their method."""
    return name


api = APIBlueprint("api_v1", __name__, url_prefix=PREFIX, operation_id_callback=_operation_id)


def center() -> Center:
    found: Center = current_app.extensions["incident_center"]
    return found


def roles(*allowed: str) -> Callable[[View], View]:
    """The token's roles that may make this call; without it a call is public (the OpenAPI document alone is)."""

    def mark(view: View) -> View:
        view.api_roles = frozenset(allowed)  # type: ignore[attr-defined]  # read by _admit and by the document
        return view

    return mark


def caller() -> Caller:
    """Whose token this request carries."""
    found: Caller = g.api_caller
    return found


@api.before_request
def _admit() -> None:
    _limit()
    request.max_content_length = MAX_BODY_BYTES
    allowed = getattr(current_app.view_functions[request.endpoint or ""], "api_roles", None)
    if allowed is not None:
        g.api_caller = caller_of(center(), request.headers.get("Authorization", ""))
        if not may(g.api_caller, allowed):
            raise Stop(403, f"This call takes a token of role {' or '.join(sorted(allowed))}.")
    _refuse_doubled_parameters()
    if request.method in {"POST", "PUT", "PATCH"}:
        _check_json(request.get_data())


def _limit() -> None:
    limit = current_app.config.get("API_RATE_LIMIT", DEFAULT_LIMIT)
    key = hashlib.sha256(
        (request.headers.get("Authorization") or request.remote_addr or "").encode()
    ).hexdigest()
    for limiter in current_app.extensions.get("limiter", ()):
        _hit(limiter, limit, key)


def _hit(limiter: Limiter, limit: str, key: str) -> None:
    if limiter.enabled and not limiter.limiter.hit(parse_limit(limit), "api_v1", key):
        raise Stop(429, f"At most {limit} with one token.", headers={"Retry-After": "60"})


def _refuse_doubled_parameters() -> None:
    for name, values in request.args.lists():
        if len(values) > 1:
            raise Stop(422, flaws=[Flaw(name, "repeated", "Give this parameter once.")])


def _check_json(body: bytes) -> None:
    if request.mimetype != "application/json":
        raise Stop(415)
    try:
        parsed = json.loads(body, object_pairs_hook=_each_name_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise Stop(400, f"The body is not JSON: {_reason(error)}") from error
    if not isinstance(parsed, dict):
        raise Stop(422, flaws=[Flaw("", "type", "The body must be one JSON object.")])


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name '{next(n for n in names if names.count(n) > 1)}' stands there twice.")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number.")


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply."
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8."
    text = str(error).encode("utf-8", "replace").decode()
    return text if text.endswith(".") else text + "."


@api.errorhandler(Stop)
def _stopped(stop: Stop) -> Response:
    return stop.response


@api.errorhandler(Refused)
def _refused(refused: Refused) -> Response:
    return problems.answer(422, flaws=refused.flaws)


@api.errorhandler(Conflict)
def _conflict(conflict: Conflict) -> Response:
    return problems.answer(409, str(conflict))


@api.errorhandler(NotThere)
def _not_there(missing: NotThere) -> Response:
    return problems.answer(404, str(missing))


@api.errorhandler(OperationalError)
@api.errorhandler(InterfaceError)
@api.errorhandler(PoolTimeout)
def _unavailable(error: Exception) -> Response:
    current_app.logger.error("database unavailable: %s", type(error).__name__)
    return problems.answer(503)


@api.errorhandler(HTTPException)
def _http(error: HTTPException) -> Response:
    if error.response is not None:
        return error.response  # type: ignore[return-value]  # flask-openapi aborts with the answer we made
    status = error.code if error.code in problems.KINDS else 400
    kept = {n: v for n, v in error.get_headers() if n.lower() in {"allow", "retry-after", "www-authenticate"}}
    return problems.answer(status, headers=kept)
