"""What an agent says now."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from incident_center.center import Center
from incident_center.models import Incident
from incident_center.playbooks import count_sms
from incident_center.states import ComponentStatus
from tests.api.door import Door, an_update, fields, in_minutes, problem
from tests.builders import a_component, an_incident


def ask(door: Door, channel: str = "phone", language: str = "en", **headers: str) -> Any:
    return door.get(f"/snippets?channel={channel}&language={language}", **headers)


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("channel", ["chat", "email", "phone", "sms"])
def test_every_channel_has_words_in_every_language(
    viewer: Door, first: dict[str, Any], channel: str, language: str
) -> None:
    told = ask(viewer, channel, language).json
    assert told["state"] == "incident"
    assert told["next_update_by"] == "2026-11-20T13:30:00Z"
    assert told["as_of"] == first["published_at"]
    assert ("14:30 Uhr (MEZ)" if language == "de" else "2:30 pm CET") in told["text"]
    if channel in {"phone", "sms"}:
        assert told["text"] == first[channel][language]


def test_with_no_incident_there_is_still_something_to_say(viewer: Door) -> None:
    for channel in ("chat", "email", "phone", "sms"):
        for language in ("en", "de"):
            answer = ask(viewer, channel, language)
            assert answer.status_code == 200
            assert (answer.json["state"], answer.json["items"]) == ("all_well", [])
            assert answer.json["text"]
            assert answer.json["next_update_by"] is None


def test_all_is_well_is_not_said_of_an_incident_that_nobody_was_told_of_yet(
    viewer: Door, incident: Incident
) -> None:
    told = ask(viewer).json
    assert told["state"] == "checking"
    assert "working normally" not in told["text"]


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (ComponentStatus.DEGRADED_PERFORMANCE, "checking"),
        (ComponentStatus.MAJOR_OUTAGE, "checking"),
        (ComponentStatus.UNDER_MAINTENANCE, "maintenance"),
    ],
)
@pytest.mark.parametrize("channel", ["chat", "email", "phone", "sms"])
def test_all_is_well_is_not_said_while_a_component_is_not(
    viewer: Door, center: Center, status: ComponentStatus, state: str, channel: str
) -> None:
    with center.database.transaction() as session:
        a_component(session, "cards").status = status
    told = ask(viewer, channel, "de").json
    assert told["state"] == state
    assert ("Auszahlungen auf Karten" in told["text"]) == (state == "maintenance")


def test_quiet_texts_fit_one_sms(viewer: Door, center: Center, incident: Incident) -> None:
    for language in ("en", "de"):
        said = count_sms(ask(viewer, "sms", language).json["text"])
        assert (said.encoding, said.segments) == ("gsm7", 1)


def test_every_open_incident_is_in_the_text_the_newest_news_first(
    viewer: Door, lead: Door, first: dict[str, Any], center: Center, hands: Callable[[timedelta], None]
) -> None:
    with center.database.transaction() as session:
        other = an_incident(session, answers={"scope": {"en": "Card payouts", "de": "Kartenauszahlungen"}})
    hands(timedelta(minutes=5))
    lead.post(f"/incidents/{other.id}/updates", an_update(next_update_by=in_minutes(60)))
    told = ask(viewer).json
    assert [item["incident_id"] for item in told["items"]] == [other.id, first["incident_id"]]
    assert "Card payouts" in told["text"]
    assert "SEPA payouts to Germany" in told["text"]
    assert told["next_update_by"] == "2026-11-20T13:30:00Z", "the earliest promise"


def test_a_snippet_that_you_have_is_not_sent_again(
    viewer: Door, lead: Door, first: dict[str, Any], hands: Callable[[timedelta], None]
) -> None:
    etag = ask(viewer).headers["ETag"]
    again = ask(viewer, If_None_Match=etag)
    assert (again.status_code, again.data) == (304, b"")
    hands(timedelta(minutes=10))
    lead.post(f"/incidents/{first['incident_id']}/updates", an_update(next_update_by=in_minutes(45)))
    changed = ask(viewer, If_None_Match=etag)
    assert changed.status_code == 200
    assert changed.headers["ETag"] != etag


def test_a_late_promise_changes_the_version_so_that_nobody_repeats_it(
    viewer: Door, first: dict[str, Any], hands: Callable[[timedelta], None]
) -> None:
    before = ask(viewer)
    assert before.json["items"][0]["late"] is False
    hands(timedelta(minutes=31))
    after = ask(viewer, If_None_Match=before.headers["ETag"])
    assert after.status_code == 200
    assert after.json["items"][0]["late"] is True
    assert after.json["version"] != before.json["version"]


def test_odd_channels_and_languages_are_refused(viewer: Door) -> None:
    assert set(fields(ask(viewer, "fax"))) == {"channel"}
    assert set(fields(ask(viewer, "page"))) == {"channel"}
    assert set(fields(ask(viewer, language="fr"))) == {"language"}
    assert set(fields(ask(viewer, language="E N"))) == {"language"}
    assert set(fields(viewer.get("/snippets"))) == {"channel", "language"}
    problem(viewer.get("/snippets?channel=chat&language=en&language=de"), 422)


def test_what_has_just_ended_is_still_told(
    viewer: Door, lead: Door, first: dict[str, Any], hands: Callable[[timedelta], None]
) -> None:
    [playbook] = [p for p in lead.get("/playbooks").json["items"] if p["key"] == "payout-gateway-down"]
    confirmed = next(s["confirm"].get("en", []) for s in playbook["phases"] if s["phase"] == "resolved")
    body = {"phase": "resolved", "confirmed": confirmed}
    answer = lead.post(f"/incidents/{first['incident_id']}/updates", body)
    assert answer.status_code == 201, answer.json
    told = ask(viewer).json
    assert (told["state"], told["text"]) == ("resolved", answer.json["phone"]["en"])
    assert told["next_update_by"] is None
    listed = viewer.get("/incidents").json["items"][0]
    assert listed["deliveries"] is None, "not counted in lists once it has ended"
    hands(timedelta(hours=2))
    assert ask(viewer).json["state"] == "all_well"
