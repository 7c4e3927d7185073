"""The only wiring of the web application: settings, database, pages, shields."""

from datetime import timedelta

from flask import Flask
from flask_openapi.models.info import Info
from flask_openapi.openapi import OpenAPI
from jinja2 import StrictUndefined
from werkzeug.middleware.proxy_fix import ProxyFix

from incident_center import web
from incident_center.center import Center, build_center
from incident_center.config import Settings, load_settings
from incident_center.integrations import api_v1, receipts
from incident_center.logs import configure_logging
from incident_center.spread import require_celery

MAX_BODY_BYTES = 1024 * 1024  # a form with every language's words is about 20 kB


def build_app(settings: Settings | None = None, *, center: Center | None = None) -> Flask:
    """See incident_center.create_app."""
    center = center or build_center(settings or load_settings())
    app = OpenAPI(
        "incident_center",
        info=Info(title=f"{center.house.company}: Incident Center", version="1"),
        doc_ui=False,  # its pages load scripts that our content policy refuses
        template_folder=str(center.settings.templates_dir),
        static_folder="web/static",
    )
    app.config.from_mapping(_flask_settings(center.settings))
    app.extensions["incident_center"] = center
    if center.settings.broker_url:
        require_celery()
        from incident_center.spread.wake import wake_after_commits  # noqa: PLC0415 (Celery is an extra)

        wake_after_commits(center)
    app.jinja_env.undefined = StrictUndefined  # a misspelt name is an error in a test, not a gap on a page
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    if hops := center.settings.trusted_proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]  # Flask's documented way
    configure_logging(quiet=center.settings.testing or center.settings.demo)
    web.install(app)
    api_v1.install(app)  # after the shields: it takes the limiter and the form guard from the extensions
    receipts.install(app)
    return app


def _flask_settings(settings: Settings) -> dict[str, object]:
    return {
        # The demo has no secrets from whoever sits here, but a web page elsewhere must not read it under a name
        # of its own that it leads to this machine (DNS rebinding).
        "TRUSTED_HOSTS": ["127.0.0.1", "localhost"] if settings.demo else None,
        "SECRET_KEY": settings.secret_key,
        "TESTING": settings.testing,
        "MAX_CONTENT_LENGTH": MAX_BODY_BYTES,
        "SEND_FILE_MAX_AGE_DEFAULT": 3600,
        "SESSION_COOKIE_NAME": "incident_center",
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_SECURE": settings.public_url.startswith("https://"),
        "PERMANENT_SESSION_LIFETIME": timedelta(hours=12),
        "WTF_CSRF_TIME_LIMIT": None,  # a composer may stay open for hours; the token ends with the session
        "WTF_CSRF_SSL_STRICT": False,  # some privacy settings drop the Referer; token and SameSite remain
        "RATELIMIT_ENABLED": True,
        "RATELIMIT_STORAGE_URI": "memory://",  # per process: with two workers up to twice the limit
        "RATELIMIT_HEADERS_ENABLED": False,
    }
