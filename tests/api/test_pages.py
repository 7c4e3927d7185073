"""Keyset pages: every row once, whatever is added meanwhile."""

from typing import Any

from incident_center.center import Center
from incident_center.models import Delivery, Incident
from incident_center.states import Channel, DeliveryState
from tests.api.door import Door, fields
from tests.builders import NOW, a_subscriber, an_incident


def walk(door: Door, path: str, key: str = "id") -> list[int]:
    seen: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        page = door.get(f"{path}&cursor={cursor}" if cursor else path)
        assert page.status_code == 200, page.json
        seen += [item[key] for item in page.json["items"]]
        cursor = page.json["next"]
    return seen


def test_incidents_come_newest_first_and_each_once(viewer: Door, center: Center) -> None:
    with center.database.transaction() as session:
        made = [an_incident(session).id for _ in range(5)]
    assert walk(viewer, "/incidents?limit=2") == sorted(made, reverse=True)
    assert walk(viewer, "/incidents?limit=5") == sorted(made, reverse=True)


def test_an_incident_declared_between_two_pages_shifts_nothing(viewer: Door, center: Center) -> None:
    with center.database.transaction() as session:
        made = [an_incident(session).id for _ in range(4)]
    page = viewer.get("/incidents?limit=2").json
    with center.database.transaction() as session:
        an_incident(session)
    rest = viewer.get(f"/incidents?limit=2&cursor={page['next']}").json
    assert [item["id"] for item in page["items"] + rest["items"]] == sorted(made, reverse=True)


def test_incidents_are_told_open_or_ended(viewer: Door, center: Center, incident: Incident) -> None:
    with center.database.transaction() as session:
        ended = an_incident(session, phase="resolved", resolved_at=NOW)
    assert [item["id"] for item in viewer.get("/incidents?state=open").json["items"]] == [incident.id]
    assert [item["id"] for item in viewer.get("/incidents?state=ended").json["items"]] == [ended.id]


def test_deliveries_are_told_by_state_and_channel(
    viewer: Door, center: Center, first: dict[str, Any], incident: Incident
) -> None:
    outcomes = [DeliveryState.ACCEPTED, DeliveryState.ACCEPTED, DeliveryState.FAILED]
    with center.database.transaction() as session:
        for outcome in outcomes:
            session.add(
                Delivery(
                    update_id=first["id"],
                    subscriber_id=a_subscriber(session).id,
                    channel=Channel.EMAIL,
                    state=outcome,
                    attempts=1,
                    at=NOW,
                    apart=True,
                )
            )
    path = f"/incidents/{incident.id}/deliveries"
    everybody = walk(viewer, f"{path}?limit=1", "subscriber_id")
    assert len(everybody) == len(set(everybody)) == 3
    assert len(walk(viewer, f"{path}?limit=1&state=accepted&channel=email", "subscriber_id")) == 2
    assert walk(viewer, f"{path}?limit=1&channel=sms", "subscriber_id") == []
    [failed] = viewer.get(f"{path}?state=failed").json["items"]
    assert failed["attempts"] == 1
    assert "address" not in failed
    counts = viewer.get(f"/incidents/{incident.id}").json["deliveries"]["by_channel"]
    assert counts["email"]["accepted"] == 2
    assert counts["email"]["failed"] == 1


def test_a_cursor_that_we_did_not_hand_out_is_refused(viewer: Door) -> None:
    for cursor in ("x", "YWZ0ZXI6LTE", "YWZ0ZXI6OTk5OTk5OTk5OTk5OTk5OTk5OTk", "%00", "%F0%9F%92%A5"):
        assert set(fields(viewer.get(f"/incidents?cursor={cursor}"))) == {"cursor"}, cursor


def test_a_limit_out_of_range_is_refused(viewer: Door) -> None:
    for limit in ("0", "101", "-1", "ten", "1.5"):
        assert set(fields(viewer.get(f"/promises?limit={limit}"))) == {"limit"}, limit
