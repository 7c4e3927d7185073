"""Console, agent, public and subscriber pages: parse, authorise, call one verb, answer."""

from flask import Flask
from htmx_flask import Htmx

from incident_center.web import (
    agent,
    console,
    doors,
    errors,
    headers,
    health,
    mailbox,
    numbers,
    public,
    say,
    subscriber,
    subscriber_settings,
)
from incident_center.web.context import csrf, limiter


def install(app: Flask) -> None:
    """Shields, headers, error pages and every blueprint. Each room of pages adds its own line at the end."""
    numbers.install(app)
    Htmx(app)
    csrf.init_app(app)
    limiter.init_app(app)
    headers.install(app)
    errors.install(app)
    doors.install(app)
    say.install(app)
    app.jinja_env.globals["house"] = app.extensions["incident_center"].house
    app.register_blueprint(health.blueprint)
    for pages in (console, agent, public, subscriber, subscriber_settings):
        app.register_blueprint(pages.blueprint)
    mailbox.install(app, app.extensions["incident_center"].settings)
