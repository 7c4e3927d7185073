"""When to try again, and what an outcome makes of a row."""

from __future__ import annotations

from datetime import datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incident_center.delivery.outcome import Outcome, scrub
from incident_center.delivery.pace import WINDOW, allowed
from incident_center.delivery.retry import (
    GIVE_UP_AFTER,
    LONGEST,
    SHORTEST,
    Breaker,
    next_try,
    parse_retry_after,
)
from incident_center.delivery.rules import settled
from incident_center.states import DeliveryState
from tests.builders import NOW

pytestmark = pytest.mark.one_database
CHANCE = st.floats(0, 1)
ATTEMPTS = st.integers(1, 500)


@given(attempts=ATTEMPTS, chance=CHANCE, age=st.integers(0, 5 * 3600))
def test_every_wait_is_between_a_second_and_fifteen_minutes_and_ends_after_four_hours(
    attempts: int, chance: float, age: int
) -> None:
    since = NOW - timedelta(seconds=age)
    at = next_try(attempts, now=NOW, since=since, chance=chance)
    if at is None:
        assert age > (GIVE_UP_AFTER - LONGEST).total_seconds()
    else:
        assert SHORTEST <= at - NOW <= LONGEST
        assert at <= since + GIVE_UP_AFTER


@given(attempts=st.integers(1, 12), chance=CHANCE)
def test_waits_never_get_shorter(attempts: int, chance: float) -> None:
    first = next_try(attempts, now=NOW, since=NOW, chance=chance)
    second = next_try(attempts + 1, now=NOW, since=NOW, chance=chance)
    assert first is not None
    assert second is not None
    assert first <= second


@given(seconds=st.floats(0, 1e12), attempts=ATTEMPTS)
def test_a_providers_wish_is_honoured_within_bounds(seconds: float, attempts: int) -> None:
    at = next_try(attempts, now=NOW, since=NOW, chance=0.5, retry_after=seconds)
    assert at is not None
    wait = (at - NOW).total_seconds()
    assert wait == pytest.approx(min(max(seconds, 1), 900), abs=0.001)


@given(seconds=st.integers(0, 10**8))
def test_a_number_of_seconds_is_read(seconds: int) -> None:
    assert parse_retry_after(f" {seconds} ", now=NOW) == seconds


@given(away=st.integers(-(10**9), 10**9))
def test_an_http_date_is_read(away: int) -> None:
    aware = NOW + timedelta(seconds=away)
    expected = max(0.0, (aware - NOW).total_seconds())
    assert parse_retry_after(format_datetime(aware, usegmt=True), now=NOW) == expected


@given(value=st.text())
def test_nothing_makes_the_reader_of_retry_after_fall_over(value: str) -> None:
    seconds = parse_retry_after(value, now=NOW)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize("value", ["", "soon", "-5", "1.5", "²", "Mon, 99 Foo 2026"])
def test_what_is_no_retry_after_is_ignored(value: str) -> None:
    assert parse_retry_after(value, now=NOW) is None


@given(
    state=st.sampled_from(["accepted", "retry", "failed", "unknown"]),
    attempts=ATTEMPTS,
    resend=st.booleans(),
    age=st.integers(0, 5 * 3600),
    chance=CHANCE,
)
def test_what_may_have_arrived_is_never_put_on_the_wire_a_third_time(
    state: str, attempts: int, resend: bool, age: int, chance: float
) -> None:
    outcome = Outcome(state=state, code="1")  # type: ignore[arg-type]
    said = settled(
        outcome, attempts=attempts, resend=resend, since=NOW - timedelta(seconds=age), now=NOW, chance=chance
    )
    if state == "unknown" and resend:
        assert (said.state, said.not_before) == (DeliveryState.UNKNOWN, None)
    if said.not_before is None:
        assert said.state in {DeliveryState.ACCEPTED, DeliveryState.FAILED, DeliveryState.UNKNOWN}
    else:
        assert said.state in {DeliveryState.RETRY, DeliveryState.UNKNOWN}
    if resend and state == "retry":
        assert said.state is DeliveryState.UNKNOWN
    assert (said.state is DeliveryState.ACCEPTED) == (state == "accepted")


def test_a_breaker_rests_a_provider_longer_each_time() -> None:
    breaker = Breaker()
    for _ in range(Breaker.IN_A_ROW - 1):
        assert breaker.failed() is None
    rests = [breaker.failed(), *(breaker.failed(at_once=True) for _ in range(20))]
    assert rests[:4] == [timedelta(seconds=seconds) for seconds in (15, 30, 60, 120)]
    assert rests[-1] == Breaker.LONG


def test_a_breaker_rests_a_provider_that_refuses_half_of_all() -> None:
    breaker = Breaker()
    said = []
    for _ in range(Breaker.AT_LEAST):
        breaker.worked()
        said.append(breaker.failed())
    assert [rest for rest in said if rest is not None] == [Breaker.SHORT, Breaker.SHORT * 2]


def test_a_breaker_minds_a_refusal_now_and_then_not() -> None:
    breaker = Breaker()
    for _ in range(200):
        breaker.worked()
        breaker.worked()
        assert breaker.failed() is None


@given(
    until=st.none() | st.integers(-100, 100).map(lambda seconds: NOW + timedelta(seconds=seconds)),
    rate=st.floats(0.01, 10_000),
    wants=st.lists(st.integers(0, 60), max_size=30),
)
def test_a_pace_is_never_exceeded_and_never_stands_still(
    until: datetime | None, rate: float, wants: list[int]
) -> None:
    """However the workers ask, in any stretch of time go at most rate x time letters and one window's worth."""
    gone, now = 0, NOW
    start = until
    for want in wants:
        number, start = allowed(start, rate=rate, want=want, now=now)
        assert 0 <= number <= want
        gone += number
        now += timedelta(seconds=0.25)
    elapsed = (now - NOW).total_seconds()
    assert gone <= (elapsed + max(WINDOW, 1 / rate)) * rate + 1
    rested = max(now, start or now) + timedelta(seconds=1)
    assert allowed(start, rate=rate, want=1, now=rested)[0] == 1


@given(st.text())
def test_a_scrubbed_detail_holds_no_address_and_fits_the_ledger(words: str) -> None:
    said = scrub(f"{words} <o'brien@example.com> +49 151 1234567")
    assert "o'brien@example.com" not in said
    assert "1234567" not in said
    assert len(said) <= 300
