"""Workers are killed at twelve named points, round after round. Nobody is missed; whoever may have got two
copies is flagged; the ledger says what the servers have received.
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Select, func, select

from incident_center import clock
from incident_center.db import Database
from incident_center.delivery.ledger import LEASE
from incident_center.delivery.retry import RESEND_UNKNOWN_AFTER
from incident_center.house import House
from incident_center.incidents.verbs import declare
from incident_center.models import Chunk, Delivery, Subscriber, Update
from incident_center.states import Channel, ChunkState, DeliveryState, Phase
from tests.builders import LEAD
from tests.incidents.scenes import declaration, published
from tests.storms.conftest import Tell
from tests.storms.counts import COUNTS
from tests.storms.gateway import HttpStep
from tests.storms.loops import Reply, Run
from tests.storms.points import PASSED, WIRE, Point
from tests.storms.smtpd import Step
from tests.storms.storm import (
    MOST_IN_FLIGHT,
    Child,
    Storm,
    nobody_missed,
    people,
    settled,
    storm_over,
    wait_until,
)

pytestmark = [pytest.mark.storm, pytest.mark.timeout(3600)]

ROUNDS = COUNTS.rounds // 2  # on each database
BY_EMAIL, BY_SMS = 88, 12
PEOPLE = BY_EMAIL + BY_SMS
RECOVERED_WITHIN = LEASE.total_seconds() + 5
RESENT_AFTER = RESEND_UNKNOWN_AFTER.total_seconds() + 5
GREYLISTED_FOR = 45.0  # the second try comes after 15 to 30 s
ROUND_SECONDS = 3 * (RECOVERED_WITHIN + RESENT_AFTER) + GREYLISTED_FOR
GREYLISTING = "450 4.2.1 greylisted, try again later"

_MAIL_STEPS: dict[Point, list[Step]] = {
    Point.CONNECTING: [Step.CONNECT],
    Point.RCPT: [Step.RCPT],
    Point.IN_DATA: [Step.DATA, Step.BODY],
    Point.AFTER_DOT: [Step.DOT, Step.STORED],
    Point.BEFORE_OUTCOME: [Step.REPLIED],
}
_SMS_STEPS: dict[Point, list[HttpStep]] = {
    Point.CONNECTING: [HttpStep.CONNECT],
    Point.IN_DATA: [HttpStep.REQUEST],
    Point.AFTER_DOT: [HttpStep.STORED],
    Point.BEFORE_OUTCOME: [HttpStep.REPLIED],
}


@dataclass
class Attack:
    """The servers' part: kills `victim` when `steps` has been passed often enough, and greylists some."""

    steps: frozenset[Step | HttpStep] = frozenset()
    left: int = 0
    victim: Child | None = None
    greylisted: set[str] = field(default_factory=set)

    def at_mail(self, step: Step, recipient: str) -> Reply | Run | None:
        if step is Step.RCPT and recipient in self.greylisted:
            self.greylisted.discard(recipient)
            return Reply(GREYLISTING)
        return self._at(step)

    def at_sms(self, step: HttpStep, _: str) -> Run | None:
        return self._at(step)

    def _at(self, step: Step | HttpStep) -> Run | None:
        if step in self.steps and self.victim is not None:
            self.left -= 1
            if self.left == 0:
                return Run(self.victim.kill)
        return None


@dataclass
class Tally:
    kills: Counter[Point] = field(default_factory=Counter)
    flagged: int = 0
    repeated: int = 0
    in_flight: int = 0
    doubtful: set[tuple[int, int]] = field(default_factory=set)  # in flight at a kill of this round


