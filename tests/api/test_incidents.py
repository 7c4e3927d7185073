"""Declaring, publishing and reading through the API."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select

from incident_center.db import Database
from incident_center.models import Component, Fanout, Incident, Update
from tests.api.door import Door, a_declaration, an_update, fields, in_minutes, problem


def component_ids(database: Database) -> list[int]:
    with database.reading() as session:
        return list(session.scalars(select(Component.id).order_by(Component.id)))


def test_declaring_answers_the_incident_and_where_it_is(lead: Door, database: Database) -> None:
    answer = lead.post("/incidents", a_declaration(component_ids(database)))
    assert answer.status_code == 201, answer.json
    assert answer.json["ref"] == f"INC-{answer.json['id']}"
    assert answer.json["version"] == 0
    assert answer.json["declared_by"] == "token lead-bot"
    assert [each["key"] for each in answer.json["components"]] == ["sepa-instant", "cards"]
    assert answer.headers["Location"].endswith(f"/api/v1/incidents/{answer.json['id']}")


def test_declaring_with_an_update_publishes_it_in_the_same_transaction(
    lead: Door, database: Database
) -> None:
    answer = lead.post("/incidents", a_declaration(component_ids(database)[:1], update=an_update()))
    assert answer.status_code == 201, answer.json
    assert answer.json["version"] == 1
    [update] = answer.json["updates"]
    assert update["promise"]["state"] == "open"
    assert update["promise"]["due_at"] == "2026-11-20T13:30:00Z"
    assert "SEPA payouts to Germany" in " ".join(update["facts"]["en"]["known"])
    assert "SEPA-Auszahlungen nach Deutschland" in " ".join(update["facts"]["de"]["known"])
    assert answer.json["components"][0]["status"] == "major_outage"


def test_a_refused_first_update_declares_nothing(lead: Door, database: Database) -> None:
    body = a_declaration(component_ids(database), update=an_update(next_update_by=in_minutes(-1)))
    assert "update.next_update_by" in fields(lead.post("/incidents", body))
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Incident)) == 0


def test_everything_that_is_wrong_with_a_declaration_is_told_at_once(lead: Door) -> None:
    body = a_declaration([999], playbook="no-such", started_at=in_minutes(20))
    assert set(fields(lead.post("/incidents", body))) >= {"playbook", "components", "started_at"}


def test_an_unanswered_question_is_named_with_its_language(lead: Door, database: Database) -> None:
    body = a_declaration(component_ids(database), answers={"scope": {"en": "SEPA payouts"}})
    assert set(fields(lead.post("/incidents", body))) == {"answers.scope.de"}


def test_publishing_uses_the_script_for_what_is_left_out(lead: Door, incident: Incident) -> None:
    body = an_update(
        facts={"en": {"doing": ["We are rerouting {scope}."]}}, sms={"de": "Kurz gesagt. {status_url}"}
    )
    answer = lead.post(f"/incidents/{incident.id}/updates", body)
    assert answer.status_code == 201, answer.json
    assert answer.json["facts"]["en"]["doing"] == ["We are rerouting SEPA payouts to Germany."]
    assert "SEPA payouts to Germany" in answer.json["facts"]["en"]["known"][0]
    assert answer.json["sms"]["de"] == f"Kurz gesagt. https://status.example.com/i/{incident.id}"
    assert answer.json["sms"]["en"].startswith("Example Pay")
    assert answer.json["published_by"] == "token lead-bot"


def test_an_update_without_a_promise_is_refused(lead: Door, incident: Incident) -> None:
    refused = fields(lead.post(f"/incidents/{incident.id}/updates", {"phase": "investigating"}))
    assert "only news" in refused["next_update_by"]


def test_words_that_are_wrong_are_named_as_the_caller_wrote_them(lead: Door, incident: Incident) -> None:
    body = an_update(facts={"en": {"known": ["Since {begin}, nothing works."]}}, sms={"de": "{nix}"})
    assert set(fields(lead.post(f"/incidents/{incident.id}/updates", body))) == {"facts.en.known.0", "sms.de"}


def test_an_empty_fact_list_is_refused_where_something_must_be_said(lead: Door, incident: Incident) -> None:
    body = an_update(facts={"en": {"known": []}})
    assert set(fields(lead.post(f"/incidents/{incident.id}/updates", body))) == {"facts.en.known"}


def test_a_language_that_nobody_writes_in_is_refused(lead: Door, incident: Incident) -> None:
    body = an_update(phone={"fr": "Bonjour."})
    assert set(fields(lead.post(f"/incidents/{incident.id}/updates", body))) == {"phone.fr"}


def confirmations(lead: Door, phase: str) -> dict[str, list[str]]:
    [playbook] = [p for p in lead.get("/playbooks").json["items"] if p["key"] == "payout-gateway-down"]
    [script] = [s for s in playbook["phases"] if s["phase"] == phase]
    confirm: dict[str, list[str]] = script["confirm"]
    return confirm


def test_confirmations_count_by_text_in_any_language_or_by_position(
    lead: Door, first: dict[str, Any], incident: Incident
) -> None:
    asked = confirmations(lead, "monitoring")
    assert len(asked["de"]) >= 1
    body = an_update(phase="monitoring")
    refused = fields(lead.post(f"/incidents/{incident.id}/updates", body))
    assert set(refused) == {f"confirmed.{place}" for place in range(len(asked["de"]))}
    body["confirmed"] = [asked["de"][0], *range(1, len(asked["de"]))]
    assert lead.post(f"/incidents/{incident.id}/updates", body).status_code == 201


def test_a_confirmation_that_nobody_asked_for_is_refused(lead: Door, incident: Incident) -> None:
    body = an_update(confirmed=["The moon is full."])
    assert set(fields(lead.post(f"/incidents/{incident.id}/updates", body))) == {"confirmed.0"}


def test_a_correction_names_what_it_corrects(lead: Door, first: dict[str, Any], incident: Incident) -> None:
    body = {
        "kind": "correction",
        "corrects": first["id"],
        "next_update_by": in_minutes(40),
        "answers": {
            "wrong": {"en": "that cards are affected", "de": "dass Karten betroffen sind"},
            "right": {"en": "Only SEPA payouts are affected", "de": "Nur SEPA-Auszahlungen sind betroffen"},
        },
    }
    answer = lead.post(f"/incidents/{incident.id}/updates", body)
    assert answer.status_code == 201, answer.json
    assert (answer.json["kind"], answer.json["corrects"]) == ("correction", first["id"])
    assert answer.json["phase"] == "investigating"


def test_a_correction_of_another_incident_s_update_is_refused(lead: Door, incident: Incident) -> None:
    body = {"kind": "correction", "corrects": 4711, "next_update_by": in_minutes(40)}
    assert "corrects" in fields(lead.post(f"/incidents/{incident.id}/updates", body))


def test_only_a_correction_carries_answers_and_corrects(lead: Door, incident: Incident) -> None:
    body = an_update(corrects=1, answers={"wrong": {"en": "a"}})
    assert set(fields(lead.post(f"/incidents/{incident.id}/updates", body))) == {"corrects", "answers"}


def test_component_status_goes_by_key(lead: Door, incident: Incident) -> None:
    body = an_update(component_status={"cards": "partial_outage", "moon": "operational"})
    assert set(fields(lead.post(f"/incidents/{incident.id}/updates", body))) == {"component_status.moon"}
    body["component_status"].pop("moon")
    assert lead.post(f"/incidents/{incident.id}/updates", body).status_code == 201
    status = {each["key"]: each["status"] for each in lead.get("/components").json["items"]}
    assert status == {"sepa-instant": "operational", "cards": "partial_outage"}


def test_the_same_version_is_published_on_once(lead: Door, first: dict[str, Any], incident: Incident) -> None:
    """after_version and If-Match hold a program to what it has read."""
    path = f"/incidents/{incident.id}/updates"
    problem(lead.post(path, an_update(after_version=0)), 409)
    problem(lead.post(path, an_update(), If_Match='"0"'), 409)
    problem(lead.post(path, an_update(after_version=1), If_Match='"0"'), 409)
    etag = lead.get(f"/incidents/{incident.id}").headers["ETag"]
    assert lead.post(path, an_update(), If_Match=etag).status_code == 201


def test_reading_an_incident_tells_updates_promise_and_counts(
    viewer: Door, lead: Door, first: dict[str, Any], incident: Incident, hands: Callable[[timedelta], None]
) -> None:
    hands(timedelta(minutes=20))
    body = an_update(phase="monitoring", next_update_by=in_minutes(60))
    body["confirmed"] = confirmations(lead, "monitoring")["en"]
    assert lead.post(f"/incidents/{incident.id}/updates", body).status_code == 201
    told = viewer.get(f"/incidents/{incident.id}").json
    assert [update["number"] for update in told["updates"]] == [2, 1]
    assert [update["promise"]["state"] for update in told["updates"]] == ["open", "kept"]
    assert told["promise"] == told["updates"][0]["promise"]
    assert told["phase"] == "monitoring"
    assert set(told["deliveries"]) == {"by_channel", "waiting", "finished"}


def test_a_promise_is_overdue_as_soon_as_its_minute_has_passed(
    viewer: Door, first: dict[str, Any], incident: Incident, hands: Callable[[timedelta], None]
) -> None:
    hands(timedelta(minutes=30, seconds=59))
    assert viewer.get(f"/incidents/{incident.id}").json["promise"]["state"] == "open"
    hands(timedelta(seconds=1))
    assert viewer.get(f"/incidents/{incident.id}").json["promise"]["state"] == "overdue"
    assert viewer.get("/promises").json["items"][0]["state"] == "overdue"


def test_promises_tell_how_the_house_keeps_its_word(
    lead: Door, first: dict[str, Any], incident: Incident, hands: Callable[[timedelta], None]
) -> None:
    hands(timedelta(minutes=45))
    body = an_update(next_update_by=in_minutes(90))
    assert lead.post(f"/incidents/{incident.id}/updates", body).status_code == 201
    told = lead.get("/promises").json
    assert [promise["state"] for promise in told["items"]] == ["open", "late"]
    assert told["rate"] == {"kept": 0, "kept_by_holding": 0, "late": 1, "open": 1}
    assert [promise["state"] for promise in lead.get("/promises?state=late").json["items"]] == ["late"]


def test_publishing_opens_one_fanout(first: dict[str, Any], database: Database) -> None:
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Fanout)) == 1
        assert session.scalar(select(func.count()).select_from(Update)) == 1


def test_an_incident_that_is_not_there_is_404(lead: Door) -> None:
    problem(lead.get("/incidents/4711"), 404)
    problem(lead.get("/incidents/99999999999999999999"), 404)
    problem(lead.get("/incidents/4711/deliveries"), 404)
    problem(lead.post("/incidents/4711/updates", an_update()), 404)
