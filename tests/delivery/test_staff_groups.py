"""Who in the crisis team hears what."""

from dataclasses import replace

import pytest

from incident_center.config import Settings
from incident_center.delivery.outcome import Outcome
from incident_center.delivery.providers import check_settings
from incident_center.delivery.team import StaffChannel, reached, staff_entry


def channel(name: str, group: str = "") -> StaffChannel:
    return StaffChannel(name, lambda *_: Outcome(state="accepted"), group)


TEAM = [channel("chat"), channel("kim", "lead"), channel("sam", "second"), channel("boss", "page")]


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("lead", ["chat", "kim"]),
        ("second", ["chat", "sam"]),
        ("", ["chat", "kim", "sam"]),
        ("page", ["chat", "kim", "sam", "boss"]),
    ],
)
def test_a_note_reaches_its_group_and_those_without_one(group: str, names: list[str]) -> None:
    assert [one.name for one in reached(TEAM, group)] == names


def test_a_note_to_a_group_that_nobody_is_in_reaches_everybody() -> None:
    assert [one.name for one in reached([channel("kim", "lead")], "second")] == ["kim"]


def test_an_entry_names_its_group_before_its_url() -> None:
    assert staff_entry("second=json://host/?to=a") == ("second", "json://host/?to=a")
    assert staff_entry("json://host/?a=b") == ("", "json://host/?a=b")


def test_an_unknown_group_is_refused_by_name(settings: Settings) -> None:
    odd = replace(settings, email_urls=("demo-mailbox://email",), staff_urls=("boss=json://127.0.0.1/",))
    (problem,) = check_settings(odd)
    assert "INCIDENT_CENTER_STAFF_URLS, entry 1 (json://): goes to an unknown group" in problem
