"""The board says that nothing is sent, and a lead can change that."""

from flask import Flask

from incident_center.center import Center
from incident_center.delivery import installation
from incident_center.models import AuditEntry, Installation
from tests.builders import NOW
from tests.incidents.scenes import declared, published
from tests.web.browser import signed_in, text_of

PATH = "/console/installation"


def held_back(center: Center) -> None:
    with center.database.transaction() as session:
        session.add(
            Installation(
                id=1,
                fingerprint="before",
                seen_fingerprint="now",
                confirmed_at=NOW,
                confirmed_by="first start",
            )
        )


def test_the_board_says_that_nothing_is_sent_and_a_lead_confirms(app: Flask, center: Center) -> None:
    held_back(center)
    lead = signed_in(app, "lead")
    assert "restored or copied" in lead.get("/console/").text
    form = lead.form(PATH, PATH)
    refused = lead.post(PATH, form)
    assert refused.status_code == 422
    assert "Tick the box" in refused.text
    form["sure"] = ["yes"]
    with center.database.transaction() as session:
        incident = declared(session, center.house, now=NOW)
        published(session, center.house, incident, now=NOW)
    confirmed = lead.post(PATH, form)
    assert confirmed.status_code == 303
    assert "1 update ended half-way" in text_of(lead.get(confirmed.headers["Location"]).text)
    assert "restored or copied" not in lead.get("/console/").text
    with center.database.reading() as session:
        assert not installation.is_held(session)
        assert session.query(AuditEntry).filter_by(action="installation.confirmed").count() == 1


def test_a_viewer_can_look_and_not_confirm(app: Flask, center: Center) -> None:
    held_back(center)
    viewer = signed_in(app, "viewer")
    page = viewer.get(PATH).text
    assert "Send from here" not in page
    assert "A lead can confirm it" in page


def test_without_a_copy_there_is_nothing_to_confirm(app: Flask) -> None:
    assert "nothing to confirm" in signed_in(app, "lead").get(PATH).text
