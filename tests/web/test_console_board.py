"""The board: what presses most, how promises were kept, who is there to keep them."""

from datetime import timedelta

import pytest
from flask import Flask
from freezegun.api import FrozenDateTimeFactory
from sqlalchemy import select, text

from incident_center.center import Center
from incident_center.models import Component, ComponentChange, WorkerBeat
from incident_center.states import ComponentStatus, Phase
from tests.builders import NOW, a_component
from tests.incidents.scenes import declared, published
from tests.web.browser import Browser, signed_in, text_of

pytestmark = pytest.mark.one_database


@pytest.fixture
def lead(app: Flask, freezer: FrozenDateTimeFactory) -> Browser:
    freezer.move_to(NOW)
    return signed_in(app, "lead", email="lea@example.com")


def _beat(center: Center, *, ago: timedelta) -> None:
    with center.database.transaction() as session:
        session.add(WorkerBeat(owner="w1", host="h", started_at=NOW - timedelta(days=1), beat_at=NOW - ago))


def test_an_empty_board_is_calm(lead: Browser) -> None:
    page = text_of(lead.get("/console/").text)
    assert "No open incident" in page
    assert "None made yet" in page


def test_an_incident_without_words_says_that_customers_know_nothing(lead: Browser, center: Center) -> None:
    with center.database.transaction() as session:
        declared(session, center.house, now=NOW)
    assert "Customers and agents know nothing" in text_of(lead.get("/console/").text)


def test_the_most_pressing_promise_stands_first(lead: Browser, center: Center) -> None:
    with center.database.transaction() as session:
        for minutes in (90, 20, 50):
            row = declared(session, center.house, now=NOW)
            published(session, center.house, row, now=NOW, next_update_by=NOW + timedelta(minutes=minutes))
    page = text_of(lead.get("/console/").text)
    places = [page.index(f"Next update by {time}") for time in ("14:20", "14:50", "15:30")]
    assert places == sorted(places)


def test_the_board_counts_kept_and_late_promises(lead: Browser, center: Center) -> None:
    with center.database.transaction() as session:
        row = declared(session, center.house, now=NOW)
        for minutes in (0, 20, 60):  # promised for 30: the second comes in time, the third late
            published(session, center.house, row, now=NOW + timedelta(minutes=minutes))
    page = text_of(lead.get("/console/").text)
    assert "1 of 2 kept" in page
    assert "1 late · 1 open" in page


def test_what_is_over_is_listed_under_recently_resolved(lead: Browser, center: Center) -> None:
    with center.database.transaction() as session:
        row = declared(session, center.house, now=NOW)
        published(session, center.house, row, now=NOW, phase=Phase.RESOLVED)
    page = text_of(lead.get("/console/").text)
    assert "No open incident" in page
    assert f"{row.ref} · 14:00 CET" in page.split("Recently resolved")[1]


def test_the_moving_part_polls_itself_and_is_no_page(lead: Browser) -> None:
    part = lead.get("/console/board", htmx=True)
    assert part.text.lstrip().startswith('<div id="board"')
    assert 'hx-trigger="every 10s"' in part.text
    assert "HX-Request" in part.headers["Vary"]
    assert lead.get("/console/board").headers["Location"] == "/console/"


@pytest.mark.parametrize(("seconds", "alarm"), [(10, False), (50, True)])
def test_the_board_alarms_when_no_worker_keeps_the_promises(
    lead: Browser, center: Center, seconds: int, alarm: bool
) -> None:
    _beat(center, ago=timedelta(seconds=seconds))
    assert ("No worker has been seen" in text_of(lead.get("/console/").text)) is alarm


def test_the_board_alarms_when_there_never_was_a_worker(lead: Browser) -> None:
    assert "No worker has been seen yet" in text_of(lead.get("/console/").text)


def test_a_status_is_changed_by_hand_and_by_name(lead: Browser, center: Center) -> None:
    with center.database.transaction() as session:
        component = a_component(session, "cards")
    answer = lead.post(f"/console/components/{component.id}", {"status": "under_maintenance"})
    assert answer.status_code == 303
    assert "Saved" in lead.get(answer.headers["Location"]).text
    with center.database.reading() as session:
        assert session.get_one(Component, component.id).status is ComponentStatus.UNDER_MAINTENANCE
        assert session.scalars(select(ComponentChange.by)).all() == ["lea@example.com"]


def test_a_status_that_is_none_of_ours_is_refused(lead: Browser, center: Center) -> None:
    with center.database.transaction() as session:
        component = a_component(session, "cards")
    assert lead.post(f"/console/components/{component.id}", {"status": "on_fire"}).status_code == 422
    assert lead.post("/console/components/999", {"status": "operational"}).status_code == 404


def test_a_database_without_room_is_not_taken_for_a_missing_worker(lead: Browser, center: Center) -> None:
    """The page itself writes nothing."""
    _beat(center, ago=timedelta(minutes=2))
    with center.database.transaction() as session:
        for deed in ("INSERT", "UPDATE", "DELETE"):
            for table in ("worker_beats", "staff", "audit_entries", "incidents"):
                session.execute(text(_NO_ROOM.format(deed=deed, table=table)))
    for path in ("/console/", "/console/board"):
        page = lead.get(path, htmx=True)
        assert page.status_code == 200
        assert "The database takes no writes; its disk may be full." in text_of(page.text)
        assert "No worker has been seen" not in text_of(page.text)


_NO_ROOM = (
    "CREATE TRIGGER no_room_{table}_{deed} BEFORE {deed} ON {table}"
    " BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
)


def test_what_keeps_a_worker_from_its_work_stands_on_the_board(lead: Browser, center: Center) -> None:
    _beat(center, ago=timedelta(seconds=5))
    with center.database.transaction() as session:
        session.scalars(select(WorkerBeat)).one().note = "its clock is ahead of the database's"
    assert "A worker on h says: its clock is ahead of the database's." in text_of(lead.get("/console/").text)
