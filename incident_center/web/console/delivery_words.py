"""How the delivery panel says states, speeds and times to a lead. Pure."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from incident_center.delivery.panel import Health
from incident_center.delivery.state_words import STATES
from incident_center.states import Channel, DeliveryState, ProviderState

_MEASURING, _NOTHING = "measuring…", "–"


def state_words(state: DeliveryState) -> str:
    return STATES[state][0]


def speed(rate: float | None, *, moving: bool) -> str:
    """ "1,204 a second"; what is slower than one a second is said a minute."""
    if not moving:
        return _NOTHING
    if rate is None:
        return _MEASURING
    if rate >= 10:
        return f"{round(rate):,} a second"
    if rate >= 1:
        return f"{rate:.1f} a second"
    return f"{round(rate * 60)} a minute" if rate > 0 else "nothing moves"


def time_left(seconds: float | None, *, measuring: bool, moving: bool, all_found: bool) -> str:
    """ "about 3 minutes": never more exact than it is known."""
    if not moving:
        return _NOTHING
    if seconds is None:
        return _MEASURING if measuring else _NOTHING
    said = _about(seconds)
    return said if all_found else f"{said} or more"


def _about(seconds: float) -> str:
    if seconds < 50:
        return "less than a minute"
    if seconds < 90:
        return "about a minute"
    minutes = seconds / 60
    if minutes < 10:
        return f"about {round(minutes)} minutes"
    if minutes < 55:
        return f"about {5 * round(minutes / 5)} minutes"
    hours = max(1, round(minutes / 60))
    return "about an hour" if hours == 1 else f"about {hours} hours"


def age(since: datetime | None, *, now: datetime) -> str:
    """ "4 s", "3 min": how long the oldest message is on the wire."""
    if since is None:
        return _NOTHING
    seconds = max(0, int((now - since).total_seconds()))
    return f"{seconds} s" if seconds < 90 else f"{round(seconds / 60)} min"


def exact(moment: datetime, *, zone: str) -> str:
    """ "14:05:30" in the house's zone."""
    return f"{moment.astimezone(ZoneInfo(zone)):%H:%M:%S}"


def next_try(moment: datetime | None, *, now: datetime, zone: str) -> str | None:
    """ "14:05:30"; what is due already waits for a provider or a worker."""
    if moment is None:
        return None
    return exact(moment, zone=zone) if moment > now else "due now"


def span(first: datetime, last: datetime, *, zone: str) -> str:
    """ "14:05:30", or "14:05:30 to 14:09:02"."""
    begin, end = exact(first, zone=zone), exact(last, zone=zone)
    return begin if last - first < timedelta(seconds=1) else f"{begin} to {end}"


def provider_name(name: str, channel: Channel) -> str:
    """ "E-mail 1 (smtp)" for "email 1 smtp"."""
    _, place, kind = name.split(" ", 2)
    return f"{'E-mail' if channel is Channel.EMAIL else 'SMS'} {place} ({kind})"


def provider_state(health: Health, *, now: datetime, zone: str) -> tuple[str, str]:
    """How a provider is, as a colour's name and in words."""
    if health.state is None or not (health.last_ok_at or health.last_trouble_at):
        return "quiet", "not asked yet"
    if health.state is ProviderState.WELL:
        return "ok", "well"
    if health.state is ProviderState.PROBED:
        return "warn", "being tried with one message"
    if health.rest_until and health.rest_until > now:
        return "down", f"resting until {exact(health.rest_until, zone=zone)}, then tried again"
    return "warn", "has rested; the next message tries it"
