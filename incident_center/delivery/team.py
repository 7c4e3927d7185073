"""The crisis team: who of them hears what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from incident_center.delivery.transports.stock import Teller, UnusablePlugin
from incident_center.states import StaffGroup


@dataclass(frozen=True)
class StaffChannel:
    """One way to reach the crisis team; `tell(subject, text)` answers one outcome.

    `group` is whom it reaches: lead, second, page, or "" for everybody.
    """

    name: str
    tell: Teller
    group: str = ""


def staff_entry(entry: str) -> tuple[str, str]:
    """(group, URL) of an entry in INCIDENT_CENTER_STAFF_URLS: `second=mailto://…`, or a bare URL for
    everybody.

    Raises UnusablePlugin for a group that does not exist.
    """
    group, equals, url = entry.partition("=")
    if not equals or "://" in group:
        return "", entry
    if group not in set(StaffGroup):
        raise UnusablePlugin(f"goes to an unknown group; use one of: {', '.join(StaffGroup)}")
    return group, url


def reached(staff: Sequence[StaffChannel], group: str) -> list[StaffChannel]:
    """Whom a note to `group` goes to: that group and those without one; "" everybody but whom only "page"
    calls.

    When nobody is left, everybody: a note that reaches no one helps no one.
    """
    if group == StaffGroup.PAGE:
        return list(staff)
    wanted = {"", group} if group else {"", StaffGroup.LEAD, StaffGroup.SECOND}
    return [channel for channel in staff if channel.group in wanted] or list(staff)
