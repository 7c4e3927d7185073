"""Staff accounts: add people, give them roles, close their accounts."""

import uuid
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from incident_center.errors import Flaw, NotThere, Refused
from incident_center.models import Role, Staff
from incident_center.staff import audit
from incident_center.staff.passwords import MAX_LENGTH, MIN_LENGTH, hash_password, new_password
from incident_center.states import Role as RoleName


def add_staff(
    session: Session,
    *,
    email: str,
    name: str,
    password: str | None = None,
    roles: Iterable[str],
    language: str = "en",
    by: str = "command line",
    now: datetime,
) -> tuple[Staff, str]:
    """A new account and its password (made up when None), which is shown once and kept only as a hash.

    Raises Refused: email.invalid, email.taken, name.missing, password.short, password.long, roles.missing,
    roles.unknown.
    """
    email, name, wanted = email.strip().lower(), " ".join(name.split()), sorted(set(roles))
    flaws = list(_flaws(email, name, password, wanted))
    if not flaws and find_staff(session, email=email) is not None:
        flaws.append(Flaw("email", "taken", "Somebody with this e-mail address has an account already."))
    if flaws:
        raise Refused(*flaws)
    plain = password or new_password()
    staff = Staff(
        email=email,
        name=name,
        password=hash_password(plain),
        active=True,
        fs_uniquifier=uuid.uuid4().hex,
        language=language,
        created_at=now,
        roles=[_role(session, role) for role in wanted],
    )
    session.add(staff)
    session.flush()
    audit.record(
        session, by=by, action="staff.added", subject=f"staff {staff.id}", detail={"roles": wanted}, now=now
    )
    return staff, plain


def close_account(session: Session, *, email: str, by: str = "command line", now: datetime) -> Staff:
    """No more signing in; sessions that are open end with their next click. Raises NotThere."""
    staff = find_staff(session, email=email)
    if staff is None:
        raise NotThere(email)
    staff.active = False
    staff.fs_uniquifier = uuid.uuid4().hex  # every session names the old one
    audit.record(session, by=by, action="staff.closed", subject=f"staff {staff.id}", now=now)
    return staff


def new_staff_password(
    session: Session, *, email: str, password: str | None = None, by: str = "command line", now: datetime
) -> str:
    """A new password, which ends every open session of the account. Raises NotThere, Refused."""
    staff = find_staff(session, email=email)
    if staff is None:
        raise NotThere(email)
    if flaws := list(_password_flaws(password)):
        raise Refused(*flaws)
    plain = password or new_password()
    staff.password, staff.fs_uniquifier = hash_password(plain), uuid.uuid4().hex
    audit.record(session, by=by, action="staff.new_password", subject=f"staff {staff.id}", now=now)
    return plain


def find_staff(session: Session, *, email: str) -> Staff | None:
    return session.scalar(select(Staff).where(func.lower(Staff.email) == email.strip().lower()))


def _flaws(email: str, name: str, password: str | None, roles: list[str]) -> Iterable[Flaw]:
    local, _, domain = email.rpartition("@")
    if not local or "." not in domain or len(email) > 320 or not email.isprintable() or " " in email:
        yield Flaw("email", "invalid", "Give an e-mail address such as lead@example.com.")
    if not name or len(name) > 120:
        yield Flaw("name", "missing", "Give a name of at most 120 characters.")
    yield from _password_flaws(password)
    if not roles:
        yield Flaw("roles", "missing", f"Give at least one role: {', '.join(RoleName)}.")
    for role in roles:
        if role not in set(RoleName):
            yield Flaw("roles", "unknown", f"There is no role “{role}”; there are: {', '.join(RoleName)}.")


def _password_flaws(password: str | None) -> Iterable[Flaw]:
    if password is not None and len(password) < MIN_LENGTH:
        yield Flaw("password", "short", f"A password needs at least {MIN_LENGTH} characters.")
    if password is not None and len(password) > MAX_LENGTH:
        yield Flaw("password", "long", f"A password may have at most {MAX_LENGTH} characters.")


def _role(session: Session, name: str) -> Role:
    role = session.scalar(select(Role).where(Role.name == name))
    if role is None:
        role = Role(name=name)
        session.add(role)
        session.flush()
    return role
