"""The delivery panel: numbers for everybody, deeds for leads; every deed is asked about first and noted."""

import csv
import io
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from incident_center import clock
from incident_center.center import Center
from incident_center.delivery.state_words import STATES
from incident_center.models import (
    AuditEntry,
    Delivery,
    Fanout,
    Incident,
    Provider,
    Subscriber,
    Update,
    WorkerBeat,
)
from incident_center.states import Channel, DeliveryState, FanoutState, ProviderState, SubscriberState
from incident_center.web.console import delivery_words as words
from tests.builders import a_subscriber, juergen, mai
from tests.delivery.servers import DROP, Mailhost, mailhost
from tests.delivery.stories import Clock, Post, publish, with_providers
from tests.web.browser import Browser, signed_in, text_of

REFUSED = "552 5.2.3 longer than this mailbox takes"


@pytest.fixture
def smtp() -> Iterator[Mailhost]:
    with mailhost() as host:
        yield host


@pytest.fixture
def story() -> Clock:
    """The worker's clock; the pages tell the real time."""
    return Clock(clock.now())


@pytest.fixture
def post(center: Center, smtp: Mailhost, story: Clock) -> Iterator[Post]:
    """A worker with an e-mail provider; nothing goes out by SMS."""
    post = Post(center.database, with_providers(center.house, email=smtp.url), story)
    yield post
    post.engine.release()


@pytest.fixture
def lead(app: Flask) -> Browser:
    return signed_in(app, "lead", email="lea@example.com")


@pytest.fixture
def viewer(app: Flask) -> Browser:
    return signed_in(app, "viewer")


@pytest.fixture
def update(post: Post, smtp: Mailhost, story: Clock) -> Update:
    """Two have it, two were refused, one may have it, one is tried again, and Mai waits for her SMS."""
    smtp.replies = _by_name
    with post.database.transaction() as session:
        for name in ("fine", "refused-1", "refused-2", "full", "lost"):
            a_subscriber(session, email=f"{name}@example.com", name='=HYPERLINK("http://evil")')
        juergen(session)
        mai(session)
        update = publish(session, post.house, now=story())
        session.add(WorkerBeat(owner="w", host="h", started_at=story(), beat_at=story()))
    post.work()
    return update


def _by_name(step: str, recipient: str) -> str | None:
    if step == "rcpt" and recipient.startswith("refused"):
        return REFUSED
    if step == "rcpt" and recipient.startswith("full"):
        return "452 4.2.2 <b>mailbox</b> full"
    return DROP if step == "dot" and recipient.startswith("lost") else None


def _page(update: Update, rest: str = "") -> str:
    return f"/console/updates/{update.id}/delivery{rest}"


def _noted(center: Center, action: str) -> list[AuditEntry]:
    with center.database.reading() as session:
        return list(session.scalars(select(AuditEntry).where(AuditEntry.action == action)))


def _states(center: Center) -> dict[str, str]:
    with center.database.reading() as session:
        rows = session.execute(
            select(Subscriber.email, Delivery.state).join(Delivery, Delivery.subscriber_id == Subscriber.id)
        )
        return {(row.email or "").partition("@")[0]: row.state.value for row in rows}


def test_a_viewer_sees_the_numbers_and_no_addresses(viewer: Browser, update: Update) -> None:
    page = viewer.get(_page(update)).text
    said = text_of(page)
    assert "Handed over the provider has taken it 2 0 2" in said
    assert "Failed refused for good, or given up 2 0 2" in said
    assert "Everybody 6 1 7" in said
    assert "longer than this mailbox takes" in said
    assert "&lt;b&gt;mailbox" in page
    assert not [name for name in ("fine@", "refused-1@", "full@", "lost@", "gross@", "+1212") if name in page]
    assert "What you can do" not in said
    for path in ("/stop", "/again"):
        assert viewer.get(_page(update, path)).status_code == 403
        assert viewer.post(_page(update, path)).status_code == 403
    assert viewer.post(_page(update, "/call-list")).status_code == 403


def test_the_room_leads_to_the_panel(viewer: Browser, update: Update) -> None:
    assert _page(update) in viewer.get(f"/console/incidents/{update.incident_id}").text
    assert viewer.get("/console/updates/999/delivery").status_code == 404


def test_a_reason_names_its_people_by_number(viewer: Browser, update: Update, center: Center) -> None:
    folded = viewer.get(_page(update)).text
    link = next(part for part in folded.split('href="') if "reason=" in part and "who-" not in part[:40])
    page = text_of(viewer.get(link.partition("#")[0].partition('"')[0].replace("&amp;", "&")).text)
    with center.database.reading() as session:
        failed = session.scalars(
            select(Delivery.subscriber_id).where(Delivery.state == DeliveryState.FAILED)
        ).all()
    assert all(f"subscriber {number}" in page for number in failed)
    assert "Hide who" in page


