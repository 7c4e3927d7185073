"""The public pages: what is so, until when we promised news, and whether we kept our word."""

import re
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from freezegun.api import FrozenDateTimeFactory
from sqlalchemy import select

from incident_center.center import Center
from incident_center.incidents.verbs import correction_script, current_words, fix_typo
from incident_center.models import Component, Incident, Update
from incident_center.states import ComponentStatus, Impact, Phase, UpdateKind
from tests.builders import LEAD, NOW, a_component, an_incident
from tests.incidents.scenes import declared, published
from tests.web.browser import ids_of
from tests.web.browser import text_of as bare_text

GERMAN = {"Accept-Language": "de-AT,de;q=0.9,en;q=0.5"}
ENGLISH = {"Accept-Language": "en-GB"}
MINUTE = timedelta(minutes=1)


@pytest.fixture
def visitor(app: Flask, freezer: FrozenDateTimeFactory) -> FlaskClient:
    freezer.move_to(NOW)
    return app.test_client()


@pytest.fixture
def incident(center: Center, visitor: FlaskClient) -> Incident:
    """Told of once at 14:00 in Berlin, with the next update promised by 14:30."""
    with center.database.transaction() as session:
        incident = declared(session, center.house, now=NOW)
        published(session, center.house, incident, now=NOW)
        return incident


def text_of(html: str) -> str:
    """What a person reads; a <time> adds no blank before the full stop."""
    return bare_text(re.sub(r"</?time[^>]*>", "", html))


def read(visitor: FlaskClient, url: str = "/", **headers: str) -> str:
    answer = visitor.get(url, headers=headers or ENGLISH)
    assert answer.status_code == 200
    return answer.text


def publish(center: Center, incident: Incident, minutes: int, **parts: Any) -> Update:
    with center.database.transaction() as session:
        row = session.get_one(Incident, incident.id)
        return published(session, center.house, row, now=NOW + minutes * MINUTE, **parts)


def test_a_quiet_day_says_so(visitor: FlaskClient, center: Center) -> None:
    with center.database.transaction() as session:
        a_component(session)
    page = text_of(read(visitor))
    assert "All payouts are running normally" in page
    assert "SEPA Instant payouts Running" in page


def test_an_empty_installation_has_a_page_too(visitor: FlaskClient) -> None:
    assert "All payouts are running normally" in read(visitor)
    assert visitor.get("/history").status_code == 200


def test_the_open_incident_shows_its_facts_and_the_promise(visitor: FlaskClient, incident: Incident) -> None:
    page = read(visitor)
    said = text_of(page)
    assert "Next update by 2:30 pm CET" in said
    assert '<time datetime="2026-11-20T13:30:00Z">2:30\N{NO-BREAK SPACE}pm CET</time>' in page
    assert "SEPA payouts to Germany" in said
    assert "What you can do" in said
    assert "All payouts are running normally" not in said


def test_the_german_page_is_german(visitor: FlaskClient, incident: Incident) -> None:
    page = read(visitor, **GERMAN)
    assert '<html lang="de">' in page
    assert "Nächste Nachricht bis 14:30 Uhr (MEZ)" in text_of(page)
    assert "SEPA-Auszahlungen nach Deutschland" in page


def test_a_promise_that_is_late_says_so_although_every_worker_is_dead(
    visitor: FlaskClient, incident: Incident, freezer: FrozenDateTimeFactory
) -> None:
    freezer.move_to(NOW + 30 * MINUTE + timedelta(seconds=59))
    assert "Next update by 2:30 pm CET" in text_of(read(visitor))
    freezer.move_to(NOW + 31 * MINUTE)
    for url in ("/", f"/i/{incident.id}"):
        said = text_of(read(visitor, url))
        assert "The update was due at 2:30 pm CET. It is late." in said
        assert "Next update by" not in said
    assert "war für 14:30 Uhr (MEZ) zugesagt. Sie verspätet sich." in text_of(read(visitor, **GERMAN))


