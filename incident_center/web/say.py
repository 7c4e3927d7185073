"""How staff pages say times, numbers and the vocabularies. English, 24 hours, the house's zone."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from flask import Flask

from incident_center import clock
from incident_center.playbooks.locales import language_name
from incident_center.states import DeliveryState
from incident_center.web.context import center

LABELS = {
    "you_can": "What customers can do",
    "known": "What we know",
    "unknown": "What we don't know yet",
    "doing": "What we are doing",
    "sms": "SMS",
    "phone": "On the phone",
    "email": "E-mail",
    "chat": "Chat",
    "page": "Public page",
}
OUTCOMES = {
    DeliveryState.DUE: "waiting",
    DeliveryState.RETRY: "to be tried again",
    DeliveryState.UNKNOWN: "unclear",
    DeliveryState.SUPPRESSED: "not written to (opted out)",
    DeliveryState.SUPERSEDED: "got newer words instead",
    DeliveryState.QUARANTINED: "set aside",
}


def install(app: Flask) -> None:
    for helper in (
        clock_face,
        minute_of_day,
        ago,
        until,
        label,
        outcome,
        anchor,
        language_name,
        number,
        many,
    ):
        app.add_template_filter(helper)
    app.add_template_global(clock.now, "now")


def clock_face(moment: datetime) -> str:
    """ "15:00 CET", with the date when it is not today in the house's zone."""
    zone = ZoneInfo(center().house.zone)
    local, today = moment.astimezone(zone), clock.now().astimezone(zone).date()
    said = f"{local:%H:%M} {local.tzname()}"
    if local.date() == today:
        return said
    year = "" if local.year == today.year else f" {local.year}"
    return f"{local:%a} {local.day} {local:%b}{year}, {said}"


def minute_of_day(moment: datetime) -> str:
    """ "15:00" in the house's zone."""
    return f"{moment.astimezone(ZoneInfo(center().house.zone)):%H:%M}"


def ago(moment: datetime) -> str:
    """ "4 min ago"."""
    passed = clock.now() - moment
    return "just now" if passed < timedelta(minutes=1) else f"{_length(passed)} ago"


def until(moment: datetime) -> str:
    """ "12 min" until a moment, or since it when it has passed."""
    return _length(abs(moment - clock.now()))


def _length(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    if minutes < 1:
        return "less than a minute"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} days"


def label(value: str) -> str:
    """A word of the vocabularies for people: "degraded_performance" as "Degraded performance"."""
    return LABELS.get(value) or str(value).replace("_", " ").capitalize()


def outcome(state: str) -> str:
    """A delivery's state in a tally: "1,204 accepted", "2 unclear"."""
    return OUTCOMES.get(DeliveryState(state)) or str(state)


def anchor(path: str) -> str:
    """The id of the field that a flaw is about, "" when no single field is."""
    parts = path.split(".")
    if parts[0] in {"words", "answers"} and len(parts) >= 3:
        return "-".join(parts[:3])
    known = {"next_update_by": "next_at", "started_at": "started_at", "reason": "reason", "code": "code"}
    return "-".join(parts) if parts[0] == "confirmed" and len(parts) == 2 else known.get(path, "")


def number(value: int) -> str:
    """ "12,304"."""
    return f"{value:,}"


def many(value: int, one: str, more: str | None = None) -> str:
    """ "1 person", "12,304 people"."""
    return f"{value:,} {one if value == 1 else more or one + 's'}"
