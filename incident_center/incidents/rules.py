"""The rules of phases and promises: pure functions of what is given, with the time as an argument.

Source: DESIGN §4 "Promises"; docs/decisions/0004 for the minute of grace.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from incident_center.errors import Flaw
from incident_center.states import ComponentStatus, Phase, PromiseState, Rung

MINUTE = timedelta(minutes=1)
GRACE = MINUTE  # promises are spoken in minutes: 15:00:59 is still "15:00"
FARTHEST = timedelta(hours=24)
EARLIEST_START = timedelta(days=7)
ENDING = frozenset({Phase.RESOLVED, Phase.POSTMORTEM})
PAGE_FROM_STREAK = 3  # the third holding update in a row pages a named person
ESCALATE_FROM_STREAK = 2

# How long before the promise falls due each rung acts, and the part of a short promise that this may take at most.
_BEFORE = {
    Rung.REMIND: (timedelta(minutes=10), 1 / 2),
    Rung.SECOND: (timedelta(minutes=5), 1 / 4),
    Rung.WARN: (timedelta(minutes=2), 1 / 10),
    Rung.HOLD: (timedelta(0), 0.0),
}
_NEXT = {
    Phase.INVESTIGATING: {Phase.INVESTIGATING, Phase.IDENTIFIED, Phase.MONITORING, Phase.RESOLVED},
    Phase.IDENTIFIED: {Phase.INVESTIGATING, Phase.IDENTIFIED, Phase.MONITORING, Phase.RESOLVED},
    Phase.MONITORING: {Phase.INVESTIGATING, Phase.IDENTIFIED, Phase.MONITORING, Phase.RESOLVED},
    Phase.RESOLVED: set[Phase](),
    Phase.POSTMORTEM: set[Phase](),
}
_SEVERITY = (
    ComponentStatus.OPERATIONAL,
    ComponentStatus.UNDER_MAINTENANCE,
    ComponentStatus.DEGRADED_PERFORMANCE,
    ComponentStatus.PARTIAL_OUTAGE,
    ComponentStatus.MAJOR_OUTAGE,
)


def next_phases(phase: Phase) -> frozenset[Phase]:
    """Phases that the next update may have. A repair that did not hold goes back; the end is final."""
    return frozenset(_NEXT[phase])


def worst(statuses: Collection[ComponentStatus]) -> ComponentStatus:
    """The status that speaks for all of them; operational when there are none."""
    return max(statuses, key=_SEVERITY.index, default=ComponentStatus.OPERATIONAL)


def phase_flaw(current: Phase, wanted: Phase, *, correcting: bool) -> Flaw | None:
    if correcting and wanted is current:
        return None
    if wanted in next_phases(current):
        return None
    if current in ENDING:
        return Flaw(
            "phase", "ended", "This incident has ended. Declare a new one, or correct one of its updates."
        )
    return Flaw("phase", "not_next", f"An incident that is {current} cannot become {wanted}.")


def next_update_flaw(phase: Phase, next_update_by: datetime | None, *, now: datetime) -> Flaw | None:
    """Why this time cannot be promised; None when it can."""
    field = "next_update_by"
    if phase in ENDING:
        if next_update_by is None:
            return None
        return Flaw(
            field, "ended", "An update that ends the incident promises no further one. Leave the time empty."
        )
    if next_update_by is None:
        return Flaw(field, "missing", "Say when the next update comes. It need not be a solution, only news.")
    if next_update_by <= now:
        return Flaw(field, "in_the_past", "This time has passed. Choose a later one.")
    if next_update_by - now > FARTHEST:
        return Flaw(
            field, "too_far", "Promise news within 24 hours; nobody should wait longer for a word from us."
        )
    return None


def started_at_flaw(started_at: datetime, *, now: datetime) -> Flaw | None:
    if started_at > now + MINUTE:
        return Flaw(
            "started_at", "in_the_future", "An outage cannot have begun in the future. Check the time."
        )
    if now - started_at > EARLIEST_START:
        return Flaw("started_at", "too_early", "More than seven days ago. Check the date.")
    return None


def settled(due_at: datetime, *, at: datetime, ends: bool) -> PromiseState:
    """What an update published `at` makes of a promise: late after the promised minute, else kept or closed."""
    if is_overdue(due_at, now=at):
        return PromiseState.LATE
    return PromiseState.CLOSED if ends else PromiseState.KEPT


def is_overdue(due_at: datetime, *, now: datetime) -> bool:
    """True once the minute in which it was promised is over."""
    return now >= due_at.replace(second=0, microsecond=0) + GRACE


def as_spoken(next_update_by: datetime, *, now: datetime) -> datetime:
    """The promise as customers hear it: "by 15:00" for 15:00:40 too. Only a promise of seconds stays as it is."""
    minute = next_update_by.replace(second=0, microsecond=0)
    return minute if minute > now else next_update_by


def to_the_minute(moment: datetime) -> datetime:
    """The next whole minute: a promise is said in minutes and must not come due before it was said."""
    whole = moment.replace(second=0, microsecond=0)
    return whole if whole == moment else whole + MINUTE


def holding_due(due_at: datetime, *, minutes: int, now: datetime) -> datetime:
    """What a holding update promises: `minutes` after the promise that it keeps, or from now on if it is late."""
    base = now if is_overdue(due_at, now=now) else due_at
    return to_the_minute(base + timedelta(minutes=minutes))


def rung_times(made_at: datetime, due_at: datetime) -> dict[Rung, datetime]:
    """When each rung acts. A short promise keeps the order: half, a quarter, a tenth of its length before."""
    length = due_at - made_at
    return {rung: due_at - min(before, length * part) for rung, (before, part) in _BEFORE.items()}


@dataclass(frozen=True)
class RungPlan:
    """`act` is the one rung to act on now, `skip` those whose time passed with nobody there."""

    act: Rung | None
    skip: tuple[Rung, ...] = ()


def plan_rungs(
    made_at: datetime, due_at: datetime, *, recorded: Mapping[Rung, object] | Collection[Rung], now: datetime
) -> RungPlan:
    """After an outage of the workers only the highest due rung acts, the rest are recorded as skipped."""
    times = rung_times(made_at, due_at)
    due = [rung for rung in Rung if times[rung] <= now]
    if not due or due[-1] in recorded:
        return RungPlan(act=None)
    return RungPlan(act=due[-1], skip=tuple(rung for rung in due[:-1] if rung not in recorded))


def earliest_rung(made_at: datetime, due_at: datetime) -> datetime:
    return min(rung_times(made_at, due_at).values()).astimezone(UTC)
