"""Who may open which page. Roles stack: an admin may all, a lead may what an agent may."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from flask import abort, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from incident_center.staff.sign_in import Person
from incident_center.states import Role

P = ParamSpec("P")
V = TypeVar("V", bound=ResponseReturnValue)

COVERS: dict[str, frozenset[str]] = {
    Role.ADMIN: frozenset(Role),
    Role.LEAD: frozenset({Role.LEAD, Role.AGENT, Role.VIEWER}),
    Role.APPROVER: frozenset({Role.APPROVER, Role.VIEWER}),
    Role.AGENT: frozenset({Role.AGENT, Role.VIEWER}),
    Role.VIEWER: frozenset({Role.VIEWER}),
}


def allows(held: set[str] | frozenset[str], needed: str) -> bool:
    """Whether one of the held roles covers the needed one. Pure; tokens use it too."""
    return any(needed in COVERS.get(role, frozenset()) for role in held)


def me() -> Person | None:
    """Who is signed in."""
    return cast("Person", current_user) if current_user.is_authenticated else None


def by() -> str:
    """The signed-in person as the audit trail names them. Only within a guarded view."""
    person = me()
    if person is None:
        raise RuntimeError("by() outside a guarded view")
    return str(person.email)


def may(needed: str) -> bool:
    """Whether the signed-in person's roles cover this one (False when nobody is signed in)."""
    person = me()
    return person is not None and allows({role.name for role in person.roles}, needed)


def require(needed: str) -> Callable[[Callable[P, V]], Callable[P, ResponseReturnValue]]:
    """Only for those whose role covers `needed`: others get 403, the anonymous the sign-in page.

    A POST or a request by htmx is answered 401 instead of being sent to sign in: what was typed stays in the
    browser, and the person can sign in in another tab.
    """
    if needed not in set(Role):
        raise ValueError(f"no such role: {needed}")

    def guard(view: Callable[P, V]) -> Callable[P, ResponseReturnValue]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> ResponseReturnValue:
            if me() is None:
                if request.method == "GET" and request.headers.get("HX-Request") != "true":
                    here = request.full_path.rstrip("?")
                    return cast("ResponseReturnValue", redirect(url_for("security.login", next=here)))
                abort(401)
            if not may(needed):
                abort(403)
            return view(*args, **kwargs)

        cast("Any", guarded).required_role = needed  # a test walks the routes and looks for it
        return guarded

    return guard
