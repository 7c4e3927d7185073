"""The list of people to call, as a file for spreadsheets: UTF-8 with a mark, one line a person."""

import csv
import io
from collections.abc import Iterable, Iterator
from zoneinfo import ZoneInfo

import phonenumbers

from incident_center.delivery.not_reached import Missed
from incident_center.delivery.state_words import STATES
from incident_center.playbooks.locales import language_name
from incident_center.states import Channel, DeliveryState

COLUMNS = (
    "name",
    "form",
    "language",
    "time zone",
    "phone",
    "e-mail",
    "channel",
    "state",
    "may have it",
    "reason",
    "provider's words",
    "last try",
)
_CHANNELS = {Channel.EMAIL: "E-mail", Channel.SMS: "SMS"}
_MARK = "\ufeff"  # without it spreadsheets take UTF-8 for something else
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")  # a spreadsheet would run what begins like this
_SEPARATORS = {ord(";"): ",", ord("\t"): ","}
_LINES_A_PIECE = 200


def call_list(people: Iterable[Missed], *, zone: str) -> Iterator[str]:
    """The file in pieces. `zone` is the house's, for the time of the last try."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    buffer.write(_MARK)
    writer.writerow(COLUMNS)
    for number, person in enumerate(people, start=1):
        writer.writerow(_cells(person, zone=zone))
        if number % _LINES_A_PIECE == 0:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def _cells(person: Missed, *, zone: str) -> list[str]:
    tried = person.last_try
    return [
        _defused(person.name or ""),
        person.form or "",
        language_name(person.language),
        person.zone,
        _phone(person.phone),
        _defused(person.email or ""),
        _CHANNELS[person.channel],
        STATES[person.state][0],
        "yes" if person.state is DeliveryState.UNKNOWN else "no",
        _defused(person.code or STATES[person.state][1]),
        _defused(person.words or ""),
        f"{tried.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M:%S}" if tried else "",
    ]


def _phone(number: str | None) -> str:
    """ "(+49) 1512 3456789": a bare "+49…" would be a sum to a spreadsheet, and then lose its plus."""
    if not number:
        return ""
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return _defused(number)
    national = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
    code, _, rest = national.partition(" ")
    return f"({code}) {rest}"


def _defused(cell: str) -> str:
    """Semicolons and tabs become commas: where they separate cells, what follows one would begin a cell too."""
    cell = f"'{cell}" if cell.startswith(_FORMULA) else cell
    return cell.translate(_SEPARATORS)
