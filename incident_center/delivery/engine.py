"""The engine: each call does one piece of work and answers whether it found any. The loop around it is dumb.

The database session is closed before anything touches the wire.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from incident_center import clock as house_clock
from incident_center.db import Database
from incident_center.delivery import check, chunks, fanout, postbox, rows
from incident_center.delivery.dispatch import Dispatch
from incident_center.delivery.leases import LeaseKeeper
from incident_center.delivery.ledger import BATCH, Due, Result, renewal
from incident_center.delivery.mailer import Mailer
from incident_center.delivery.providers import Providers, build_providers
from incident_center.delivery.rules import Try
from incident_center.house import House
from incident_center.models import Chunk, Delivery, Message
from incident_center.states import Channel, MessageKind

# How long bulk may go on before single messages and retries get their turn again.
BULK_SECONDS = 5.0
_log = structlog.get_logger()


class Engine:
    """One worker's delivery: its providers, its connections, its leases. Not for several threads."""

    def __init__(
        self,
        database: Database,
        house: House,
        *,
        owner: str,
        clock: Callable[[], datetime] = house_clock.now,
        providers: Providers | None = None,
    ) -> None:
        self._database, self._house, self._owner, self._clock = database, house, owner, clock
        self._providers = providers or build_providers(house.settings, now=clock)
        self._mailer = Mailer(house)
        self._dispatch = Dispatch(self._providers, self._mailer, clock=clock)
        self._keeper = LeaseKeeper(database, clock)

    def expand_once(self) -> bool:
        """Cuts the next chunks of an open fan-out; settles chunks that were overtaken."""
        with self._database.reading() as session:
            if not fanout.anything_to_cut(session, now=self._clock()):
                return False
        with self._database.transaction() as session:
            settled = fanout.settle_superseded(session, now=self._clock())
            return fanout.cut_some(session, now=self._clock()) or settled

    def singles_once(self) -> bool:
        """Sends single messages and notes to the team that are due."""
        now = self._clock()
        with self._database.reading() as session:
            if not postbox.anything_waits(session, now=now):
                return False
        with self._database.transaction() as session:
            leased, found = postbox.claim(session, owner=self._owner, now=now)
        for single in leased:
            self._send_single(single)
        return found

    def deliver_once(self, channel: Channel) -> bool:
        """Sends what is due on one channel: rows first, then bulk for a few seconds."""
        now = self._clock()
        if not self._dispatch.ready(channel, now):
            return False
        with self._database.reading() as session:
            waits, open_chunks = (
                rows.anything_waits(session, channel, now=now),
                chunks.any_open(session, channel),
            )
        if waits and self._send_rows(channel):
            return True
        return open_chunks and self._send_bulk(channel)

    def check_once(self) -> bool:
        """Checks the ledger of one fan-out that has been sent; alarms when somebody was forgotten."""
        return check.check_one(self._database, self._house, now=self._clock())

    def halt(self) -> None:
        """From another thread: nothing more goes on the wire; what is on it is waited for and settled."""
        self._keeper.halted.set()

    def abort(self) -> None:
        """From another thread: answers that are still missing are waited for no longer, and become
        unknown."""
        self._providers.abort()

    def release(self) -> None:
        """Ends connections and the lease keeper; whatever is due stays due."""
        self._keeper.stop()
        self._providers.close()

    def _limit(self, channel: Channel) -> int:
        """A provider that has just rested gets one letter before it gets fifty."""
        return 1 if self._dispatch.probing(channel, self._clock()) else BATCH[channel]

    def _send_rows(self, channel: Channel) -> bool:
        with self._database.transaction() as session:
            batch, found = rows.claim(
                session, channel=channel, owner=self._owner, now=self._clock(), limit=self._limit(channel)
            )
            self._mailer.load(session, {due.update_id for due in batch.people}, channel)
        if not batch.people:
            return found
        keep = renewal(Delivery, batch.ids, batch.fences)
        with self._keeper.hold(keep) as lease:
            results = self._dispatch.send(channel, batch.people, lease.is_ours)
        with self._database.transaction() as session:
            rows.settle(session, house=self._house, results=results, now=self._clock())
        self._tell_of_poison(results)
        return True

    def _send_bulk(self, channel: Channel) -> bool:
        with self._database.transaction() as session:
            batch, found = chunks.claim(
                session, channel=channel, owner=self._owner, now=self._clock(), limit=self._limit(channel)
            )
            if batch is not None:
                self._mailer.load(session, {batch.update_id}, channel)
        end = time.monotonic() + BULK_SECONDS
        while batch is not None:
            batch = self._send_batch(batch, end=end)
        return found

    def _send_batch(self, batch: chunks.ChunkBatch, *, end: float) -> chunks.ChunkBatch | None:
        keep = renewal(Chunk, [batch.chunk_id], [batch.fence])
        with self._keeper.hold(keep) as lease:
            results = self._dispatch.send(batch.channel, batch.people, lease.is_ours)
        ready = bool(self._dispatch.ready(batch.channel, self._clock()))
        well = ready and all(result.was_tried for result in results)
        with self._database.transaction() as session:
            following = chunks.settle(
                session,
                house=self._house,
                batch=batch,
                results=results,
                owner=self._owner,
                now=self._clock(),
                limit=self._limit(batch.channel),
                go_on=well and time.monotonic() < end,
            )
            if following is not None:
                self._mailer.load(session, {following.update_id}, following.channel)
        self._tell_of_poison(results)
        return following

    def _send_single(self, single: postbox.Single) -> None:
        tries: list[Try] = []
        poison: str | None = None
        keep = renewal(Message, [single.id], [single.fence])
        with self._keeper.hold(keep) as lease:
            if single.kind is MessageKind.STAFF:
                tries = self._dispatch.tell_staff(single)
            else:
                tries, poison = self._dispatch.send_single(single, lease.is_ours)
        with self._database.transaction() as session:
            postbox.settle(
                session,
                house=self._house,
                single=single,
                tries=tries,
                poison=poison,
                now=self._clock(),
                chance=random.random(),  # noqa: S311 (spreads retries, guards nothing)
            )

    def _tell_of_poison(self, results: Sequence[Result]) -> None:
        for result in results:
            if result.poison is not None:
                due: Due = result.due
                _log.error(
                    "delivery_quarantined",
                    update_id=due.update_id,
                    subscriber_id=due.subscriber_id,
                    why=result.poison,
                )
