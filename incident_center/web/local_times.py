"""Local times that staff type, in the house's zone: gaps are refused, times that come twice are asked about."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from incident_center.errors import Flaw, Refused
from incident_center.incidents.rules import to_the_minute
from incident_center.playbooks import AmbiguousTime, NonexistentTime, resolve_local

AMBIGUOUS = "twice"  # the code of the flaw that makes the form ask which of the two is meant
LONGEST = 24 * 60


def read_local(field: str, text: str, *, zone: str, fold: str) -> datetime:
    """The instant (aware UTC) of "2026-11-22T15:00"; fold "0" or "1" chooses of two, "" has not chosen.

    Raises Refused with code missing, invalid, gap or twice.
    """
    if not text.strip():
        raise Refused(Flaw(field, "missing", "Give the date and the time."))
    try:
        return resolve_local(text, zone, _fold(fold))
    except NonexistentTime as error:
        before, after = (f"{m.astimezone(ZoneInfo(zone)):%H:%M}" for m in (error.before, error.after))
        message = f"That time does not exist: the clocks go forward then. Use {before} or {after}."
        raise Refused(Flaw(field, "gap", message)) from error
    except AmbiguousTime as error:
        message = "That time comes twice: the clocks go back then. Say which one you mean."
        raise Refused(Flaw(field, AMBIGUOUS, message)) from error
    except (ValueError, OverflowError) as error:
        raise Refused(Flaw(field, "invalid", "Write the time like 2026-11-22 15:00.")) from error


def read_next_update(text: str, *, zone: str, fold: str, now: datetime) -> datetime:
    """When the next update is promised: "30" is minutes from now, "15:30" the next such time in the house's zone.

    Raises Refused; whether the time may be promised is the incident room's rule.
    """
    field, text = "next_update_by", text.strip()
    if not text:
        raise Refused(Flaw(field, "missing", "Say when the next update comes. It need not be a solution."))
    if text.isdecimal():
        if not 1 <= int(text) <= LONGEST:
            raise Refused(Flaw(field, "range", "Give 1 to 1440 minutes."))
        return to_the_minute(now + timedelta(minutes=int(text)))
    local = next_local(text, zone=zone, now=now)
    if not local:
        raise Refused(Flaw(field, "invalid", "Write the time like 15:30."))
    return read_local(field, local, zone=zone, fold=fold)


def next_local(text: str, *, zone: str, now: datetime) -> str:
    """The next "15:30" with its day, "2026-11-22T15:30"; "" for what is no time of day.

    Today's as long as one reading of it lies ahead: in the hour that comes twice, the second one may.
    """
    try:
        wanted = datetime.strptime(text.strip(), "%H:%M").time()  # noqa: DTZ007 (a time of day; the zone follows)
    except ValueError:
        return ""
    here = ZoneInfo(zone)
    day = now.astimezone(here).date()
    readings = [datetime.combine(day, wanted.replace(fold=fold), tzinfo=here) for fold in (0, 1)]
    if max(reading.astimezone(UTC) for reading in readings) <= now:
        day += timedelta(days=1)
    return f"{day}T{wanted:%H:%M}"


def local_text(moment: datetime, zone: str) -> str:
    """For <input type=datetime-local>."""
    return f"{moment.astimezone(ZoneInfo(zone)):%Y-%m-%dT%H:%M}"


def fold_choices(text: str, zone: str) -> list[tuple[str, datetime]]:
    """("0", first instant), ("1", second) of a local time that comes twice; [] for any other."""
    try:
        resolve_local(text, zone, None)
    except AmbiguousTime as error:
        return [("0", error.first.astimezone(UTC)), ("1", error.second.astimezone(UTC))]
    except (ValueError, OverflowError):
        return []
    return []


def _fold(text: str) -> int | None:
    return int(text) if text in {"0", "1"} else None