def test_the_incident_page_tells_everything_newest_first_and_how_promises_were_kept(
    visitor: FlaskClient, incident: Incident, center: Center, freezer: FrozenDateTimeFactory
) -> None:
    publish(center, incident, 20)
    publish(center, incident, 55, phase=Phase.IDENTIFIED)
    publish(center, incident, 70, phase=Phase.RESOLVED)
    freezer.move_to(NOW + 80 * MINUTE)
    page = read(visitor, f"/i/{incident.id}")
    said = text_of(page)
    order = [name for name in ids_of(page) if name.startswith("update-")]
    assert order == ["update-4", "update-3", "update-2", "update-1"]
    assert "Next update promised by 2:30 pm CET: on time, at 2:20 pm CET" in said
    assert "Next update promised by 2:50 pm CET: late, at 2:55 pm CET" in said
    assert "promised by 3:25 pm CET: the problem was over before then, at 3:10 pm CET" in said
    assert "From 1:40 pm CET to 3:10 pm CET" in said


def test_a_correction_is_marked_and_tied_to_what_it_corrects(
    visitor: FlaskClient, incident: Incident, center: Center, freezer: FrozenDateTimeFactory
) -> None:
    with center.database.reading() as session:
        first = session.scalars(select(Update)).one()
    answers = {
        name: {"en": f"the {name} thing", "de": f"das {name} Ding"}
        for name in center.house.library.correction.ask
    }
    publish(
        center,
        incident,
        10,
        kind=UpdateKind.CORRECTION,
        words=correction_script(center.house),
        corrects_update_id=first.id,
        answers=answers,
    )
    freezer.move_to(NOW + 11 * MINUTE)
    page = read(visitor, f"/i/{incident.id}")
    assert 'href="#update-1"' in page
    assert 'href="#update-2"' in page
    assert "Correction to our update of 2:00 pm CET" in text_of(page)
    assert "Part of this was wrong. We corrected it at 2:10 pm CET." in text_of(page)
    home = text_of(read(visitor))
    assert "the right thing" in home
    headline = re.search(r'<h2 id="incident-\d+"[^>]*><a[^>]*>([^<]+)', read(visitor))
    assert headline is not None
    assert "orrection" not in headline[1]


def test_a_mended_typo_is_shown_mended(
    visitor: FlaskClient, incident: Incident, center: Center, freezer: FrozenDateTimeFactory
) -> None:
    with center.database.transaction() as session:
        update = session.scalars(select(Update)).one()
        words = current_words(session, update)
        mended = {
            language: said.model_copy(update={"subject": f"{said.subject} (mended)"})
            for language, said in words.items()
        }
        fix_typo(
            session,
            house=center.house,
            update_id=update.id,
            words=mended,
            reason="typo",
            by=LEAD,
            now=NOW + MINUTE,
        )
    freezer.move_to(NOW + 2 * MINUTE)
    said = text_of(read(visitor, f"/i/{incident.id}"))
    assert "(mended)" in said
    assert "We fixed a typing error at 2:01 pm CET." in said


def test_nothing_is_shown_before_it_is_published(visitor: FlaskClient, center: Center) -> None:
    with center.database.transaction() as session:
        silent = an_incident(session)
    assert visitor.get(f"/i/{silent.id}").status_code == 404
    assert "INC-" not in read(visitor)


def test_an_address_that_leads_nowhere_says_so_in_the_visitors_language(visitor: FlaskClient) -> None:
    answer = visitor.get("/i/4711", headers=GERMAN)
    assert answer.status_code == 404
    assert "Hier ist nichts" in answer.text


def test_a_language_chosen_by_link_is_remembered(visitor: FlaskClient) -> None:
    assert '<html lang="de">' in read(visitor, "/?lang=de")
    assert '<html lang="de">' in read(visitor, "/history")
    assert '<html lang="en">' in read(visitor, "/?lang=en", **GERMAN)
    assert '<html lang="en">' in read(visitor, "/", **GERMAN)
    assert '<html lang="en">' in read(visitor, "/?lang=tlh", **{"Accept-Language": "tlh"})


