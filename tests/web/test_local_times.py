"""Local times as staff type them, over both changes of the clocks."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from freezegun.api import FrozenDateTimeFactory
from hypothesis import given
from hypothesis import strategies as st

from incident_center.center import Center
from incident_center.errors import Refused
from incident_center.web.local_times import fold_choices, local_text, next_local, read_local, read_next_update
from tests.incidents.scenes import declared
from tests.web.browser import signed_in, text_of

BERLIN = "Europe/Berlin"
NOON = datetime(2026, 11, 20, 11, 0, 20, tzinfo=UTC)  # 12:00:20 in Berlin


def _code(refused: pytest.ExceptionInfo[Refused]) -> tuple[str, str]:
    (flaw,) = refused.value.flaws
    return flaw.field, flaw.code


def test_minutes_count_from_now_and_never_come_short_of_what_was_said() -> None:
    promised = read_next_update("30", zone=BERLIN, fold="", now=NOON)
    assert promised == datetime(2026, 11, 20, 11, 31, tzinfo=UTC)


def test_a_time_of_day_is_the_next_one_in_the_houses_zone() -> None:
    assert read_next_update("15:30", zone=BERLIN, fold="", now=NOON) == datetime(
        2026, 11, 20, 14, 30, tzinfo=UTC
    )
    assert read_next_update("00:15", zone=BERLIN, fold="", now=NOON) == datetime(
        2026, 11, 20, 23, 15, tzinfo=UTC
    )
    assert read_next_update("12:00", zone=BERLIN, fold="", now=NOON) == datetime(
        2026, 11, 21, 11, 0, tzinfo=UTC
    )


@pytest.mark.parametrize("typed", ["", "  "])
def test_no_time_is_asked_for(typed: str) -> None:
    with pytest.raises(Refused) as refused:
        read_next_update(typed, zone=BERLIN, fold="", now=NOON)
    assert _code(refused) == ("next_update_by", "missing")


@pytest.mark.parametrize("typed", ["0", "1441", "99999999999999999999"])
def test_minutes_outside_a_day_are_refused(typed: str) -> None:
    with pytest.raises(Refused) as refused:
        read_next_update(typed, zone=BERLIN, fold="", now=NOON)
    assert _code(refused) == ("next_update_by", "range")


@pytest.mark.parametrize("typed", ["soon", "25:00", "12:60", "-5", "1e3", "½", "15:30+01:00"])
def test_what_is_no_time_is_refused(typed: str) -> None:
    with pytest.raises(Refused) as refused:
        read_next_update(typed, zone=BERLIN, fold="", now=NOON)
    assert _code(refused) == ("next_update_by", "invalid")


def test_a_time_that_the_spring_skips_is_refused_with_the_two_beside_it() -> None:
    with pytest.raises(Refused) as refused:
        read_local("started_at", "2026-03-29T02:30", zone=BERLIN, fold="")
    assert _code(refused) == ("started_at", "gap")
    assert "01:30 or 03:30" in refused.value.flaws[0].message


def test_a_time_that_the_autumn_repeats_is_asked_about_and_the_answer_is_heard() -> None:
    with pytest.raises(Refused) as refused:
        read_local("started_at", "2026-10-25T02:30", zone=BERLIN, fold="")
    assert _code(refused) == ("started_at", "twice")
    first = read_local("started_at", "2026-10-25T02:30", zone=BERLIN, fold="0")
    second = read_local("started_at", "2026-10-25T02:30", zone=BERLIN, fold="1")
    assert (first, second) == (
        datetime(2026, 10, 25, 0, 30, tzinfo=UTC),
        datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
    )
    assert fold_choices("2026-10-25T02:30", BERLIN) == [("0", first), ("1", second)]


def test_other_times_leave_nothing_to_choose() -> None:
    assert fold_choices("2026-10-25T04:30", BERLIN) == []
    assert fold_choices("nonsense", BERLIN) == []


@given(st.integers(0, 8_000_000), st.sampled_from(["0", "1"]))
def test_what_the_field_shows_is_read_back_as_the_same_moment(minutes: int, fold: str) -> None:
    moment = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    shown = local_text(moment, BERLIN)
    read = read_local("started_at", shown, zone=BERLIN, fold=fold)
    assert read == moment or (fold_choices(shown, BERLIN) and abs(read - moment) == timedelta(hours=1))


@given(st.text(max_size=30))
def test_no_text_breaks_the_reader(text: str) -> None:
    with suppress(Refused):
        assert read_local("started_at", text, zone=BERLIN, fold="").tzinfo is UTC
    with suppress(Refused):
        assert read_next_update(text, zone=BERLIN, fold="", now=NOON) > NOON


@pytest.mark.parametrize(
    ("now", "promised"),
    [
        (
            datetime(2026, 3, 29, 13, tzinfo=UTC),
            datetime(2026, 3, 30, 0, 30, tzinfo=UTC),
        ),  # today's gap is over
        (datetime(2026, 10, 25, 13, tzinfo=UTC), datetime(2026, 10, 26, 1, 30, tzinfo=UTC)),  # both are over
    ],
)
def test_a_time_of_day_that_is_over_means_tomorrow(now: datetime, promised: datetime) -> None:
    assert read_next_update("02:30", zone=BERLIN, fold="", now=now) == promised


@pytest.mark.parametrize(
    "now",
    [datetime(2026, 10, 24, 21, tzinfo=UTC), datetime(2026, 10, 25, 0, 45, tzinfo=UTC)],
)
def test_a_time_that_comes_twice_tonight_is_asked_about_with_its_two_moments(now: datetime) -> None:
    with pytest.raises(Refused) as refused:
        read_next_update("02:30", zone=BERLIN, fold="", now=now)
    assert [flaw.code for flaw in refused.value.flaws] == ["twice"]
    choices = fold_choices(next_local("02:30", zone=BERLIN, now=now), BERLIN)
    assert [fold for fold, _ in choices] == ["0", "1"]
    second = read_next_update("02:30", zone=BERLIN, fold="1", now=now)
    assert second == choices[1][1] == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


def test_the_room_shows_both_moments_on_the_evening_before(
    app: Flask, center: Center, freezer: FrozenDateTimeFactory
) -> None:
    evening = datetime(2026, 10, 24, 21, tzinfo=UTC)
    freezer.move_to(evening)
    lead = signed_in(app, "lead")
    with center.database.transaction() as session:
        incident = declared(session, center.house, now=evening)
    room = f"/console/incidents/{incident.id}"
    typed = lead.form(room, "/publish") | {"next_update": ["at"], "next_at": ["02:30"]}
    asked = lead.post(f"{room}/publish", typed)
    assert asked.status_code == 422
    answered = lead.post(f"{room}/publish", lead.form_in(asked.text, "/publish") | {"fold": ["1"]})
    assert answered.status_code == 303, text_of(answered.text)
    assert asked.text.count('name="fold"') == 2
