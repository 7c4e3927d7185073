"""Headers on every answer, versioned static files, and one log line for each request."""

import hashlib
import time
from functools import cache
from pathlib import Path

import structlog
from flask import Flask, Response, g, request, session, url_for

POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_FILES = {"static", "health.htmx"}
_STATIC = Path(__file__).parent / "static"
_log = structlog.get_logger()


def install(app: Flask) -> None:
    secure = bool(app.config["SESSION_COOKIE_SECURE"])

    @app.before_request
    def begin() -> None:
        g.began = time.perf_counter()

    @app.after_request
    def protect(response: Response) -> Response:
        headers = response.headers
        headers.setdefault("Content-Security-Policy", POLICY)
        headers.setdefault("X-Content-Type-Options", "nosniff")
        headers.setdefault("Referrer-Policy", "same-origin")
        headers.setdefault("X-Frame-Options", "DENY")
        headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
        headers.setdefault("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=()")
        if secure:
            headers.setdefault("Strict-Transport-Security", "max-age=31536000")
        if request.endpoint == "static" and "v" in request.args:
            headers["Cache-Control"] = "public, max-age=31536000, immutable"
        headers.setdefault("Cache-Control", "no-store")  # a page that may be kept says so itself
        _keep_sessions_apart(response)
        return response

    @app.after_request
    def tell(response: Response) -> Response:
        rule = request.url_rule.rule if request.url_rule else "(no such page)"
        if request.endpoint != "static":
            taken = round((time.perf_counter() - g.get("began", time.perf_counter())) * 1000, 1)
            _log.info("request", method=request.method, rule=rule, status=response.status_code, ms=taken)
        return response

    app.add_template_global(asset)


def _keep_sessions_apart(response: Response) -> None:
    """A changed session's cookie goes out with the answer, and a shared cache would hand it to the next visitor."""
    if request.endpoint in _FILES:
        session.modified = False  # asking who is signed in has marked it; a file tells a session nothing
    elif session.modified:
        response.headers["Cache-Control"] = "no-store"


def asset(name: str) -> str:
    """URL of a static file that changes with its content, so that browsers may keep it for a year."""
    return url_for("static", filename=name, v=_version(name))


@cache
def _version(name: str) -> str:
    return hashlib.sha256((_STATIC / name).read_bytes()).hexdigest()[:10]