def test_pages_may_be_kept_for_moments_and_are_not_sent_twice(
    visitor: FlaskClient, incident: Incident
) -> None:
    for url in ("/", f"/i/{incident.id}"):
        first = visitor.get(url, headers=ENGLISH)
        assert first.headers["Cache-Control"] == "public, max-age=10"
        assert {"Accept-Language", "Cookie"} <= set(first.vary)
        assert "Set-Cookie" not in first.headers
        again = visitor.get(url, headers={**ENGLISH, "If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")
        german = visitor.get(url, headers={**GERMAN, "If-None-Match": first.headers["ETag"]})
        assert german.status_code == 200


def test_what_a_lead_types_is_text_and_never_markup(visitor: FlaskClient, center: Center) -> None:
    evil = "<script>alert(1)</script>"
    with center.database.transaction() as session:
        incident = declared(session, center.house, now=NOW, answers={"scope": {"en": evil, "de": evil}})
        published(session, center.house, incident, now=NOW)
    page = read(visitor)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_history_goes_back_in_pages(visitor: FlaskClient, center: Center) -> None:
    with center.database.transaction() as session:
        for number in range(27):
            moment = NOW - timedelta(days=40 - number)
            incident = declared(session, center.house, now=moment)
            published(session, center.house, incident, now=moment)
            published(session, center.house, incident, now=moment + 20 * MINUTE, phase=Phase.RESOLVED)
    first = read(visitor, "/history")
    assert first.count('class="past-link"') == 25
    older = re.search(r'href="(/history\?before=\d+)"', first)
    assert older is not None
    assert read(visitor, older[1]).count('class="past-link"') == 2
    assert "27 updates by a set time so far. 27 came on time, 0 came late." in text_of(first)


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("statuses", "said"),
    [
        (
            [ComponentStatus.MAJOR_OUTAGE, ComponentStatus.MAJOR_OUTAGE],
            "Payouts are not going through at the moment",
        ),
        (
            [ComponentStatus.MAJOR_OUTAGE, ComponentStatus.OPERATIONAL],
            "Some payouts are not going through at the moment",
        ),
        ([ComponentStatus.PARTIAL_OUTAGE], "Some payouts are not going through at the moment"),
        ([ComponentStatus.DEGRADED_PERFORMANCE], "Payouts are slower than usual"),
        (
            [ComponentStatus.DEGRADED_PERFORMANCE, ComponentStatus.OPERATIONAL],
            "Some payouts are slower than usual",
        ),
        ([ComponentStatus.UNDER_MAINTENANCE, ComponentStatus.OPERATIONAL], "Planned work is under way"),
        ([ComponentStatus.OPERATIONAL], "All payouts are running normally"),
    ],
)
def test_the_state_frightens_nobody_without_need(
    visitor: FlaskClient, center: Center, statuses: list[ComponentStatus], said: str
) -> None:
    with center.database.transaction() as session:
        for number, status in enumerate(statuses):
            a_component(session, f"rail-{number}", status=status)
    heading = re.search(r"<h1>(.*?)</h1>", read(visitor))
    assert heading is not None
    assert heading[1] == said


@pytest.mark.one_database
def test_an_open_incident_is_never_all_normal(
    visitor: FlaskClient, incident: Incident, center: Center
) -> None:
    publish(center, incident, 5, phase=Phase.MONITORING)
    with center.database.transaction() as session:
        for component in session.scalars(select(Component)):
            component.status = ComponentStatus.OPERATIONAL
    assert "we are keeping watch" in read(visitor)


@pytest.mark.one_database
def test_every_impact_and_phase_has_a_tone(visitor: FlaskClient, center: Center) -> None:
    with center.database.transaction() as session:
        for impact in Impact:
            incident = declared(session, center.house, now=NOW, impact=impact)
            published(session, center.house, incident, now=NOW)
    page = read(visitor)
    assert page.count('class="card tone-') == len(Impact)
    assert 'tone-"' not in page
