"""Bulk: one worker goes through chunks in rolling waves.

While one wave is on the wire, the one before it is settled and the next is marked, in one transaction; at no
moment are more people marked than BATCH allows.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from sqlalchemy.orm import Session

from incident_center.db import KeptConnection
from incident_center.delivery import chunks, pace
from incident_center.delivery.dispatch import Wave
from incident_center.delivery.leases import Lease, surely
from incident_center.delivery.ledger import BATCH, WAVES, Result, renewal
from incident_center.delivery.means import Means
from incident_center.delivery.sql import AlreadyThere
from incident_center.delivery.turn import Turn
from incident_center.models import Chunk
from incident_center.states import Channel

# A database that was away for longer may be another one now: nobody new is marked before the guard has looked.
_FRESH_SECONDS = 1.0
_log = structlog.get_logger()


@dataclass(frozen=True)
class Room:
    """How many people may be marked now, and the provider whose rate has been charged for them."""

    number: int
    provider_id: int = 0
    rate: float | None = None


@dataclass
class _Flight:
    """A marked wave that is on the wire, and the lease that it flies under."""

    batch: chunks.ChunkBatch
    lease: Lease
    wave: Wave
    results: list[Result] | None = None  # once it has landed


class Bulk:
    """One worker's way through the chunks of a channel. Not for several threads."""

    def __init__(self, means: Means) -> None:
        self._database, self._house = means.database, means.house
        self._owner, self._clock = means.owner, means.clock
        self._dispatch, self._mailer = means.dispatch, means.mailer
        self._health, self._keeper = means.health, means.keeper
        self._kept = KeptConnection(means.database, means.dispatch.until_readable)
        self._leases: dict[int, Lease] = {}

    def run(
        self,
        channel: Channel,
        *,
        tell: Callable[[list[Result]], None],
        nobody_waits: Callable[[], bool],
        most: float,
    ) -> bool:
        """Sends what is due for at most `most` seconds; answers whether it found anything. `tell` hears
        every wave's results; `nobody_waits` is asked each second whether this thread is wanted for something else."""
        turn = Turn(nobody_waits, most)
        first, found = self._claim(channel)
        flights: deque[_Flight] = deque()
        try:
            if first is not None:
                flights.extend(self._take_off(wave) for wave in first.waves(WAVES[channel]))
            self._roll(flights, turn=turn, tell=tell)
        except BaseException:
            self._come_down(flights)
            raise
        finally:
            for lease in self._leases.values():
                self._keeper.drop(lease)
            self._leases.clear()
            self._kept.release()
        return found

    def _roll(self, flights: deque[_Flight], *, turn: Turn, tell: Callable[[list[Result]], None]) -> None:
        """A wave is written down while the one behind it is on the wire; what is marked with that goes up at once."""
        while flights:
            results, goes_on = self._land(flights[0]), turn.goes_on()
            tell(results)
            following = self._settle(flights[0], results, goes_on=goes_on)
            flights.popleft()  # only now: had it not been written down, it would have to be
            flights.extend(self._take_off(wave) for wave in following)

    def _land(self, flight: _Flight) -> list[Result]:
        if flight.results is None:
            flight.results = self._dispatch.finish(flight.wave)
        return flight.results

    def _come_down(self, flights: deque[_Flight]) -> None:
        """Something broke: what has not reached the wire stays off it; what has is written down, and nobody is
        marked."""
        for lease in self._leases.values():
            lease.give_up()
        for flight in flights:
            try:
                self._settle(flight, self._land(flight), goes_on=False)
            except Exception:  # noqa: BLE001 (whatever it is, the others are written down)
                _log.exception("wave_not_settled", people=len(flight.batch.people))

    def _claim(self, channel: Channel) -> tuple[chunks.ChunkBatch | None, bool]:
        with self._database.transaction() as session:
            batch, found = self._mark(session, channel, BATCH[channel])
        return batch, found

    def _mark(self, session: Session, channel: Channel, most: int) -> tuple[chunks.ChunkBatch | None, bool]:
        """A new chunk's first people, as many as its provider's pace and health allow."""
        now = self._clock()
        room = self.room(session, channel, most, now=now)
        if not room.number:
            return None, False
        batch, found = chunks.claim(session, channel=channel, owner=self._owner, now=now, limit=room.number)
        self.marked(session, room, len(batch.people) if batch is not None else 0, now=now)
        if batch is not None:
            self._mailer.load(session, {batch.update_id}, channel)
        return batch, found

    def room(self, session: Session, channel: Channel, most: int, *, now: datetime) -> Room:
        """How many people may be marked now: one while a provider is tried after a rest, none while all rest.

        Say with `marked` how many there were, in the same transaction.
        """
        self._health.look(session)
        names, probing = self._health.take(session, self._dispatch.names(channel), now)
        if not names:
            return Room(0)
        room = self._paced(session, channel, 1 if probing else most, now=now)
        if not room.number:
            self._health.spare(session, now)
        return room

    def marked(self, session: Session, room: Room, number: int, *, now: datetime) -> None:
        """What was reserved for people who were not there is for others."""
        self._unspent(session, room, number)
        if not number:
            self._health.spare(session, now)

    def _paced(self, session: Session, channel: Channel, want: int, *, now: datetime) -> Room:
        couriers = self._dispatch.ready(channel, now)
        rate = couriers[0].limits.rate if couriers else None
        if rate is None or not want:
            return Room(want)
        provider_id = self._health.ids[couriers[0].name]
        return Room(pace.take(session, provider_id, rate=rate, want=want, now=now), provider_id, rate)

    def _unspent(self, session: Session, room: Room, number: int) -> None:
        if room.rate is not None and number < room.number:
            pace.give_back(session, room.provider_id, rate=room.rate, number=room.number - number)

    def _take_off(self, batch: chunks.ChunkBatch) -> _Flight:
        lease = self._lease(batch)
        return _Flight(batch, lease, self._dispatch.start(batch.channel, batch.people, lease.is_ours))

    def _lease(self, batch: chunks.ChunkBatch) -> Lease:
        lease = self._leases.get(batch.chunk_id)
        if lease is None:
            since = batch.lease.since or self._clock()
            lease = self._keeper.keep(renewal(Chunk, [batch.chunk_id], [batch.fence]), since=since)
            self._leases[batch.chunk_id] = lease
        return lease

    def _settle(self, flight: _Flight, results: list[Result], *, goes_on: bool) -> list[chunks.ChunkBatch]:
        """Writes the outcomes; answers the waves that have been marked in the same transaction."""
        now = self._clock()
        batch = flight.batch
        well = bool(self._dispatch.ready(batch.channel, now)) and all(result.was_tried for result in results)
        began = time.monotonic()

        def write() -> list[chunks.ChunkBatch]:
            fresh = time.monotonic() - began < _FRESH_SECONDS
            return self._write(batch, results, go_on=goes_on and fresh and well and flight.lease.is_ours())

        following = surely(write, flight.lease, sleep=self._dispatch.rest)
        if batch.lease.lost:
            flight.lease.give_up()
        else:
            flight.lease.renewed(batch.lease.since or now)
        if not batch.lease.flying and (lease := self._leases.pop(batch.chunk_id, None)):
            self._keeper.drop(lease)
        return following

    def _write(
        self, batch: chunks.ChunkBatch, results: list[Result], *, go_on: bool
    ) -> list[chunks.ChunkBatch]:
        """What was not committed has not happened: the walk through the chunk stands where it stood before."""
        before = replace(batch.lease)
        try:
            try:
                return self._write_wave(batch, results, go_on=go_on, one_by_one=False)
            except AlreadyThere:
                batch.lease.stand_as(before)
                return self._write_wave(batch, results, go_on=go_on, one_by_one=True)
        except BaseException:
            batch.lease.stand_as(before)
            raise

    def _write_wave(
        self, batch: chunks.ChunkBatch, results: list[Result], *, go_on: bool, one_by_one: bool
    ) -> list[chunks.ChunkBatch]:
        now = self._clock()
        wave = max(1, BATCH[batch.channel] // WAVES[batch.channel])
        with self._kept.transaction() as session:
            self._health.tell(session)
            if not any(result.tries for result in results):
                self._health.spare(session, now)
            room = self._paced(session, batch.channel, wave, now=now) if go_on else Room(0)
            following = chunks.settle(
                session,
                house=self._house,
                batch=batch,
                results=results,
                now=now,
                limit=room.number,
                go_on=room.number > 0,
                provider_ids=self._health.ids,
                one_by_one=one_by_one,
            )
            self._unspent(session, room, len(following.people) if following is not None else 0)
            if following is not None:
                return [following]
            if not room.number:
                return []
            # The chunk has nobody more: the next one's people go up while the last of this one are still flying.
            fresh, _ = self._mark(session, batch.channel, wave)
        return [fresh] if fresh is not None else []
