"""A holding update says that there is no news; what was said before it still stands, for customers and agents."""

from datetime import timedelta

import pytest
from flask import Flask
from freezegun.api import FrozenDateTimeFactory
from sqlalchemy import select

from incident_center.center import Center
from incident_center.incidents.keeper import keep_promises
from incident_center.models import Incident
from tests.builders import NOW
from tests.incidents.scenes import declared, published
from tests.web.browser import signed_in

DUE = NOW + timedelta(minutes=30)


@pytest.fixture
def held(app: Flask, center: Center, freezer: FrozenDateTimeFactory) -> Flask:
    freezer.move_to(NOW)
    with center.database.transaction() as session:
        published(session, center.house, declared(session, center.house, now=NOW), now=NOW)
    freezer.move_to(DUE)
    assert keep_promises(center.database, center.house, now=DUE)
    return app


def test_the_public_page_keeps_the_facts_under_the_holding_update(held: Flask) -> None:
    page = held.test_client().get("/?lang=en").text
    assert "No news yet" in page
    assert "Our engineers are looking for the cause." in page
    assert "Please do not submit the same payout again" in page


def test_the_agent_sees_what_is_still_true(held: Flask) -> None:
    page = signed_in(held, "agent").get("/agent/").text
    assert "Still true, as of 14:00" in page
    assert "2:30 pm CET" not in page  # the promise that has passed; the words stand with the new one
    assert page.count("Next update by 3:00 pm CET") > 2
    assert "Our engineers are looking for the cause." in page


def test_the_next_word_from_a_person_stands_alone(
    held: Flask, center: Center, freezer: FrozenDateTimeFactory
) -> None:
    freezer.move_to(DUE + timedelta(minutes=5))
    with center.database.transaction() as session:
        incident = session.scalars(select(Incident)).one()
        published(session, center.house, incident, now=DUE + timedelta(minutes=5))
    assert "No news yet" not in held.test_client().get("/?lang=en").text
    assert "Still true" not in signed_in(held, "agent").get("/agent/").text
