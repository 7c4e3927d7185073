"""The incident room: write, preview, publish, lose nothing."""

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from freezegun.api import FrozenDateTimeFactory
from sqlalchemy import select

from incident_center.center import Center
from incident_center.incidents.verbs import open_draft
from incident_center.models import AuditEntry, Component, Incident, Promise, Update, UpdateFix
from incident_center.states import ComponentStatus, Phase, PromiseState, UpdateKind
from tests.builders import NOW, a_component, a_subscriber, an_incident, juergen, mai
from tests.incidents.scenes import declared, published
from tests.web.browser import Browser, Values, ids_of, signed_in, text_of

pytestmark = pytest.mark.one_database  # the verbs' own tests run on both

HALF_AN_HOUR = timedelta(minutes=30)


@pytest.fixture
def lead(app: Flask, freezer: FrozenDateTimeFactory) -> Browser:
    freezer.move_to(NOW)
    return signed_in(app, "lead", email="lea@example.com")


@pytest.fixture
def incident(center: Center, lead: Browser) -> Incident:
    with center.database.transaction() as session:
        return declared(session, center.house, now=NOW)


def _room(incident: Incident, query: str = "") -> str:
    return f"/console/incidents/{incident.id}{query}"


def _composer(lead: Browser, incident: Incident, query: str = "") -> Values:
    return lead.form(_room(incident, query), "/publish")


def _updates(center: Center) -> list[Update]:
    with center.database.reading() as session:
        return list(session.scalars(select(Update).order_by(Update.id)))


def _publish(center: Center, incident: Incident, **parts: Any) -> Update:
    """What a colleague (or an earlier scene) published."""
    with center.database.transaction() as session:
        row = session.get_one(Incident, incident.id)
        return published(session, center.house, row, now=NOW, by="ole@example.com", **parts)


def test_the_script_can_be_published_as_it_stands(lead: Browser, incident: Incident, center: Center) -> None:
    answer = lead.post(_room(incident, "/publish"), _composer(lead, incident))
    assert answer.status_code == 303
    assert answer.headers["Location"].endswith(f"/console/incidents/{incident.id}#update-1")
    (update,) = _updates(center)
    assert update.published_by == "lea@example.com"
    assert update.script_changes == {}
    assert update.next_update_by == NOW + HALF_AN_HOUR
    with center.database.reading() as session:
        assert session.scalars(select(Promise)).one().state is PromiseState.OPEN
        assert session.scalars(select(Component.status)).all() == [ComponentStatus.MAJOR_OUTAGE] * 2


def test_edited_words_are_published_and_the_difference_is_kept(
    lead: Browser, incident: Incident, center: Center
) -> None:
    form = _composer(lead, incident) | {"words.en.subject": ["Nothing moves: {scope}"]}
    assert lead.post(_room(incident, "/publish"), form).status_code == 303
    room = text_of(lead.get(_room(incident)).text)
    assert "Nothing moves: SEPA payouts to Germany" in room
    assert "Changed against the script" in room
    (change,) = _updates(center)[0].script_changes["en"]
    assert (change["field"], change["before"]) == ("subject", "Delayed: {scope}")


def test_an_unticked_confirmation_stops_the_words(lead: Browser, incident: Incident, center: Center) -> None:
    form = _composer(lead, incident, "?phase=monitoring")
    answer = lead.post(_room(incident, "/publish"), form, {"confirmed": ["0", "1"]})
    assert answer.status_code == 422
    kept = lead.form_in(answer.text, "/publish")
    assert kept["confirmed"] == ["0", "1"]
    assert answer.text.count("Tick this, or do not say it.") == 2
    assert _updates(center) == []
    ticked = kept | {"confirmed": ["0", "1", "2", "3"]}
    assert lead.post(_room(incident, "/publish"), ticked).status_code == 303


def test_what_is_refused_keeps_every_typed_word(lead: Browser, incident: Incident, center: Center) -> None:
    typed = {
        "words.en.known": ["Broken since {yesterday}.\nA second <sentence> & more."],
        "words.de.sms": [""],
        "words.en.phone": ["Dear caller,\nwait."],
        "next_update": ["at"],
        "next_at": ["13:59"],
        "status.cards": ["partial_outage"],
    }
    answer = lead.post(_room(incident, "/publish"), _composer(lead, incident) | typed)
    assert answer.status_code == 422
    kept = lead.form_in(answer.text, "/publish")
    for name, values in typed.items():
        assert kept[name] == values, name
    said = text_of(answer.text)
    assert "Deutsch: “SMS” is empty." in said
    assert "yesterday" in said
    assert _updates(center) == []


