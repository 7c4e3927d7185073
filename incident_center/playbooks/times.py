"""Times as people say them, with the zone, and local times as people type them.

`say_time` puts the time first and the date behind it, so that one form is right wherever a sentence needs it:
"by 9:00 am CET on Sunday, 22 November", "since …", "at …"; "bis 9:00 Uhr (MEZ) am Sonntag, 22. November",
"seit …", "um …", "von …". The patterns are data (`locale.yaml`).
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime

from incident_center.playbooks.locales import Speech, speech
from incident_center.playbooks.sms import normalise_sms

# A date further away than this is said with its year.
_NEAR = timedelta(days=180)


class UnknownZone(ValueError):
    """A time zone that the IANA database does not have."""


class NonexistentTime(ValueError):
    """A local time that the clocks skip.

    `before` and `after` (aware UTC) are the readings on either side of the gap, to be offered instead:
    01:30 and 03:30 for 02:30.
    """

    def __init__(self, local: datetime, zone: str, before: datetime, after: datetime) -> None:
        super().__init__(f"{local:%Y-%m-%d %H:%M} does not exist in {zone}: the clocks are put forward there")
        self.local = local
        self.zone = zone
        self.before = before
        self.after = after


class AmbiguousTime(ValueError):
    """A local time that comes twice. `first` and `second` are the two instants, aware UTC; ask which one."""

    def __init__(self, local: datetime, zone: str, first: datetime, second: datetime) -> None:
        super().__init__(f"{local:%Y-%m-%d %H:%M} comes twice in {zone}: the clocks are put back there")
        self.local = local
        self.zone = zone
        self.first = first
        self.second = second


def find_zone(name: str) -> ZoneInfo:
    """The zone called `name` ("Europe/Berlin"). Raises UnknownZone."""
    try:
        return ZoneInfo(name)
    # OSError: "Europe" is a folder of the database; the message of all three names files, not zones.
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UnknownZone(f"“{name}” is not a time zone; use a name such as Europe/Berlin") from None


def say_time(instant: datetime, *, language: str, zone: str, now: datetime, short: bool = False) -> str:
    """`instant` for a reader in `zone`: "3:00 pm CET", "15:00 Uhr (MEZ)".

    The date follows when it is not today there: "9:00 am CET on Sunday, 22 November"; `short`, for an SMS: "22 Nov,
    9:00 am CET". `instant` and `now` are aware. English and German stay within GSM-7. Raises UnknownZone, and
    ValueError for a naive time.
    """
    if instant.tzinfo is None or now.tzinfo is None:
        raise ValueError("say_time needs aware times")
    today = now.astimezone(find_zone(zone)).date()
    return _say(instant.astimezone(UTC), language, zone, today, short)


@lru_cache(maxsize=4096)
def _say(instant: datetime, language: str, zone: str, today: date, short: bool) -> str:
    """A fan-out says the same few times to everybody: kept, each costs 1 µs instead of 50."""
    local = instant.astimezone(find_zone(zone))
    words = speech(language)
    locale = _locale(language, words)
    time = format_datetime(local.replace(tzinfo=None), words.time, locale=locale)
    said = words.zoned.format(time=time, zone=_zone_name(local, words))
    if local.date() != today and short:
        said = words.short_dated.format(
            time=said, date=format_date(local.date(), words.short_date, locale=locale)
        )
    elif local.date() != today:
        pattern = words.date if abs(local.date() - today) < _NEAR else words.date_with_year
        said = words.dated.format(time=said, date=format_date(local.date(), pattern, locale=locale))
    return normalise_sms(said)


def _zone_name(local: datetime, words: Speech) -> str:
    """The usual abbreviation, or the distance to UTC: "UTC-3", "UTC+5:45"."""
    offset = local.utcoffset() or timedelta()
    abbreviation = local.tzname() or ""
    if words.zones.get(abbreviation) == offset:
        return words.names.get(abbreviation, abbreviation)
    # Local mean time of the nineteenth century has seconds; nobody says them.
    minutes = round(abs(offset).total_seconds() / 60)
    if minutes == 0:
        return "UTC"
    hours, rest = divmod(minutes, 60)
    return f"UTC{'-' if offset < timedelta() else '+'}{hours}" + (f":{rest:02}" if rest else "")


@lru_cache(maxsize=64)
def _locale(language: str, words: Speech) -> Locale:
    try:
        return Locale.parse(words.locale or language, sep="_" if words.locale else "-")
    except (UnknownLocaleError, ValueError):
        return Locale.parse("en_GB")


def resolve_local(text_or_naive: str | datetime, zone: str, fold: int | None = None) -> datetime:
    """The instant, aware UTC, of a local time typed by a person ("2026-11-22T15:00").

    `fold` says which one is meant when the clocks are put back: 0 the first, 1 the second, None not said.
    Raises NonexistentTime, AmbiguousTime, UnknownZone, and ValueError for a text that is no local time.
    """
    local = _naive(text_or_naive)
    there = find_zone(zone)
    first = local.replace(tzinfo=there, fold=0).astimezone(UTC)
    second = local.replace(tzinfo=there, fold=1).astimezone(UTC)
    if first == second:
        return first
    if first > second:  # in a gap the two readings come out in the wrong order (PEP 495)
        raise NonexistentTime(local, zone, before=second, after=first)
    if fold is None:
        raise AmbiguousTime(local, zone, first, second)
    return second if fold else first


def _naive(given: str | datetime) -> datetime:
    if isinstance(given, str):
        try:
            given = datetime.fromisoformat(given.strip())
        except ValueError:
            raise ValueError(f"“{given}” is not a time; write it as 2026-11-22T15:00") from None
    if given.tzinfo is not None:
        raise ValueError("a local time has no offset of its own; leave it out")
    return given.replace(fold=0)
