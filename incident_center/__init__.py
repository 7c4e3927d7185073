"""Incident Center: outage communication for companies that pay money out.

`create_app` is the web application's factory; importing this package does nothing.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from incident_center.center import Center
    from incident_center.config import Settings

__all__ = ["create_app"]


def create_app(settings: "Settings | None" = None, *, center: "Center | None" = None) -> "Flask":
    """The WSGI application.

    settings: what the operator has chosen; None reads the environment (SettingsError names an odd one).
    center: an already built center, to share its database (demo, tests); then `settings` is not needed.
    """
    from incident_center.application import build_app  # noqa: PLC0415 (workers need no web pages: 0.5 s saved)

    return build_app(settings, center=center)