def test_a_newer_update_by_somebody_else_answers_409_and_keeps_the_words(
    lead: Browser, incident: Incident, center: Center
) -> None:
    form = _composer(lead, incident) | {"words.en.subject": ["Mine: {scope}"]}
    _publish(center, incident)
    answer = lead.post(_room(incident, "/publish"), form)
    assert answer.status_code == 409
    said = text_of(answer.text)
    assert "Somebody else was first" in said
    assert "ole@example.com" in said
    kept = lead.form_in(answer.text, "/publish")
    assert kept["words.en.subject"] == ["Mine: {scope}"]
    assert len(_updates(center)) == 1
    assert lead.post(_room(incident, "/publish"), kept).status_code == 303  # having read it, the lead goes on


def test_the_same_form_sent_twice_publishes_once(lead: Browser, incident: Incident, center: Center) -> None:
    form = _composer(lead, incident)
    assert lead.post(_room(incident, "/publish"), form).status_code == 303
    assert lead.post(_room(incident, "/publish"), form).status_code == 409
    assert len(_updates(center)) == 1


def test_a_second_click_is_told_that_the_first_one_worked(lead: Browser, incident: Incident) -> None:
    form = _composer(lead, incident)
    lead.post(_room(incident, "/publish"), form)
    said = text_of(lead.post(_room(incident, "/publish"), form).text)
    assert "You have published already" in said
    assert "Somebody else was first" not in said


def test_the_button_that_enter_presses_is_not_the_one_that_publishes(
    lead: Browser, incident: Incident
) -> None:
    page = lead.get(_room(incident)).text
    buttons = re.findall(r'<button[^>]*form="composer"[^>]*>', page)
    assert "/preview" in buttons[0]
    assert "<button" not in page.split('id="composer"')[1].split("</form>")[0]


def test_a_draft_is_kept_as_typed_and_restored(lead: Browser, incident: Incident, center: Center) -> None:
    form = _composer(lead, incident, "?phase=identified") | {
        "words.de.known": ["Halb fertig"],
        "words.en.sms": [""],
        "next_update": ["at"],
        "next_at": ["17:15"],
    }
    assert lead.post(_room(incident, "/draft"), form, {"confirmed": ["1"]}).status_code == 303
    restored = _composer(lead, incident)
    assert restored["phase"] == ["identified"]
    assert restored["words.de.known"] == ["Halb fertig"]
    assert restored["words.en.sms"] == [""]
    assert restored["confirmed"] == ["1"]
    assert restored["next_at"] == ["17:15"]
    assert _updates(center) == []


def test_a_published_draft_is_gone_from_the_room(lead: Browser, incident: Incident, center: Center) -> None:
    lead.post(_room(incident, "/draft"), _composer(lead, incident))
    assert lead.post(_room(incident, "/publish"), _composer(lead, incident)).status_code == 303
    with center.database.reading() as session:
        assert open_draft(session, incident.id) is None


def test_a_draft_that_somebody_else_saved_is_not_overwritten_unseen(
    app: Flask, lead: Browser, incident: Incident, center: Center
) -> None:
    other = signed_in(app, "lead", email="ole@example.com")
    mine, theirs = _composer(lead, incident), _composer(other, incident)
    other.post(_room(incident, "/draft"), theirs | {"words.en.subject": ["Theirs"]})
    answer = lead.post(_room(incident, "/draft"), mine | {"words.en.subject": ["Mine"]})
    assert answer.status_code == 409
    assert lead.form_in(answer.text, "/publish")["words.en.subject"] == ["Mine"]
    with center.database.reading() as session:
        draft = open_draft(session, incident.id)
        assert draft is not None
        assert draft.words["en"]["subject"] == "Theirs"


def test_a_discarded_draft_gives_way_to_the_script(lead: Browser, incident: Incident) -> None:
    script = _composer(lead, incident)
    lead.post(_room(incident, "/draft"), script | {"words.en.subject": ["Away with this"]})
    assert lead.post(_room(incident, "/discard")).status_code == 303
    assert _composer(lead, incident)["words.en.subject"] == script["words.en.subject"]


def test_the_second_update_of_a_phase_goes_on_from_the_first(
    lead: Browser, incident: Incident, center: Center
) -> None:
    lead.post(
        _room(incident, "/publish"), _composer(lead, incident) | {"words.en.subject": ["Edited: {scope}"]}
    )
    assert _composer(lead, incident)["words.en.subject"] == ["Edited: {scope}"]
    script = _composer(lead, incident, "?phase=investigating&words=script")
    assert script["words.en.subject"] == ["Delayed: {scope}"]
    assert "Still delayed" in _composer(lead, incident, "?phase=identified")["words.en.subject"][0]


