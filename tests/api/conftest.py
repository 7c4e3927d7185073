"""Four programs with tokens, and a clock that the test moves."""

from typing import Any

import pytest
from flask import Flask

from incident_center.center import Center
from incident_center.db import Database
from incident_center.models import Incident
from incident_center.staff.tokens import add_token
from tests.api.door import Door, an_update
from tests.builders import NOW, a_component, an_incident
from tests.support.hands import hands

__all__ = ["hands"]

ROLES = ("lead", "agent", "viewer", "inbound")


@pytest.fixture
def tokens(database: Database, hands: object) -> dict[str, str]:
    """Role to plain token."""
    with database.transaction() as session:
        a_component(session, "sepa-instant")
        a_component(session, "cards")
        return {role: add_token(session, name=f"{role}-bot", role=role, days=30, now=NOW) for role in ROLES}


@pytest.fixture
def lead(app: Flask, tokens: dict[str, str]) -> Door:
    return Door(app.test_client(), tokens["lead"])


@pytest.fixture
def agent(app: Flask, tokens: dict[str, str]) -> Door:
    return Door(app.test_client(), tokens["agent"])


@pytest.fixture
def viewer(app: Flask, tokens: dict[str, str]) -> Door:
    return Door(app.test_client(), tokens["viewer"])


@pytest.fixture
def gateway(app: Flask, tokens: dict[str, str]) -> Door:
    return Door(app.test_client(), tokens["inbound"])


@pytest.fixture
def incident(center: Center, tokens: dict[str, str]) -> Incident:
    """Declared twenty minutes after it began, not yet told of."""
    with center.database.transaction() as session:
        return an_incident(session)


@pytest.fixture
def first(lead: Door, incident: Incident) -> dict[str, Any]:
    """The incident's first update, published by the script's own words."""
    answer = lead.post(f"/incidents/{incident.id}/updates", an_update())
    assert answer.status_code == 201, answer.json
    return dict(answer.json)
