"""Receipts and texts from providers, under /hooks/. `install` hangs the hooks into the application."""

from __future__ import annotations

from flask import Flask

from incident_center.delivery.sns import Sns
from incident_center.integrations.receipts import gateway, mailgun, postmark, ses, twilio, vonage
from incident_center.integrations.receipts.door import hooks

HOOKS = (gateway, mailgun, postmark, ses, twilio, vonage)  # importing them hangs their views on `hooks`


def install(app: Flask) -> None:
    """After the shields: a provider has no session, so there is no form of ours that it could be made to send."""
    app.extensions[ses.EXTENSION] = Sns()
    app.register_blueprint(hooks)
    csrf = app.extensions.get("csrf")
    if csrf is not None:
        csrf.exempt(hooks)