def test_after_a_holding_update_the_lead_goes_on_from_their_own_words(
    lead: Browser, incident: Incident, center: Center
) -> None:
    lead.post(
        _room(incident, "/publish"), _composer(lead, incident) | {"words.en.subject": ["Mine: {scope}"]}
    )
    holding = center.house.library.holding_words("payout-gateway-down", 1)
    _publish(center, incident, kind=UpdateKind.HOLDING, words=holding)
    assert _composer(lead, incident)["words.en.subject"] == ["Mine: {scope}"]


def test_minutes_and_a_typed_time_at_once_are_asked_about(lead: Browser, incident: Incident) -> None:
    form = _composer(lead, incident) | {"next_update": ["30"], "next_at": ["17:00"]}
    answer = lead.post(_room(incident, "/publish"), form)
    assert answer.status_code == 422
    assert "You chose minutes and typed a time" in answer.text


def test_the_preview_shows_what_is_typed_and_saves_nothing(
    lead: Browser, incident: Incident, center: Center
) -> None:
    form = _composer(lead, incident) | {"words.en.sms": ["Hi {company} {next_update_by} {status_url} €"]}
    answer = lead.post(_room(incident, "/preview"), form, htmx=True)
    assert answer.status_code == 200
    assert answer.headers["Vary"].startswith("HX-Request")
    assert "<html" not in answer.text
    assert "Hi Example Pay 2:30 pm CET https://status.example.com/i/" in text_of(answer.text)
    assert "1 change against the script" in text_of(answer.text)
    with center.database.reading() as session:
        assert open_draft(session, incident.id) is None


def test_the_preview_works_without_javascript_too(lead: Browser, incident: Incident) -> None:
    form = _composer(lead, incident) | {"words.en.subject": ["Look at {scope}"]}
    answer = lead.post(_room(incident, "/preview"), form)
    assert "<html" in answer.text
    assert "Look at SEPA payouts to Germany" in text_of(answer.text)
    assert lead.form_in(answer.text, "/publish")["words.en.subject"] == ["Look at {scope}"]


def test_the_room_says_how_many_people_are_written_to(
    lead: Browser, incident: Incident, center: Center
) -> None:
    with center.database.transaction() as session:
        juergen(session)
        mai(session)
        a_subscriber(session, components=[a_component(session, "wallet")])  # not concerned
    said = text_of(lead.get(_room(incident)).text)
    assert "Writes to 2 people" in said
    assert "Promises news by 14:30 CET" in said
    assert "E-mail 1 1 Deutsch" in said
    assert "SMS 1 1 English" in said


def test_resolving_ends_the_incident_and_its_composer(
    lead: Browser, incident: Incident, center: Center
) -> None:
    _publish(center, incident)
    form = _composer(lead, incident, "?phase=resolved")
    assert "next_update" not in form
    assert (
        lead.post(_room(incident, "/publish"), form, {"confirmed": ["0", "1", "2", "3"]}).status_code == 303
    )
    with center.database.reading() as session:
        after = session.get_one(Incident, incident.id)
        assert after.phase is Phase.RESOLVED
        assert after.resolved_at == NOW
    page = lead.get(_room(incident)).text
    assert 'id="composer"' not in page
    assert "hx-trigger" not in page.split('id="promise"')[1].split(">")[0]


def test_a_correction_says_what_was_wrong_and_what_is_right(
    lead: Browser, incident: Incident, center: Center
) -> None:
    wrong = _publish(center, incident)
    form = _composer(lead, incident, f"?corrects={wrong.id}")
    unsaid = lead.post(_room(incident, "/publish"), form)
    assert unsaid.status_code == 422
    assert "Please answer this question" in unsaid.text
    assert "is not known here" not in unsaid.text
    answers = {
        "answers.wrong.en": "Cards are fine.",
        "answers.wrong.de": "Karten gehen.",
        "answers.right.en": "Cards are delayed too.",
        "answers.right.de": "Auch Karten verzögern sich.",
    }
    answer = lead.post(_room(incident, "/publish"), form, answers)
    assert answer.status_code == 303, text_of(answer.text)
    correction = _updates(center)[-1]
    assert correction.kind is UpdateKind.CORRECTION
    assert correction.corrects_update_id == wrong.id
    assert "Cards are delayed too." in text_of(lead.get(_room(incident)).text)


