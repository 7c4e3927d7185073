"""The sign-in page's own shields: few tries, the same answer for every mistake, a line in the audit trail."""

import hashlib
import unicodedata
from collections.abc import Callable
from typing import Any

from flask import Flask, abort, make_response, request
from werkzeug.wrappers import Response

from incident_center import clock
from incident_center.staff import audit, guard, sign_in
from incident_center.staff.accounts import find_staff
from incident_center.staff.passwords import MAX_LENGTH
from incident_center.web.context import center, limiter, place

TRIES_BY_PLACE = "30 per minute"
TRIES_BY_PERSON = "8 per 5 minutes"  # from one address, so that nobody can lock a lead out from elsewhere


def install(app: Flask) -> None:
    sign_in.install(app, center=app.extensions["incident_center"])
    view = app.view_functions["security.login"]
    by_person = limiter.limit(
        TRIES_BY_PERSON, key_func=_who_from_where, methods=["POST"], deduct_when=_refused
    )
    by_place = limiter.limit(TRIES_BY_PLACE, key_func=place, methods=["POST"], deduct_when=_refused)
    app.view_functions["security.login"] = by_place(by_person(_told(view)))
    app.add_template_global(guard.me, "me")
    app.add_template_global(guard.may, "may")


def _told(view: Callable[[], Any]) -> Callable[[], Response]:
    def login() -> Response:
        if request.is_json:  # Flask-Security would take it, and answer with a success that is told nowhere
            abort(415)
        if len(request.form.get("password", "")) > MAX_LENGTH:
            abort(422)  # nobody has such a password; hashing it would be work that anybody can order
        response = make_response(view())
        if request.method == "POST" and response.status_code == 200:
            response.status_code = 422  # the form again: it was refused
        elif request.method == "POST" and response.status_code == 302:
            response.status_code = 303
            _record()
        return response

    return login


def _record() -> None:
    person, now = guard.me(), clock.now()
    if person is None:
        return
    with center().database.transaction() as session:
        staff = find_staff(session, email=person.email)
        if staff is not None:
            audit.record(
                session, by=person.email, action="staff.signed_in", subject=f"staff {staff.id}", now=now
            )


def _who_from_where() -> str:
    """One key for every way of typing an address that sign-in reads as the same."""
    email = unicodedata.normalize("NFKC", request.form.get("email", "")).strip().casefold()
    return hashlib.sha256(f"{place()} {email}".encode()).hexdigest()


def _refused(response: Response) -> bool:
    return response.status_code != 303
