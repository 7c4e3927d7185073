"""The rules of phases and promises, as pure functions."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incident_center.incidents.rules import (
    ENDING,
    FARTHEST,
    GRACE,
    as_spoken,
    holding_due,
    is_overdue,
    next_phases,
    next_update_flaw,
    phase_flaw,
    plan_rungs,
    rung_times,
    settled,
    started_at_flaw,
    to_the_minute,
    worst,
)
from incident_center.states import ComponentStatus, Phase, PromiseState, Rung

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
moments = st.datetimes(
    min_value=NOON.replace(month=1, tzinfo=None),
    max_value=NOON.replace(year=2027, tzinfo=None),
    timezones=st.just(UTC),
)
lengths = st.timedeltas(min_value=timedelta(seconds=30), max_value=FARTHEST)


def test_every_phase_but_the_last_can_be_resolved() -> None:
    for phase in (Phase.INVESTIGATING, Phase.IDENTIFIED, Phase.MONITORING):
        assert Phase.RESOLVED in next_phases(phase)
    assert next_phases(Phase.RESOLVED) == frozenset()


def test_a_repair_that_did_not_hold_goes_back_to_investigating() -> None:
    assert phase_flaw(Phase.MONITORING, Phase.INVESTIGATING, correcting=False) is None


def test_an_ended_incident_takes_a_correction_but_no_update() -> None:
    assert phase_flaw(Phase.RESOLVED, Phase.RESOLVED, correcting=True) is None
    flaw = phase_flaw(Phase.RESOLVED, Phase.MONITORING, correcting=False)
    assert flaw is not None
    assert flaw.code == "ended"


@pytest.mark.parametrize("phase", [p for p in Phase if p not in ENDING])
def test_an_update_that_does_not_end_the_incident_must_promise_the_next(phase: Phase) -> None:
    flaw = next_update_flaw(phase, None, now=NOON)
    assert flaw is not None
    assert (flaw.field, flaw.code) == ("next_update_by", "missing")


def test_a_time_in_the_past_or_days_ahead_cannot_be_promised() -> None:
    for promised, code in (
        (NOON, "in_the_past"),
        (NOON - timedelta(hours=1), "in_the_past"),
        (NOON + FARTHEST + timedelta(seconds=1), "too_far"),
    ):
        flaw = next_update_flaw(Phase.IDENTIFIED, promised, now=NOON)
        assert flaw is not None
        assert flaw.code == code
    assert next_update_flaw(Phase.IDENTIFIED, NOON + FARTHEST, now=NOON) is None


def test_the_update_that_ends_the_incident_promises_nothing() -> None:
    assert next_update_flaw(Phase.RESOLVED, None, now=NOON) is None
    assert next_update_flaw(Phase.RESOLVED, NOON + timedelta(hours=1), now=NOON) is not None


def test_an_outage_does_not_begin_in_the_future_or_last_month() -> None:
    assert started_at_flaw(NOON, now=NOON) is None
    assert started_at_flaw(NOON - timedelta(days=6), now=NOON) is None
    later = started_at_flaw(NOON + timedelta(minutes=2), now=NOON)
    earlier = started_at_flaw(NOON - timedelta(days=8), now=NOON)
    assert later is not None
    assert later.code == "in_the_future"
    assert earlier is not None
    assert earlier.code == "too_early"


def test_a_promise_is_kept_until_its_minute_is_over() -> None:
    assert settled(NOON, at=NOON + timedelta(seconds=59), ends=False) is PromiseState.KEPT
    assert settled(NOON, at=NOON + GRACE, ends=False) is PromiseState.LATE
    assert settled(NOON, at=NOON - timedelta(minutes=5), ends=True) is PromiseState.CLOSED
    assert settled(NOON, at=NOON + timedelta(hours=1), ends=True) is PromiseState.LATE


def test_customers_read_minutes_so_seconds_buy_no_time() -> None:
    due = NOON + timedelta(seconds=40)
    assert as_spoken(due, now=NOON - timedelta(minutes=20)) == NOON
    assert as_spoken(due, now=NOON + timedelta(seconds=10)) == due
    assert not is_overdue(due, now=NOON + timedelta(seconds=59))
    assert is_overdue(due, now=NOON + timedelta(minutes=1))


@given(due=moments, offset=st.timedeltas(min_value=timedelta(days=-2), max_value=timedelta(days=2)))
def test_overdue_on_the_page_and_late_in_the_record_are_the_same_rule(
    due: datetime, offset: timedelta
) -> None:
    at = due + offset
    assert is_overdue(due, now=at) == (settled(due, at=at, ends=False) is PromiseState.LATE)


@given(made=moments, length=lengths)
def test_rungs_keep_their_order_and_lie_within_the_promise(made: datetime, length: timedelta) -> None:
    times = rung_times(made, made + length)
    ordered = [times[rung] for rung in Rung]
    assert all(earlier <= later for earlier, later in pairwise(ordered))
    assert made < ordered[0]
    assert times[Rung.HOLD] == made + length


def test_a_promise_of_half_an_hour_reminds_ten_five_and_two_minutes_before() -> None:
    due = NOON + timedelta(minutes=30)
    before = {rung: due - at for rung, at in rung_times(NOON, due).items()}
    assert before == {
        Rung.REMIND: timedelta(minutes=10),
        Rung.SECOND: timedelta(minutes=5),
        Rung.WARN: timedelta(minutes=2),
        Rung.HOLD: timedelta(0),
    }


@given(
    made=moments,
    length=lengths,
    later=st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=3)),
    recorded=st.sets(st.sampled_from(Rung)),
)
def test_at_most_one_rung_acts_and_none_twice(
    made: datetime, length: timedelta, later: timedelta, recorded: set[Rung]
) -> None:
    plan = plan_rungs(made, made + length, recorded=recorded, now=made + later)
    if plan.act is None:
        assert plan.skip == ()
        return
    assert plan.act not in recorded
    assert not set(plan.skip) & recorded
    assert all(rung_times(made, made + length)[rung] <= made + later for rung in (plan.act, *plan.skip))


def test_after_an_outage_of_the_workers_only_the_highest_rung_acts() -> None:
    plan = plan_rungs(NOON, NOON + timedelta(minutes=30), recorded=set(), now=NOON + timedelta(hours=2))
    assert plan.act is Rung.HOLD
    assert plan.skip == (Rung.REMIND, Rung.SECOND, Rung.WARN)


def test_a_holding_update_after_a_long_outage_promises_from_now() -> None:
    due = NOON
    assert holding_due(due, minutes=30, now=NOON + timedelta(seconds=2)) == NOON + timedelta(minutes=30)
    assert holding_due(due, minutes=30, now=NOON + timedelta(hours=3)) == NOON + timedelta(
        hours=3, minutes=30
    )


@given(moment=moments)
def test_a_promise_is_a_whole_minute_and_never_earlier_than_meant(moment: datetime) -> None:
    whole = to_the_minute(moment)
    assert (whole.second, whole.microsecond) == (0, 0)
    assert timedelta(0) <= whole - moment < timedelta(minutes=1)


def test_the_worst_component_speaks_for_all() -> None:
    assert worst([]) is ComponentStatus.OPERATIONAL
    assert (
        worst([ComponentStatus.DEGRADED_PERFORMANCE, ComponentStatus.MAJOR_OUTAGE])
        is ComponentStatus.MAJOR_OUTAGE
    )