def test_an_ended_incident_can_still_be_corrected(lead: Browser, incident: Incident, center: Center) -> None:
    last = _publish(center, incident, phase=Phase.RESOLVED)
    form = _composer(lead, incident, f"?corrects={last.id}")
    assert "next_update" not in form
    answers = {f"answers.{name}.{lang}": "Words." for name in ("wrong", "right") for lang in ("en", "de")}
    answer = lead.post(_room(incident, "/publish"), form, answers)
    assert answer.status_code == 303, text_of(answer.text)
    assert _updates(center)[-1].kind is UpdateKind.CORRECTION
    with center.database.reading() as session:
        assert session.get_one(Incident, incident.id).phase is Phase.RESOLVED


def test_an_update_of_another_incident_cannot_be_corrected_here(
    lead: Browser, incident: Incident, center: Center
) -> None:
    with center.database.transaction() as session:
        other = an_incident(session)
    wrong = _publish(center, other)
    assert lead.get(_room(incident, f"?corrects={wrong.id}")).status_code == 404


def test_a_typo_is_fixed_without_writing_to_anybody(
    lead: Browser, incident: Incident, center: Center
) -> None:
    update = _publish(center, incident)
    url = f"/console/updates/{update.id}/fix"
    form = lead.form(url, "") | {"words.en.subject": ["Delayed again: {scope}"]}
    assert lead.post(url, form).status_code == 422  # without a reason
    assert lead.post(url, form, {"reason": "mistyped"}).status_code == 303
    with center.database.reading() as session:
        assert session.scalars(select(UpdateFix.by)).all() == ["lea@example.com"]
    assert len(_updates(center)) == 1
    said = text_of(lead.get(_room(incident)).text)
    assert "Delayed again: SEPA payouts to Germany" in said
    assert "Typo fixed" in said


def test_the_promise_tells_of_a_newer_update_without_taking_the_words_away(
    lead: Browser, incident: Incident, center: Center
) -> None:
    quiet = lead.get(_room(incident, "/promise?seen=0"), htmx=True).text
    assert "published update" not in quiet
    _publish(center, incident)
    loud = text_of(lead.get(_room(incident, "/promise?seen=0"), htmx=True).text)
    assert "ole@example.com published update 1" in loud


@pytest.mark.parametrize(("seconds", "state"), [(30 * 60 + 59, "open"), (31 * 60, "overdue")])
def test_a_promise_is_late_when_its_minute_is_over(
    lead: Browser,
    incident: Incident,
    center: Center,
    freezer: FrozenDateTimeFactory,
    seconds: int,
    state: str,
) -> None:
    _publish(center, incident)
    freezer.move_to(NOW + timedelta(seconds=seconds))
    for url in (_room(incident), "/console/"):
        page = lead.get(url).text
        assert f"timer-{state}" in page
        assert ("Update was due at" in page) is (state == "overdue")


def test_a_viewer_reads_and_cannot_write(
    app: Flask, lead: Browser, incident: Incident, center: Center
) -> None:
    _publish(center, incident)
    viewer = signed_in(app, "viewer")
    page = viewer.get(_room(incident)).text
    assert 'id="update-1"' in page
    assert 'id="composer"' not in page
    assert "Correct it" not in page
    for action in ("/publish", "/draft", "/discard", "/preview"):
        assert viewer.post(_room(incident, action)).status_code == 403


def test_confirmations_are_read_in_the_leads_language(app: Flask, lead: Browser, incident: Incident) -> None:
    german = signed_in(app, "lead", language="de")
    assert "Finanzabteilung" in german.get(_room(incident, "?phase=monitoring")).text


def test_ids_on_the_rooms_pages_are_unique(lead: Browser, incident: Incident, center: Center) -> None:
    update = _publish(center, incident)
    for url in (
        _room(incident),
        _room(incident, f"?corrects={update.id}"),
        "/console/",
        "/console/components",
        "/console/declare/payouts-slow",
        f"/console/updates/{update.id}/fix",
    ):
        ids = ids_of(lead.get(url).text)
        assert len(ids) == len(set(ids)), [i for i in ids if ids.count(i) > 1]


def test_the_deed_is_in_the_trail(lead: Browser, incident: Incident, center: Center, now: datetime) -> None:
    lead.post(_room(incident, "/publish"), _composer(lead, incident))
    with center.database.reading() as session:
        entry = session.scalars(select(AuditEntry).where(AuditEntry.action.like("update.published%"))).one()
    assert (entry.by, entry.incident_id, entry.at) == ("lea@example.com", incident.id, now)


def test_a_room_that_is_not_there_is_not_found(lead: Browser) -> None:
    assert lead.get("/console/incidents/999").status_code == 404
    assert lead.get("/console/updates/999/progress", htmx=True).status_code == 404
    assert lead.get("/console/updates/999/fix").status_code == 404
