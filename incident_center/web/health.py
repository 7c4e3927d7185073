"""Is this process able to serve, and htmx itself (third-party code is not kept in this repository)."""

from importlib.resources import files

from flask import Blueprint, Response, jsonify, send_file
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from incident_center import clock
from incident_center.models import WorkerBeat
from incident_center.web.context import center, limiter

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
@limiter.exempt
def healthz() -> tuple[Response, int]:
    """200 when the database answers. `worker_seen_seconds` tells whether somebody keeps the promises."""
    try:
        with center().database.reading() as session:
            beat = session.scalar(select(func.max(WorkerBeat.beat_at)))
    except SQLAlchemyError:
        return jsonify(status="unavailable", database="unreachable"), 503
    seen = None if beat is None else round((clock.now() - beat).total_seconds())
    return jsonify(status="ok", database="ok", worker_seen_seconds=seen), 200


@blueprint.get("/static/lib/htmx.min.js")
@limiter.exempt
def htmx() -> Response:
    path = files("js_lib_htmx") / "static" / "htmx" / "htmx.min.js"
    return send_file(str(path), mimetype="text/javascript", max_age=31536000)
