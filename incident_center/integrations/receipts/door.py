"""The blueprint that providers' webhooks hang on. Each view verifies, reads, keeps, answers.

A closed hook (no secret) answers 404, a wrong signature 403, garbage 400, a repetition what it answered before.
Nothing says which part of a signature was wrong, and no log line holds an address, a body or a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from flask import Blueprint, Response, abort, current_app, request
from werkzeug.exceptions import HTTPException

from incident_center import clock
from incident_center.center import Center
from incident_center.delivery.receipts import Told, keep
from incident_center.integrations.receipts.bodies import NotReadable

MAX_BODY_BYTES = 256 * 1024
View = TypeVar("View", bound=Callable[..., Response])

hooks = Blueprint("receipts", __name__, url_prefix="/hooks")


def center() -> Center:
    found: Center = current_app.extensions["incident_center"]
    return found


def secrets(name: str) -> tuple[str, ...]:
    """The hook's secrets; 404 when it has none: it is closed."""
    found = center().settings.hook_secrets_of(name)
    if not found:
        abort(404)
    return found


def require(verified: object) -> None:
    if not verified:
        abort(403)


def keep_all(told: Iterable[Told]) -> Response:
    """All of a request's receipts, or none: the provider repeats what was not answered well."""
    now = clock.now()
    events = list(told)
    if events:
        with center().database.transaction() as session:
            for one in events:
                keep(session, house=center().house, told=one, now=now)
    return heard()


def heard() -> Response:
    return Response(status=204)


@hooks.before_request
def _limit() -> None:
    request.max_content_length = MAX_BODY_BYTES
    request.max_form_memory_size = MAX_BODY_BYTES


@hooks.errorhandler(NotReadable)
def _not_readable(_: NotReadable) -> Response:
    return Response(status=400)


@hooks.errorhandler(HTTPException)
def _refused(error: HTTPException) -> Response:
    """Programs read the status alone."""
    return Response(status=error.code or 400)
