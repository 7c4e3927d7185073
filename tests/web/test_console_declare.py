"""Declaring an incident from the console."""

from datetime import UTC, datetime

import pytest
from flask import Flask
from freezegun.api import FrozenDateTimeFactory
from sqlalchemy import select

from incident_center.center import Center
from incident_center.models import Incident
from tests.builders import NOW, a_component
from tests.web.browser import Browser, signed_in, text_of

pytestmark = pytest.mark.one_database

URL = "/console/declare/payout-gateway-down"
ANSWERS = {
    "answers.scope.en": "SEPA payouts to Germany",
    "answers.scope.de": "SEPA-Auszahlungen nach Deutschland",
}


@pytest.fixture
def lead(app: Flask, center: Center, freezer: FrozenDateTimeFactory) -> Browser:
    freezer.move_to(NOW)
    with center.database.transaction() as session:
        for key in ("sepa-instant", "cards", "wallet"):
            a_component(session, key)
    return signed_in(app, "lead", email="lea@example.com")


def _incidents(center: Center) -> list[Incident]:
    with center.database.reading() as session:
        return list(session.scalars(select(Incident).order_by(Incident.id)))


def test_every_playbook_can_be_chosen_and_says_when_to(lead: Browser, center: Center) -> None:
    page = text_of(lead.get("/console/declare").text)
    for playbook in center.house.library.playbooks.values():
        assert playbook.title["en"] in page
        assert " ".join(playbook.use_when["en"].split()) in page
    assert page.index("Payout gateway down") < page.index("Payouts slow")  # the worst first


def test_the_playbook_ticks_its_components_and_suggests_its_impact(lead: Browser, center: Center) -> None:
    form = lead.form(URL, "")
    with center.database.reading() as session:
        ids = {a_component(session, key).id for key in ("sepa-instant", "cards")}
    assert {int(value) for value in form["components"]} == ids
    assert form["impact"] == ["critical"]
    assert form["started_at"] == ["2026-11-20T14:00"]  # now, in Berlin


def test_a_declared_incident_opens_its_room_with_the_first_script(lead: Browser, center: Center) -> None:
    answer = lead.post(URL, lead.form(URL, ""), ANSWERS)
    (incident,) = _incidents(center)
    assert answer.status_code == 303
    assert answer.headers["Location"] == f"/console/incidents/{incident.id}"
    assert incident.declared_by == "lea@example.com"
    assert incident.started_at == NOW
    form = lead.form(answer.headers["Location"], "/publish")
    assert form["phase"] == ["investigating"]
    assert "{scope}" in form["words.de.subject"][0]


def test_a_form_sent_twice_declares_once(lead: Browser, center: Center) -> None:
    form = lead.form(URL, "")
    first, second = (lead.post(URL, form, ANSWERS) for _ in range(2))
    assert first.headers["Location"] == second.headers["Location"]
    assert len(_incidents(center)) == 1


def test_a_refused_form_answers_422_and_keeps_what_was_typed(lead: Browser, center: Center) -> None:
    form = lead.form(URL, "") | {"impact": ["minor"], "components": []}
    typed = ANSWERS | {"answers.scope.de": "", "answers.scope.en": 'Payouts to "A & B" <soon>'}
    answer = lead.post(URL, form, typed)
    assert answer.status_code == 422
    kept = lead.form_in(answer.text, "")
    assert kept["answers.scope.en"] == ['Payouts to "A & B" <soon>']
    assert kept["impact"] == ["minor"]
    assert kept["form_key"] == form["form_key"]
    assert "components" not in kept
    assert "Tick at least one component" in answer.text
    assert _incidents(center) == []


def test_a_beginning_that_the_clocks_skipped_is_refused(
    lead: Browser, app: Flask, center: Center, freezer: FrozenDateTimeFactory
) -> None:
    freezer.move_to(datetime(2027, 3, 28, 10, 0, tzinfo=UTC))
    lead = signed_in(app, "lead")  # a day of work later, the old session has ended
    answer = lead.post(URL, lead.form(URL, "") | {"started_at": ["2027-03-28T02:30"]}, ANSWERS)
    assert answer.status_code == 422
    assert "That time does not exist" in answer.text
    assert _incidents(center) == []


def test_a_beginning_that_came_twice_is_asked_about(
    lead: Browser, app: Flask, center: Center, freezer: FrozenDateTimeFactory
) -> None:
    freezer.move_to(datetime(2027, 10, 31, 10, 0, tzinfo=UTC))
    lead = signed_in(app, "lead")
    form = lead.form(URL, "") | {"started_at": ["2027-10-31T02:30"]}
    asked = lead.post(URL, form, ANSWERS)
    assert asked.status_code == 422
    assert "(the first)" in text_of(asked.text)
    assert "(the second)" in text_of(asked.text)
    answered = lead.post(URL, lead.form_in(asked.text, "") | {"fold": ["1"]})
    assert answered.status_code == 303
    assert _incidents(center)[0].started_at == datetime(2027, 10, 31, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize("impact", ["", "catastrophic"])
def test_an_impact_that_is_none_of_ours_is_refused(lead: Browser, impact: str) -> None:
    answer = lead.post(URL, lead.form(URL, "") | {"impact": [impact]}, ANSWERS)
    assert answer.status_code == 422


def test_a_playbook_that_is_not_there_is_not_found(lead: Browser) -> None:
    assert lead.get("/console/declare/no-such-playbook").status_code == 404