def test_the_panel_polls_while_something_moves_and_then_stops(
    viewer: Browser, update: Update, center: Center
) -> None:
    moving = viewer.get(_page(update, "/panel"), htmx=True)
    assert "HX-Request" in moving.headers["Vary"]
    assert "hx-trigger" in moving.text
    assert viewer.get(_page(update, "/panel")).headers["Location"].endswith(_page(update))
    with center.database.transaction() as session:
        fanout = session.scalars(select(Fanout)).one()
        fanout.state = FanoutState.CANCELLED
        for row in session.scalars(select(Delivery).where(Delivery.not_before.is_not(None))):
            row.not_before, row.state = None, DeliveryState.CANCELLED
    assert "hx-trigger" not in viewer.get(_page(update, "/panel"), htmx=True).text


def test_speed_and_time_left_come_from_two_looks(
    viewer: Browser, update: Update, center: Center, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = clock.now()
    monkeypatch.setattr(clock, "now", lambda: first)
    said = text_of(viewer.get(_page(update, "/panel"), htmx=True).text)
    assert "Speed measuring…" in said
    with center.database.transaction() as session:
        for row in session.scalars(select(Delivery).where(Delivery.state == DeliveryState.RETRY)):
            row.state, row.not_before = DeliveryState.ACCEPTED, None
    monkeypatch.setattr(clock, "now", lambda: first + timedelta(seconds=2))
    said = text_of(viewer.get(_page(update, "/panel"), htmx=True).text)
    assert "Speed 30 a minute" in said
    assert "Time left less than a minute" in said  # Mai is left, and it was one in two seconds


def test_a_resting_provider_is_shown_with_its_words(
    viewer: Browser, update: Update, post: Post, app: Flask, center: Center, smtp: Mailhost
) -> None:
    here = app.extensions["incident_center"]
    app.extensions["incident_center"] = type(here)(
        settings=post.house.settings, database=here.database, house=here.house
    )
    assert "E-mail 1 (smtp) well" in text_of(viewer.get(_page(update)).text)
    until = clock.now() + timedelta(seconds=90)
    with center.database.transaction() as session:
        provider = session.scalars(select(Provider)).one()
        provider.state, provider.rest_until = ProviderState.RESTING, until
        provider.last_trouble_at, provider.last_code = clock.now(), "421"
        provider.last_words = "too busy <now>"
    page = viewer.get(_page(update)).text
    said = text_of(page)
    assert f"resting until {words.exact(until, zone=center.house.zone)}, then tried again" in said
    assert "421" in said
    assert "too busy &lt;now&gt;" in page


def test_a_worker_that_is_gone_is_told(viewer: Browser, update: Update, center: Center) -> None:
    assert "No worker is running" not in viewer.get(_page(update)).text
    with center.database.transaction() as session:
        session.scalars(select(WorkerBeat)).one().beat_at -= timedelta(minutes=5)
    assert "No worker is running" in viewer.get(_page(update)).text


def test_stopping_is_asked_about_done_once_and_noted(lead: Browser, update: Update, center: Center) -> None:
    asked = lead.get(_page(update, "/stop"))
    said = text_of(asked.text)
    assert "2 people have not been written to yet" in said
    assert "1 by e-mail" in said
    assert "1 by SMS" in said
    form = lead.form_in(asked.text, "")
    answer = lead.post(_page(update, "/stop"), form)
    assert answer.headers["Location"].endswith("?stopped=2")
    assert "2 people will not get this update" in text_of(lead.get(answer.headers["Location"]).text)
    assert lead.post(_page(update, "/stop"), form).headers["Location"].endswith("?stopped=0")
    (entry,) = _noted(center, "delivery.stopped")
    assert (entry.by, entry.incident_id, entry.subject) == (
        "lea@example.com",
        update.incident_id,
        "update 1",
    )
    assert entry.detail == {"not_written_to": {"email": 1, "sms": 1}, "on_the_wire": 0}
    assert _states(center)["full"] == "cancelled"


def test_what_a_newer_update_has_replaced_is_neither_stopped_nor_sent_again(
    lead: Browser, update: Update, center: Center, post: Post
) -> None:
    stop, again = lead.form(_page(update, "/stop"), ""), lead.form(_page(update, "/again"), "")
    with center.database.transaction() as session:
        publish(session, post.house, session.get_one(Incident, update.incident_id), now=clock.now())
    answer = lead.post(_page(update, "/stop"), stop)
    assert answer.status_code == 409
    assert "A newer update has taken this one's place" in text_of(answer.text)
    answer = lead.post(_page(update, "/again"), again, {"states": ["failed"]})
    assert answer.status_code == 409
    assert "Whoever missed this one gets the newer one" in text_of(answer.text)
    assert _noted(center, "delivery.stopped") == _noted(center, "delivery.resent") == []


def test_sending_again_reaches_those_missed_and_a_second_click_does_nothing(
    lead: Browser, update: Update, center: Center, post: Post, smtp: Mailhost, story: Clock
) -> None:
    with center.database.transaction() as session:
        lost = session.scalars(select(Delivery).where(Delivery.state == DeliveryState.UNKNOWN)).one()
        lost.not_before = None  # its second time is over
    asked = lead.get(_page(update, "/again"))
    assert "They may have it already, and then get it twice." in text_of(asked.text)
    form = lead.form_in(asked.text, "")
    assert form["states"] == ["failed"]  # the unclear one only if a lead says so
    smtp.replies = lambda *_: None
    answer = lead.post(_page(update, "/again"), form)
    assert answer.headers["Location"].endswith("?again=2")
    assert "2 people are being written to again" in text_of(lead.get(answer.headers["Location"]).text)
    second = lead.post(_page(update, "/again"), form)
    assert second.headers["Location"].endswith("?again=0")
    assert "you have clicked twice" in text_of(lead.get(second.headers["Location"]).text)
    story.at = clock.now()
    post.work()
    assert [smtp.recipients().count(f"refused-{n}@example.com") for n in (1, 2)] == [1, 1]
    (entry,) = _noted(center, "delivery.resent")
    assert entry.detail == {"people": {"failed": 2}}


def test_a_form_that_makes_no_sense_sends_nothing(lead: Browser, update: Update, center: Center) -> None:
    form = lead.form(_page(update, "/again"), "")
    faults: list[tuple[dict[str, Any], str]] = [
        ({"states": []}, "Choose who is written to again"),
        ({"states": ["accepted"]}, "Choose who is written to again"),
        ({"as_of": ["2199-01-01T00:00:00+00:00"]}, "Reload it and choose again"),
        ({"as_of": ["yesterday"]}, "Reload it and choose again"),
        ({"as_of": ["0001-01-01T00:00:00+14:00"]}, "Reload it and choose again"),
    ]
    for typed, said in faults:
        answer = lead.post(_page(update, "/again"), form, typed)
        assert answer.status_code == 422
        assert said in text_of(answer.text)
    assert _states(center)["refused-1"] == "failed"


def test_the_call_list_is_noted_and_runs_no_formula(lead: Browser, update: Update, center: Center) -> None:
    with center.database.transaction() as session:
        lost = session.scalars(select(Delivery).where(Delivery.state == DeliveryState.UNKNOWN)).one()
        lost.not_before = None
        refused = session.scalars(select(Subscriber).where(Subscriber.email == "refused-1@example.com")).one()
        refused.phone, refused.state = "+4915112345678", SubscriberState.SUPPRESSED
        refused.name = "Ann;=1+1\t=2+2"  # a German spreadsheet begins a cell at each semicolon
        fanout = session.scalars(select(Fanout)).one()
        fanout.expires_at = clock.now() - timedelta(seconds=1)
    answer = lead.post(_page(update, "/call-list"))
    name = f"INC-{update.incident_id}-update-1-not-reached.csv"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.data.startswith(b"\xef\xbb\xbfname,form,language,time zone,phone,e-mail,channel,state")
    lines = list(csv.DictReader(io.StringIO(answer.data.decode("utf-8-sig"))))
    assert [(line["e-mail"], line["state"], line["may have it"]) for line in lines] == [
        ("full@example.com", "To be tried again", "no"),
        ("refused-1@example.com", "Failed", "no"),
        ("refused-2@example.com", "Failed", "no"),
        ("lost@example.com", "Unclear", "yes"),
        ("", "Too late", "no"),  # Mai: nothing goes out by SMS, and by now it would be old news
    ]
    assert lines[1]["phone"] == "(+49) 1511 2345678"
    assert lines[1]["reason"] == "552 5.2.3"
    assert lines[1]["name"] == "Ann,=1+1,=2+2"
    assert not [cell for line in lines for cell in line.values() if cell.startswith(("=", "+", "-", "@"))]
    (entry,) = _noted(center, "delivery.call_list")
    assert entry.by == "lea@example.com"
    assert entry.detail == {"people": {"failed": 2, "retry": 1, "unknown": 1}}


def test_times_are_said_as_exactly_as_they_are_known() -> None:
    def left(seconds: float | None, *, measuring: bool = False) -> str:
        return words.time_left(seconds, measuring=measuring, moving=True, all_found=True)

    assert [left(seconds) for seconds in (3, 60, 170, 1000, 3300, 9000)] == [
        "less than a minute",
        "about a minute",
        "about 3 minutes",
        "about 15 minutes",
        "about an hour",
        "about 2 hours",
    ]
    assert (left(None, measuring=True), left(None)) == ("measuring…", "–")
    assert words.time_left(60, measuring=False, moving=True, all_found=False) == "about a minute or more"
    assert [words.speed(rate, moving=True) for rate in (1204.4, 3.42, 0.5, 0, None)] == [
        "1,204 a second",
        "3.4 a second",
        "30 a minute",
        "nothing moves",
        "measuring…",
    ]
    assert words.speed(5, moving=False) == "–"
    assert set(STATES) == set(DeliveryState)
    assert set(Channel) == {Channel.EMAIL, Channel.SMS}
