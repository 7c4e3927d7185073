"""The JSON API v1 (DESIGN §8). `install` hangs it into the application."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, jsonify
from pydantic import ValidationError

from incident_center.integrations.api_v1 import (
    catalog,
    delivery,
    inbound,
    incidents,
    problems,
    promises,
    snippets,
    subscribers,
)
from incident_center.integrations.api_v1.api import PREFIX, api
from incident_center.integrations.api_v1.document import document
from incident_center.integrations.api_v1.sentences import flaws_of

CALLS = (
    catalog,
    delivery,
    inbound,
    incidents,
    promises,
    snippets,
    subscribers,
)  # importing them hangs their calls on `api`


def install(app: Flask) -> None:
    """Registers the calls. `app` is a flask_openapi.OpenAPI; its CSRF shield is told that tokens need none."""
    openapi: Any = app
    openapi.validation_error_callback = _invalid
    openapi.register_api(api)
    app.add_url_rule(f"{PREFIX}/openapi.json", "api_v1_document", lambda: _document(app))
    csrf = app.extensions.get("csrf")
    if csrf is not None:
        csrf.exempt(api)  # a bearer token is never sent by a browser on its own


def _document(app: Flask) -> Response:
    kept = app.extensions.setdefault("api_v1_document", {})
    if not kept:
        kept.update(document(app))
    response = jsonify(kept)
    response.headers["Cache-Control"] = "public, max-age=300"
    return response


def _invalid(error: ValidationError) -> Response:
    if error.title.endswith("Path"):
        return problems.answer(404)
    return problems.answer(422, flaws=flaws_of(error))
