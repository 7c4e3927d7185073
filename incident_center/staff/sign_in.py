"""Sign-in by Flask-Security over our own tables.

Flask-Security wants a session that lives as long as the request and commits by itself. We hand it detached
people instead: each look-up reads in a session of its own, each write is a transaction of its own, so that a
view's transaction never carries a sign-in's changes and nothing but db.py commits.
"""

from datetime import timedelta
from typing import Any

from flask import Flask
from flask_security.core import RoleMixin, Security, UserMixin
from flask_security.datastore import UserDatastore
from sqlalchemy import func, select

from incident_center.center import Center
from incident_center.models import Staff
from incident_center.staff.passwords import MIN_LENGTH, SCHEMES

SIGN_IN_URL = "/sign-in"
SIGN_OUT_URL = "/sign-out"


class HeldRole(RoleMixin):
    """A role that somebody holds."""

    permissions: None = None  # roles alone decide (staff.guard)

    def __init__(self, name: str) -> None:
        self.name = name


class Person(UserMixin):
    """Somebody of the staff, detached from the database, with roles."""

    fs_uniquifier: str = ""

    def __init__(self, staff: Staff) -> None:
        self.id = staff.id
        self.email = staff.email
        self.name = staff.name
        self.password = staff.password
        self.active = staff.active
        self.language = staff.language
        self.fs_uniquifier = staff.fs_uniquifier
        self.roles = [HeldRole(role.name) for role in staff.roles]


class StaffStore(UserDatastore):
    """What Flask-Security needs of the staff tables."""

    _COLUMNS = ("id", "email", "fs_uniquifier")

    def __init__(self, center: Center) -> None:
        super().__init__(Person, HeldRole)
        self._database = center.database

    def find_user(self, case_insensitive: bool = False, **wanted: Any) -> Person | None:
        name, value = next(iter(wanted.items()))
        if name not in self._COLUMNS:
            return None
        column = getattr(Staff, name)
        found = func.lower(column) == str(value).lower() if case_insensitive else column == value
        with self._database.reading() as session:
            staff = session.scalar(select(Staff).where(found))
            return None if staff is None else Person(staff)

    def find_role(self, role: str) -> HeldRole | None:
        return HeldRole(role)

    def put(self, model: Person) -> Person:
        """Keeps what sign-in may change: a password hashed with newer costs, and the session's name."""
        with self._database.transaction() as session:
            staff = session.get(Staff, model.id)
            if staff is not None:
                staff.password = model.password or staff.password
                staff.fs_uniquifier = model.fs_uniquifier
        return model

    def commit(self) -> None:
        """Nothing is open: put() has ended its own transaction."""


def install(app: Flask, center: Center) -> None:
    """Sign-in at /sign-in, sign-out by POST to /sign-out; registration and reset by e-mail are off."""
    app.config.from_mapping(_settings(center))
    security: Any = Security(app, StaffStore(center))  # what follows is not annotated
    # Pages only: a sign-in by JSON would answer with a token that opens every page, in an address too, and that
    # neither a sign-out nor time ends. Programs have tokens of their own (staff.tokens).
    security.want_json(lambda _request: False)
    app.login_manager.request_loader(lambda _request: None)  # type: ignore[attr-defined]  # set by Security()
    app.extensions["incident_center_security"] = security


def _settings(center: Center) -> dict[str, object]:
    return {
        "SECURITY_LOGIN_URL": SIGN_IN_URL,
        "SECURITY_LOGOUT_URL": SIGN_OUT_URL,
        "SECURITY_LOGOUT_METHODS": ["POST"],
        "SECURITY_POST_LOGIN_VIEW": "/console/",
        "SECURITY_POST_LOGOUT_VIEW": SIGN_IN_URL,
        "SECURITY_LOGIN_USER_TEMPLATE": "security/sign_in.html",
        "SECURITY_RETURN_GENERIC_RESPONSES": True,  # never tells whether an address has an account
        "SECURITY_FLASH_MESSAGES": False,
        "SECURITY_DEFAULT_REMEMBER_ME": False,
        "SECURITY_FRESHNESS": timedelta(minutes=-1),  # no page asks for the password again
        "SECURITY_PASSWORD_HASH": SCHEMES[0],
        "SECURITY_PASSWORD_SCHEMES": list(SCHEMES),
        "SECURITY_PASSWORD_SINGLE_HASH": set(SCHEMES),
        "SECURITY_PASSWORD_SALT": center.settings.secret_key,
        "SECURITY_PASSWORD_LENGTH_MIN": MIN_LENGTH,
        "SECURITY_CLI_USERS_NAME": False,  # our own command line adds staff
        "SECURITY_CLI_ROLES_NAME": False,
        "SECURITY_API_ENABLED_METHODS": ["session"],
        "SECURITY_STATIC_FOLDER": None,
        "REMEMBER_COOKIE_SECURE": center.settings.public_url.startswith("https://"),
        "REMEMBER_COOKIE_HTTPONLY": True,
        "REMEMBER_COOKIE_SAMESITE": "Lax",
        "REMEMBER_COOKIE_DURATION": timedelta(days=14),
    }