class Campaign:
    """Round after round on one database; each round's time lies after the one before."""

    def __init__(self, storm: Storm, house: House, chance: random.Random) -> None:
        self.storm, self.house, self.chance = storm, house, chance
        self.attack = Attack()
        self.tally = Tally()
        self.ahead = 0.0
        storm.smtp.decide, storm.gateway.decide = self.attack.at_mail, self.attack.at_sms
        people(storm.database, by_email=BY_EMAIL, by_sms=BY_SMS)
        with storm.database.reading() as session:
            self.people = {row.id: row.address for row in session.scalars(select(Subscriber))}
        storm.nursery.warm_up()
        storm.forget()

    def round(self, first: Point) -> None:
        """Publishes, kills up to three workers, lets others recover, and looks at everything."""
        self.storm.forget()
        self.tally.doubtful.clear()
        if first is Point.PUBLISHING:
            self.kill_a_publisher()
        update_id = self.publish()
        greylisting = self.chance.random() < 0.3
        self.attack.greylisted = self._some_addresses() if greylisting else set()
        others = [point for point in Point if point not in {Point.PUBLISHING, Point.CUTTING}]
        more = self.chance.choices(others, k=self.chance.randint(0, 2))
        for point in [first, *more] if first is not Point.PUBLISHING else more:
            self.kill_a_worker(point, ahead=self.ahead)
        last = self.ahead
        if greylisting:
            self.storm.work(ahead=self.ahead)
            last += GREYLISTED_FOR
            self.kill_a_worker(self.chance.choice(others), ahead=last)
        self.recover(update_id, ahead=last + RECOVERED_WITHIN)
        self.check(update_id)
        self.ahead += ROUND_SECONDS

    def publish(self) -> int:
        """An incident that is over when it is told of: it promises nothing, so only this goes out."""
        now = clock.now() + timedelta(seconds=self.ahead)
        with self.storm.database.transaction() as session:
            given = declaration(session, now=now)
            incident = declare(session, house=self.house, declaration=given, by=LEAD, now=now)
            return published(session, self.house, incident, now=now, phase=Phase.RESOLVED).id

    def kill_a_publisher(self) -> None:
        """Nothing of it must remain: no update, nothing that goes out."""
        before = self.updates()
        child = self.storm.nursery.start("publish", ahead=self.ahead, point=Point.PUBLISHING)
        child.wait()
        assert child.was_killed
        self.tally.kills[Point.PUBLISHING] += 1
        assert self.updates() == before
        self.storm.work(ahead=self.ahead)
        assert self.storm.arrived() == []

    def updates(self) -> int:
        with self.storm.database.reading() as session:
            return session.scalar(select(func.count(Update.id))) or 0

    def kill_a_worker(self, point: Point, *, ahead: float) -> None:
        nth = self.chance.randint(1, PASSED[point])
        sms = point in _SMS_STEPS and self.chance.random() < 0.2
        on_the_wire = point in WIRE or (point is Point.BEFORE_OUTCOME and self.chance.random() < 0.5)
        if on_the_wire:
            self.storm.smtp.body_mark = self.chance.choice([1, 400, 3000])
            steps: list[Step | HttpStep] = [*(_SMS_STEPS[point] if sms else _MAIL_STEPS[point])]
            self.attack.steps = frozenset([self.chance.choice(steps)])
            self.attack.left = (
                self.chance.randint(1, BY_SMS) if sms else self.chance.randint(1, PASSED[point])
            )
            child = self.storm.work(ahead=ahead, before=self._aim)
            self.attack.victim = None
        else:
            child = self.storm.work(ahead=ahead, point=point, nth=nth)
        if child.was_killed:
            self.tally.kills[point] += 1
            for people in self.storm.look().values():
                self.tally.doubtful |= people
                self.tally.in_flight += len(people)

    def _aim(self, child: Child) -> None:
        self.attack.victim = child

    def recover(self, update_id: int, *, ahead: float) -> None:
        """At lease + 5 s a fresh worker has taken back what the dead held; the doubtful are sent again later."""
        self.storm.work(ahead=ahead)
        with self.storm.database.reading() as session:
            held = select(func.count()).where(Chunk.update_id == update_id, Chunk.state == ChunkState.OPEN)
            assert session.scalar(held) == 0
            states = set(session.scalars(select(Delivery.state).where(Delivery.update_id == update_id)))
            assert states <= {DeliveryState.ACCEPTED, DeliveryState.UNKNOWN, DeliveryState.RETRY}
        for step in range(1, 4):
            self.storm.work(ahead=ahead + step * RESENT_AFTER)

    def check(self, update_id: int) -> None:
        heard = nobody_missed(self.storm.database, update_id, self.storm.arrived())
        doubtful = {reader for about, reader in self.tally.doubtful if about == update_id}
        assert heard.flagged <= doubtful, "somebody is flagged who was not on the wire when a worker died"
        self.tally.flagged += len(heard.flagged)
        self.tally.repeated += heard.repeated
        for mail in self.storm.smtp.arrivals:
            assert mail.update_id == update_id
            assert mail.subscriber_id is not None
            assert self.people[mail.subscriber_id] == mail.recipient

    def _some_addresses(self) -> set[str]:
        chosen = self.chance.sample(range(BY_EMAIL), self.chance.randint(1, 30))
        return {f"reader-{number}@example.com" for number in chosen}


