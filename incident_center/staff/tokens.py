"""Tokens for programs. The plain token is shown once; only its hash is kept."""

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from incident_center.errors import Flaw, NotThere, Refused
from incident_center.models import ApiToken
from incident_center.staff import audit
from incident_center.states import Role

PREFIX = "ic_"  # so that secret scanners and people recognise one
INBOUND = "inbound"  # an SMS gateway: it hands in customers' texts and can do nothing else
ROLES = (Role.LEAD.value, Role.AGENT.value, Role.VIEWER.value, INBOUND)
MAX_DAYS = 3650


def add_token(
    session: Session, *, name: str, role: str, days: int | None, by: str = "command line", now: datetime
) -> str:
    """A new token that works for `days` (None: until revoked). Raises Refused: name, role or days.

    A fast hash is enough: the token is 256 random bits, not a password that somebody chose.
    """
    name = " ".join(name.split())
    flaws = []
    if not name or len(name) > 80:
        flaws.append(Flaw("name", "missing", "Give a name of at most 80 characters, such as ops-bot."))
    if role not in ROLES:
        flaws.append(Flaw("role", "unknown", f"There is no such role for a token; use {', '.join(ROLES)}."))
    if days is not None and not 1 <= days <= MAX_DAYS:
        flaws.append(Flaw("days", "range", f"Give a number of days from 1 to {MAX_DAYS}."))
    if flaws:
        raise Refused(*flaws)
    plain = PREFIX + secrets.token_urlsafe(32)
    expires_at = None if days is None else now + timedelta(days=days)
    token = ApiToken(name=name, token_hash=_hash(plain), role=role, created_at=now, expires_at=expires_at)
    session.add(token)
    session.flush()
    audit.record(
        session, by=by, action="token.added", subject=f"token {token.id}", detail={"role": role}, now=now
    )
    return plain


def find_token(session: Session, plain: str, now: datetime) -> ApiToken | None:
    """The token that is shown here, when it still works."""
    if not plain.startswith(PREFIX):
        return None
    token = session.scalar(select(ApiToken).where(ApiToken.token_hash == _hash(plain)))
    if token is None or token.revoked_at is not None:
        return None
    if token.expires_at is not None and token.expires_at <= now:
        return None
    return token


def working_tokens(session: Session, *, now: datetime) -> list[ApiToken]:
    """Neither revoked nor expired, oldest first."""
    wanted = select(ApiToken).where(
        ApiToken.revoked_at.is_(None), (ApiToken.expires_at.is_(None)) | (ApiToken.expires_at > now)
    )
    return list(session.scalars(wanted.order_by(ApiToken.id)))


def revoke_token(session: Session, *, token_id: int, by: str = "command line", now: datetime) -> ApiToken:
    """It stops working at once. Raises NotThere."""
    token = session.get(ApiToken, token_id)
    if token is None:
        raise NotThere(f"There is no token {token_id}; `incident-center token list` tells them.")
    if token.revoked_at is None:
        token.revoked_at = now
        audit.record(session, by=by, action="token.revoked", subject=f"token {token.id}", now=now)
    return token


def _hash(plain: str) -> str:
    return hashlib.sha256(plain.encode("utf-8")).hexdigest()
