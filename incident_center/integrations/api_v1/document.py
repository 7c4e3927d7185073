"""The OpenAPI 3.1 document: what flask-openapi collected from the views, with exact schemas and our errors.

flask-openapi 5.0 writes version 3.2 and passes schemas through its own model, which drops what it does not know
(patterns of names, for one). So the schemas are taken from pydantic again, which writes JSON Schema 2020-12 as
OpenAPI 3.1 wants it.
"""

from __future__ import annotations

import copy
from typing import Any

from flask import Flask
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from incident_center.integrations.api_v1 import answers, bodies, problems
from incident_center.integrations.api_v1.examples import ANSWERS
from incident_center.integrations.api_v1.problems import Problem

_REF = "#/components/schemas/{model}"
_ALWAYS = (401, 403, 422, 429, 500, 503)
_WITH_BODY = (400, 413, 415)
_ABOUT = """
For programs that declare, publish and read. Send `Authorization: Bearer TOKEN`; an admin makes tokens with
`incident-center token add`. A token has one role: *lead* publishes, *agent* enrols and reads, *viewer* reads,
*inbound* hands in customers' texts. Times are ISO 8601 with an offset; bare numbers are refused. Unknown fields
are refused by name. Every error is `application/problem+json`.
""".strip()


def errors(*more: int, body: bool = False) -> dict[str | int, Any]:
    """The errors that a call may answer: those that every call has, those of calls with a body, and `more`."""
    statuses = {*_ALWAYS, *more, *(_WITH_BODY if body else ())}
    return {str(status): _response(status) for status in sorted(statuses)}


def document(app: Flask) -> dict[str, Any]:
    """The whole document, as JSON types. `app` is an flask_openapi.OpenAPI."""
    spec: dict[str, Any] = copy.deepcopy(app.api_doc)  # type: ignore[attr-defined]  # OpenAPI's, untyped
    spec["openapi"] = "3.1.0"
    spec["info"] = {"title": "Incident Center API", "version": "1", "description": _ABOUT}
    center = app.extensions["incident_center"]
    spec["servers"] = [{"url": center.settings.public_url}]
    spec["components"] = {
        "schemas": _schemas(spec["components"]["schemas"]),
        "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
    }
    spec["security"] = [{"bearer": []}]
    _tell_roles(app, spec["paths"])
    return spec


def _schemas(collected: dict[str, Any]) -> dict[str, Any]:
    """Exact schemas of bodies and answers; of what flask-openapi collected only the parameters' parts remain."""
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        *((model, "validation") for model in _models(bodies) if model.__name__.endswith("In")),
        *((model, "serialization") for model in _models(answers)),
        (Problem, "serialization"),
    ]
    exact = models_json_schema(wanted, ref_template=_REF)[1]["$defs"]
    kept = {name: schema for name, schema in collected.items() if not name.startswith("ValidationError")}
    for name, example in ANSWERS.items():
        exact[name]["examples"] = [example]
    return {**kept, **exact}


def _models(module: object) -> list[type[BaseModel]]:
    name = getattr(module, "__name__", "")
    return [
        each
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, BaseModel) and each.__module__ == name
    ]


def _tell_roles(app: Flask, paths: dict[str, Any]) -> None:
    """Which token's role a call takes stands in the view; readers of the document want to know it too."""
    for rule in app.url_map.iter_rules():
        roles = getattr(app.view_functions[rule.endpoint], "api_roles", None)
        path = rule.rule.replace("<int:", "{").replace(">", "}")
        for method in rule.methods or ():
            operation = paths.get(path, {}).get(method.lower())
            if roles and operation:
                said = operation.get("description", "").replace("<br/>", " ").strip()
                operation["description"] = f"{said}\n\nRole: {', '.join(sorted(roles))}.".strip()
                operation["x-roles"] = sorted(roles)


def _response(status: int) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": problems.KINDS[status].title,
        "content": {
            problems.CONTENT_TYPE: {
                "schema": {"$ref": _REF.format(model="Problem")},
                "examples": {"problem": {"value": problems.example(status)}},
            }
        },
    }
    if status == 401:
        response["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    if status in {429, 503}:
        response["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return response
