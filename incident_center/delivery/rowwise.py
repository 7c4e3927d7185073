"""Rows: one worker's way through retries, resends and people who joined in mid-incident, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import case, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from incident_center.delivery import rows
from incident_center.delivery.bulk import Bulk
from incident_center.delivery.leases import surely
from incident_center.delivery.ledger import BATCH, Result, renewal
from incident_center.delivery.means import Means
from incident_center.delivery.sql import changed
from incident_center.models import Delivery
from incident_center.states import Channel, DeliveryState


class Rowwise:
    """Not for several threads."""

    def __init__(self, means: Means, bulk: Bulk) -> None:
        self._database, self._house = means.database, means.house
        self._owner, self._clock = means.owner, means.clock
        self._dispatch, self._mailer = means.dispatch, means.mailer
        self._health, self._keeper = means.health, means.keeper
        self._bulk = bulk
        self._unsure: dict[Channel, datetime] = {}  # since when nobody has said whether a claim was committed

    def any_waits(self, session: Session, channel: Channel, *, now: datetime) -> bool:
        """A look that takes no lock."""
        return channel in self._unsure or rows.anything_waits(session, channel, now=now)

    def run(self, channel: Channel, *, tell: Callable[[list[Result]], None]) -> bool:
        """Sends a batch of what is due; answers whether it found anything. `tell` hears its results."""
        now = self._clock()
        batch, found = self._claim(channel, now=now)
        if not batch.people:
            return found
        keep = renewal(Delivery, batch.ids, batch.fences)
        with self._keeper.hold(keep, since=now) as lease:
            results = self._dispatch.send(channel, batch.people, lease.is_ours)
        surely(lambda: self._settle(results), lease)
        tell(results)
        return True

    def _claim(self, channel: Channel, *, now: datetime) -> tuple[rows.RowBatch, bool]:
        batch, found = rows.RowBatch([]), False
        try:
            with self._database.transaction() as session:
                if channel in self._unsure:
                    self._take_back(session, channel, since=self._unsure[channel])
                room = self._bulk.room(session, channel, BATCH[channel], now=now)
                if room.number:
                    batch, found = rows.claim(
                        session, channel=channel, owner=self._owner, now=now, limit=room.number
                    )
                    self._bulk.marked(session, room, len(batch.people), now=now)
                    self._mailer.load(session, {due.update_id for due in batch.people}, channel)
        except DBAPIError:
            self._unsure.setdefault(channel, now)
            raise
        self._unsure.pop(channel, None)
        return batch, found

    def _take_back(self, session: Session, channel: Channel, *, since: datetime) -> None:
        """Rows of a claim whose commit nobody has answered: nothing of it went out, so they are due as before."""
        mine = update(Delivery).where(
            Delivery.channel == channel,
            Delivery.not_before > since,
            Delivery.state == DeliveryState.SENDING,
            Delivery.owner == self._owner,
            Delivery.at >= since,
        )
        state = case(
            (Delivery.possibly_twice, DeliveryState.UNKNOWN),
            (Delivery.attempts > 0, DeliveryState.RETRY),
            else_=DeliveryState.DUE,
        )
        free = {"owner": None, "lease_until": None, "not_before": since, "fence": Delivery.fence + 1}
        changed(session, mine.values(state=state, **free))

    def _settle(self, results: Sequence[Result]) -> None:
        with self._database.transaction() as session:
            self._health.tell(session)
            self._health.spare(session, self._clock())
            rows.settle(
                session,
                house=self._house,
                results=results,
                now=self._clock(),
                provider_ids=self._health.ids,
            )
