"""Numbers in addresses and forms that no database could hold: nothing there, never a crash."""

import pytest
from flask import Flask
from flask.testing import FlaskClient
from freezegun.api import FrozenDateTimeFactory

from incident_center.center import Center
from incident_center.incidents.verbs import open_draft
from tests.builders import NOW
from tests.incidents.scenes import declared, published
from tests.web.browser import signed_in

HUGE = ["2147483648", "9223372036854775808", "9" * 40, "9" * 5000, "१२"]


@pytest.mark.parametrize("number", HUGE)
def test_an_incident_of_such_a_number_is_not_there(client: FlaskClient, number: str) -> None:
    assert client.get(f"/i/{number}").status_code == 404


@pytest.mark.parametrize("number", [*HUGE, "-1", "x", ""])
def test_the_history_begins_anew(client: FlaskClient, center: Center, number: str) -> None:
    with center.database.transaction() as session:
        published(session, center.house, declared(session, center.house, now=NOW), now=NOW)
    answer = client.get("/history", query_string={"before": number})
    assert answer.status_code == 200
    assert "/i/1" in answer.text


@pytest.mark.parametrize("number", HUGE)
def test_the_room_and_its_forms_do_not_break(
    app: Flask, center: Center, freezer: FrozenDateTimeFactory, number: str
) -> None:
    freezer.move_to(NOW)
    lead = signed_in(app, "lead")
    assert lead.get(f"/console/incidents/{number}").status_code == 404
    with center.database.transaction() as session:
        incident = declared(session, center.house, now=NOW)
    room = f"/console/incidents/{incident.id}"
    assert lead.get(f"{room}?corrects={number}").status_code == 200
    typed = lead.form(room, "/publish")
    odd = {"draft_id": number, "draft_version": number, "corrects": number, "confirmed": number}
    assert lead.post(f"{room}/preview", typed, odd).status_code == 200
    assert lead.post(f"{room}/draft", typed, odd).status_code == 303
    with center.database.reading() as session:
        draft = open_draft(session, incident.id)
    assert draft is not None
    assert draft.confirmed == []


@pytest.mark.parametrize("number", HUGE)
def test_a_component_of_such_a_number_is_not_ticked(
    app: Flask, freezer: FrozenDateTimeFactory, number: str
) -> None:
    freezer.move_to(NOW)
    lead = signed_in(app, "lead")
    typed = lead.form("/console/declare/payouts-slow", "")
    answer = lead.post("/console/declare/payouts-slow", typed, {"components": number})
    assert answer.status_code == 422
    assert "at least one component" in answer.text


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_a_number_that_is_too_large_is_not_there_whatever_the_method(
    client: FlaskClient, method: str
) -> None:
    answer = client.open("/api/v1/subscribers/10000000000001", method=method)
    assert answer.status_code == 401  # it is an address; who may see what is there is asked first
    assert client.open(f"/api/v1/subscribers/{'9' * 5000}", method=method).status_code == 404
