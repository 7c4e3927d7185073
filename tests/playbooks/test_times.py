"""Times as people say them and type them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from incident_center.playbooks import (
    AmbiguousTime,
    NonexistentTime,
    UnknownZone,
    count_sms,
    resolve_local,
    say_time,
)

NOW = datetime(2026, 11, 21, 13, 5, tzinfo=UTC)
BERLIN = "Europe/Berlin"

zones = st.sampled_from(sorted(available_timezones() - {"localtime"}))
FIRST, LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2037, 12, 31, tzinfo=UTC)
instants = st.integers(0, int((LAST - FIRST).total_seconds())).map(
    lambda gone: FIRST + timedelta(seconds=gone)
)


def said(instant: datetime, language: str, zone: str = BERLIN, now: datetime = NOW) -> str:
    return say_time(instant, language=language, zone=zone, now=now)


@pytest.mark.parametrize(
    ("language", "zone", "expected"),
    [
        ("en", BERLIN, "3:00 pm CET"),
        ("de", BERLIN, "15:00 Uhr (MEZ)"),
        ("en", "Europe/London", "2:00 pm GMT"),
        ("de", "Europe/London", "14:00 Uhr (UTC)"),
        ("en", "America/New_York", "9:00 am EST"),
        ("de", "America/New_York", "9:00 Uhr (UTC-5)"),
        ("en", "America/Sao_Paulo", "11:00 am UTC-3"),
        ("en", "Asia/Kolkata", "7:30 pm IST"),
        ("en", "Asia/Kathmandu", "7:45 pm UTC+5:45"),
        ("en", "Asia/Shanghai", "10:00 pm UTC+8"),
        ("en", "America/Chicago", "8:00 am CST"),
        ("en", "UTC", "2:00 pm UTC"),
        ("de-AT", "Europe/Vienna", "15:00 Uhr (MEZ)"),
        ("fr", "Europe/Paris", "15:00 CET"),
        ("tlh", BERLIN, "3:00 pm CET"),
    ],
)
def test_a_time_of_today_is_said_with_its_zone_alone(language: str, zone: str, expected: str) -> None:
    assert said(datetime(2026, 11, 21, 14, 0, tzinfo=UTC), language, zone) == expected


@pytest.mark.parametrize(
    ("instant", "english", "german"),
    [
        (
            datetime(2026, 11, 22, 8, 0, tzinfo=UTC),
            "9:00 am CET on Sunday, 22 November",
            "9:00 Uhr (MEZ) am Sonntag, 22. November",
        ),
        (
            datetime(2026, 11, 20, 22, 5, tzinfo=UTC),
            "11:05 pm CET on Friday, 20 November",
            "23:05 Uhr (MEZ) am Freitag, 20. November",
        ),
        (
            datetime(2027, 7, 1, 22, 30, tzinfo=UTC),
            "12:30 am CEST on Friday, 2 July 2027",
            "0:30 Uhr (MESZ) am Freitag, 2. Juli 2027",
        ),
    ],
)
def test_the_date_follows_when_it_is_not_today(instant: datetime, english: str, german: str) -> None:
    assert said(instant, "en") == english
    assert said(instant, "de") == german


def test_today_is_the_readers_today() -> None:
    late = datetime(2026, 11, 21, 23, 30, tzinfo=UTC)
    assert said(late, "en", BERLIN, now=late) == "12:30 am CET"
    assert said(late, "en", BERLIN, now=late - timedelta(hours=1)) == "12:30 am CET on Sunday, 22 November"
    assert said(late, "en", "America/New_York", now=late - timedelta(hours=1)) == "6:30 pm EST"


def test_the_hour_that_comes_twice_is_told_apart_by_its_zone() -> None:
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert said(first, "en", now=first) == "2:30 am CEST"
    assert said(first + timedelta(hours=1), "en", now=first) == "2:30 am CET"


@given(instants, zones, st.sampled_from(["en", "de"]), instants)
def test_english_and_german_times_never_leave_gsm7(
    instant: datetime, zone: str, language: str, now: datetime
) -> None:
    text = said(instant, language, zone, now)
    assert count_sms(text).encoding == "gsm7"
    assert "\u202f" not in text
    assert "GMT+" not in text
    assert "GMT-" not in text


@given(instants, zones)
def test_a_said_time_leads_back_to_its_minute(instant: datetime, zone: str) -> None:
    found = re.fullmatch(r"(\d+):(\d\d) Uhr \((.+)\)", said(instant, "de", zone, now=instant))
    assert found
    local = instant.astimezone(ZoneInfo(zone))
    assert (int(found[1]), int(found[2])) == (local.hour, local.minute)
    distance = re.fullmatch(r"UTC(?:([+-])(\d+)(?::(\d\d))?)?", found[3])
    if distance:
        size = timedelta(hours=int(distance[2] or 0), minutes=int(distance[3] or 0))
        assert local.utcoffset() == (-size if distance[1] == "-" else size)


@given(instants, zones, zones)
def test_one_name_of_a_zone_means_one_distance_to_utc(instant: datetime, zone: str, other: str) -> None:
    names = [said(instant, "en", each, now=instant).split()[-1] for each in (zone, other)]
    assume(names[0] == names[1])
    assert instant.astimezone(ZoneInfo(zone)).utcoffset() == instant.astimezone(ZoneInfo(other)).utcoffset()


def test_over_all_zones_one_name_means_one_distance_to_utc() -> None:
    for month in (1, 7):
        instant = datetime(2026, month, 15, 12, tzinfo=UTC)
        for language in ("en", "de"):
            meaning: dict[str, timedelta | None] = {}
            for zone in sorted(available_timezones()):
                name = said(instant, language, zone, now=instant).split()[-1]
                offset = instant.astimezone(ZoneInfo(zone)).utcoffset()
                assert meaning.setdefault(name, offset) == offset, (language, zone, name)


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "Europe", "../etc/passwd", "/etc/localtime", "a\x00b"])
def test_a_zone_that_is_not_there_is_refused_by_name(zone: str) -> None:
    with pytest.raises(UnknownZone, match="not a time zone"):
        said(NOW, "en", zone)


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        said(NOW.replace(tzinfo=None), "en")
    with pytest.raises(ValueError, match="aware"):
        said(NOW, "en", now=NOW.replace(tzinfo=None))


def test_a_typed_time_is_an_instant() -> None:
    assert resolve_local("2026-11-22T15:00", BERLIN, None) == datetime(2026, 11, 22, 14, 0, tzinfo=UTC)
    assert resolve_local(" 2026-07-01 15:00 ", BERLIN, None) == datetime(2026, 7, 1, 13, 0, tzinfo=UTC)


def test_a_time_that_the_clocks_skip_is_refused_with_its_neighbours() -> None:
    with pytest.raises(NonexistentTime, match=r"02:30 does not exist in Europe/Berlin") as caught:
        resolve_local("2026-03-29T02:30", BERLIN, None)
    assert caught.value.before == datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
    assert caught.value.after == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    with pytest.raises(NonexistentTime):
        resolve_local("2026-03-29T02:30", BERLIN, 1)


def test_a_time_that_comes_twice_is_asked_about() -> None:
    with pytest.raises(AmbiguousTime, match="02:30 comes twice") as caught:
        resolve_local("2026-10-25T02:30", BERLIN, None)
    assert caught.value.first == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert caught.value.second == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert resolve_local("2026-10-25T02:30", BERLIN, 0) == caught.value.first
    assert resolve_local("2026-10-25T02:30", BERLIN, 1) == caught.value.second


@pytest.mark.parametrize(
    "text", ["", "soon", "2026-13-01T10:00", "2026-11-22T15:00+01:00", "2026-11-22T15:00Z"]
)
def test_a_text_that_is_no_local_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a time|no offset"):
        resolve_local(text, BERLIN, None)


@given(instants, zones)
def test_every_instant_can_be_typed_as_its_local_time(instant: datetime, zone: str) -> None:
    local = instant.astimezone(ZoneInfo(zone))
    assert resolve_local(local.replace(tzinfo=None), zone, local.fold) == instant


def test_an_sms_says_another_day_in_few_characters() -> None:
    evening = datetime(2026, 11, 21, 22, 50, tzinfo=UTC)
    after_midnight = datetime(2026, 11, 21, 23, 10, tzinfo=UTC)
    said = {
        language: say_time(after_midnight, language=language, zone="Europe/Berlin", now=evening, short=True)
        for language in ("en", "de")
    }
    assert said == {"en": "22 Nov, 12:10 am CET", "de": "22.11., 0:10 Uhr (MEZ)"}
    same_day = say_time(evening, language="de", zone="Europe/Berlin", now=evening, short=True)
    assert same_day == "23:50 Uhr (MEZ)"
