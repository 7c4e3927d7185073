"""In the room: an outage spreads, and a mistaken declaration is withdrawn."""

import pytest
from flask import Flask
from freezegun.api import FrozenDateTimeFactory

from incident_center.center import Center
from incident_center.incidents import questions
from tests.builders import NOW, a_component
from tests.incidents.scenes import declared
from tests.web.browser import signed_in


@pytest.fixture
def room(center: Center, freezer: FrozenDateTimeFactory) -> str:
    freezer.move_to(NOW)
    with center.database.transaction() as session:
        a_component(session, "payout-api")
        return f"/console/incidents/{declared(session, center.house, now=NOW).id}"


def test_another_component_joins_with_the_update_that_names_it(app: Flask, center: Center, room: str) -> None:
    lead = signed_in(app, "lead")
    form = lead.form(room, f"{room}/publish")
    form["status.payout-api"] = ["partial_outage"]
    assert lead.post(f"{room}/publish", form).status_code == 303
    with center.database.reading() as session:
        assert "payout-api" in [c.key for c in questions.incident(session, 1).components]


def test_a_mistaken_declaration_leaves_the_board(app: Flask, room: str) -> None:
    lead = signed_in(app, "lead")
    assert "Withdraw the incident" in lead.get(room).text
    assert lead.post(f"{room}/withdraw", lead.form(room, f"{room}/withdraw")).status_code == 303
    assert room not in lead.get("/console/").text
