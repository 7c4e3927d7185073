"""Who calls: a bearer token and its role."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from incident_center import clock
from incident_center.center import Center
from incident_center.integrations.api_v1.problems import Stop
from incident_center.staff import tokens

LEAD, AGENT, VIEWER, INBOUND = "lead", "agent", "viewer", "inbound"
_BEARER = re.compile(r"bearer +(?P<token>[A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)

# What a token's role includes. An SMS gateway's token can do nothing but hand texts in.
_INCLUDES: dict[str, frozenset[str]] = {
    LEAD: frozenset({LEAD, AGENT, VIEWER, INBOUND}),
    AGENT: frozenset({AGENT, VIEWER, INBOUND}),
    VIEWER: frozenset({VIEWER}),
    INBOUND: frozenset({INBOUND}),
}


@dataclass(frozen=True)
class Caller:
    token_id: int
    name: str
    role: str

    @property
    def by(self) -> str:
        """As the audit trail names it."""
        return f"token {self.name}"


def caller_of(center: Center, header: str) -> Caller:
    """The caller that an Authorization header names. Raises Stop 401 and says what is wrong with the header."""
    if not header:
        raise Stop(401)
    found = _BEARER.fullmatch(header.strip())
    if found is None:
        raise Stop(401, "The Authorization header must be 'Bearer TOKEN'.")
    with center.database.reading() as session:
        token = tokens.find_token(session, found["token"], clock.now())
    if token is None:
        raise Stop(
            401,
            "This token is not known, has expired or was revoked. Ask an admin for a new one.",
            headers={"WWW-Authenticate": 'Bearer realm="incident-center", error="invalid_token"'},
        )
    return Caller(token_id=token.id, name=token.name, role=token.role)


def may(caller: Caller, allowed: Collection[str]) -> bool:
    return not _INCLUDES.get(caller.role, frozenset()).isdisjoint(allowed)