def test_killed_workers_miss_nobody_and_repeat_only_what_was_in_flight(
    database_url: str, database_kind: str, house: House, tmp_path: Path, tell: Tell
) -> None:
    chance = (
        random.Random()
    )  # the moments of death are the operating system's too: a seed would repeat nothing
    started = time.perf_counter()
    with storm_over(database_url, tmp_path) as storm:
        campaign = Campaign(storm, house, chance)
        points = list(Point)
        for number in range(ROUNDS):
            campaign.round(points[number % len(points)])
        worst = storm.worst_in_flight
    tally = campaign.tally
    tell(
        f"SIGKILL on {database_kind}",
        rounds=ROUNDS,
        recipients=ROUNDS * PEOPLE,
        missed=0,
        kills=tally.kills.total(),
        in_flight_at_kills=tally.in_flight,
        repeated=tally.repeated,
        flagged=tally.flagged,
        most_in_flight="/".join(str(worst[channel]) for channel in Channel),
        seconds=round(time.perf_counter() - started),
        by_point={point.value: tally.kills[point] for point in points},
    )
    assert set(tally.kills) == set(Point), "a point was never hit"
    assert tally.kills.total() >= ROUNDS, "workers outlived their rounds"
    assert 0 < tally.repeated <= tally.flagged <= tally.in_flight
    assert all(worst[channel] <= MOST_IN_FLIGHT[channel] for channel in Channel)


def test_another_worker_takes_over_within_lease_and_five_seconds(
    database_url: str, database_kind: str, house: House, tmp_path: Path, tell: Tell
) -> None:
    """By the real clock: a worker dies in flight while another one stands by."""
    lease = COUNTS.real_lease or LEASE.total_seconds()
    resend = COUNTS.real_lease or RESEND_UNKNOWN_AFTER.total_seconds()
    with storm_over(database_url, tmp_path, lease=lease, resend_after=resend) as storm:
        campaign = Campaign(storm, house, random.Random(7))
        update_id = campaign.publish()
        campaign.attack.steps, campaign.attack.left = frozenset([Step.STORED]), 60
        dead = storm.work(before=campaign._aim)
        assert dead.was_killed
        doubtful = set().union(*storm.look().values())
        standby = storm.nursery.start("run")
        held = select(func.count()).where(Chunk.update_id == update_id, Chunk.state == ChunkState.OPEN)
        count = partial(_count, storm.database, held)
        wait_until(lambda: count() == 0, "the dead worker's chunk was never taken back", seconds=lease + 10)
        recovery = time.time() - dead.ended_at
        wait_until(
            lambda: settled(storm.database, update_id),
            "the doubtful were never sent again",
            seconds=resend + 30,
        )
        standby.kill(signal.SIGTERM)
        assert standby.wait() == 0
        campaign.tally.doubtful = doubtful
        campaign.check(update_id)
    tell(
        f"recovery on {database_kind}",
        lease=lease,
        recovered_after=round(recovery, 2),
        in_flight=len(doubtful),
    )
    assert recovery <= lease + 5


def _count(database: Database, query: Select[int]) -> int:
    with database.reading() as session:
        return session.scalar(query) or 0
