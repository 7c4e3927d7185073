"""What every view needs: the center and the shields."""

from flask import current_app
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_wtf.csrf import CSRFProtect

from incident_center.center import Center

csrf = CSRFProtect()
limiter = Limiter(get_remote_address)


def center() -> Center:
    """Settings, database and house of the running application."""
    found: Center = current_app.extensions["incident_center"]
    return found
