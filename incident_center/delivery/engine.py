"""The engine: each call does one piece of work and answers whether it found any. The loop around it is dumb.

The database session is closed before anything touches the wire.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from incident_center import clock as house_clock
from incident_center.db import Database
from incident_center.delivery import check, chunks, cutting, pace, postbox, receipt_rows, receipts, slots
from incident_center.delivery.bulk import Bulk
from incident_center.delivery.dispatch import Dispatch
from incident_center.delivery.fanout import settle_superseded
from incident_center.delivery.health import Health
from incident_center.delivery.installation import Guard
from incident_center.delivery.leases import Lease, LeaseKeeper, surely
from incident_center.delivery.ledger import Due, Result, renewal
from incident_center.delivery.mailer import Mailer
from incident_center.delivery.means import Means
from incident_center.delivery.postbox import EVERYBODY, Serves
from incident_center.delivery.providers import Providers, build_providers
from incident_center.delivery.rowwise import Rowwise
from incident_center.delivery.rules import Try
from incident_center.delivery.sms_couriers import SmppCourier
from incident_center.delivery.transports.smpp_inbox import SmppReceipt, Text
from incident_center.delivery.turn import BULK_MOST
from incident_center.house import House
from incident_center.models import Message
from incident_center.states import Channel, MessageKind

_log = structlog.get_logger()


class Engine:
    """One worker's delivery to those whom it serves: its providers, connections and leases. Not for several threads."""

    def __init__(
        self,
        database: Database,
        house: House,
        *,
        owner: str,
        clock: Callable[[], datetime] = house_clock.now,
        providers: Providers | None = None,
        serves: Serves = EVERYBODY,
        guard: Guard | None = None,
    ) -> None:
        self._database, self._house, self._owner, self._clock = database, house, owner, clock
        providers = providers or build_providers(house.settings, now=clock)
        mine = {channel: couriers for channel, couriers in providers.by_channel.items() if channel in serves}
        self._serves, self._providers = serves, replace(providers, by_channel=mine)
        self._mailer = Mailer(house)
        each = [(channel, courier) for channel, couriers in mine.items() for courier in couriers]
        self._rates = {one.name: one.limits.rate for _, one in each if one.limits.rate is not None}
        self._shared = [(channel, one) for channel, one in each if one.limits.connections is not None]
        self._shared_at: datetime | None = None
        self._health = Health({one.name: channel for channel, one in each}, owner=owner)
        self._dispatch = Dispatch(self._providers, self._mailer, health=self._health, clock=clock)
        self._keeper = LeaseKeeper(database, clock)
        self._guard = guard or Guard(database, house, clock=clock)
        means = Means(
            database,
            house,
            owner=owner,
            clock=clock,
            dispatch=self._dispatch,
            mailer=self._mailer,
            health=self._health,
            keeper=self._keeper,
        )
        self._bulk = Bulk(means)
        self.bulk_most = BULK_MOST  # seconds
        self._rows = Rowwise(means, self._bulk)

    def expand_once(self) -> bool:
        """Cuts the next chunks of open fan-outs; settles chunks that were overtaken."""
        with self._database.reading() as session:
            if not cutting.anything_to_cut(session, now=self._clock()):
                return False
            fanouts = cutting.to_cut(session)
        with self._database.transaction() as session:
            found = settle_superseded(session, now=self._clock())
        for fanout_id in fanouts:
            found |= cutting.cut_some(self._database, fanout_id, now=self._clock())
        return found

    def singles_once(self) -> bool:
        """Sends single messages and notes to the team that are due."""
        now = self._clock()
        with self._database.reading() as session:
            if not postbox.anything_waits(session, now=now, serves=self._serves):
                return False
        if not self._guard.may_send():
            return False
        with self._database.transaction() as session:
            leased, found = postbox.claim(session, owner=self._owner, now=now, serves=self._serves)
        if leased:
            self._register()
        with ExitStack() as kept:  # all of them from now on: each one waits for those before it
            leases = [
                kept.enter_context(
                    self._keeper.hold(renewal(Message, [single.id], [single.fence]), since=now)
                )
                for single in leased
            ]
            for single, lease in zip(leased, leases, strict=True):
                self._send_single(single, lease)
        return found

    def deliver_once(self, channel: Channel) -> bool:
        """Sends what is due on one channel: rows first, then bulk for a second, or more while nobody else waits."""
        now = self._clock()
        with self._database.reading() as session:
            waits = self._rows.any_waits(session, channel, now=now)
            open_chunks = chunks.any_open(session, channel)
            if not (waits or open_chunks):
                return False
            self._health.look(session)
        if not self._guard.may_send():
            return False
        self._register()
        if not self._dispatch.ready(channel, now):
            return False
        if waits and self._rows.run(channel, tell=self._tell_of_poison):
            return True
        nobody_waits = partial(self._nobody_else_waits, channel)
        return open_chunks and self._bulk.run(
            channel, tell=self._tell_of_poison, nobody_waits=nobody_waits, most=self.bulk_most
        )

    def _nobody_else_waits(self, channel: Channel) -> bool:
        """Whether bulk on this channel may keep the engine to itself for another second."""
        # Customers' texts come over sessions; a connection is given back only when nothing is on it.
        if self._sessions() or self._share_is_due():
            return False
        try:
            return not self._anything_else_waits(channel) and self._guard.may_send()
        except DBAPIError:  # bulk comes to its end, and waits for the database there
            return False

    def _anything_else_waits(self, channel: Channel) -> bool:
        now = self._clock()
        channels = self._providers.by_channel
        with self._database.reading() as session:
            return (
                postbox.anything_waits(session, now=now, serves=self._serves)
                or cutting.anything_to_cut(session, now=now)
                or any(self._rows.any_waits(session, one, now=now) for one in channels)
                or any(chunks.any_open(session, one) for one in channels if one is not channel)
            )

    def _register(self) -> None:
        """Each provider has a row, and this worker its share of connections, before it is asked."""
        if not self._health.registered:
            with self._database.transaction() as session:
                self._health.register(session)
        self._share_connections()

    def _share_connections(self) -> None:
        """Providers whose settings say how many connections all workers may keep together."""
        if not self._share_is_due():
            return
        now = self._clock()
        with self._database.transaction() as session:
            for channel, courier in self._shared:
                share = slots.share(
                    session,
                    self._health.ids[courier.name],
                    channel=channel,
                    total=courier.limits.connections or 1,
                    owner=self._owner,
                    now=now,
                )
                (self._health.unconnected.discard if share else self._health.unconnected.add)(courier.name)
                courier.allow(share)
        self._shared_at = now

    def _share_is_due(self) -> bool:
        if not self._shared:
            return False
        return self._shared_at is None or abs(self._clock() - self._shared_at) >= slots.LOOK_EVERY

    def check_once(self) -> bool:
        """Checks the ledger of one fan-out that has been sent; alarms when somebody was forgotten."""
        return check.check_one(self._database, self._house, now=self._clock())

    def receipts_once(self) -> bool:
        """Applies receipts that came before their rows."""
        return receipt_rows.receipts_once(self._database, self._house, now=self._clock())

    def listen(self) -> None:
        """Keeps SMPP sessions up, also while nothing is sent, and takes in what they have brought. A copied database
        binds none: what customers say belongs to the other one."""
        sessions = self._sessions()
        if not sessions or not self._guard.may_send():
            return
        self._register()
        for courier in sessions:
            courier.listen()

    def hear(self, answer: Callable[[Text], None]) -> None:
        """Hands customers' texts to `answer` and keeps receipts. What the database is not there for stays for the
        next time."""
        for courier in self._sessions():
            courier.texts(answer)
            courier.receipts(partial(self._keep_receipt, courier.name))

    def _keep_receipt(self, provider_name: str, receipt: SmppReceipt) -> None:
        with self._database.transaction() as session:
            receipts.keep_smpp(
                session,
                house=self._house,
                provider_name=provider_name,
                receipt=receipt,
                now=self._clock(),
            )

    def _sessions(self) -> list[SmppCourier]:
        couriers = self._providers.by_channel.get(Channel.SMS, [])
        return [courier for courier in couriers if isinstance(courier, SmppCourier)]

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
        if self._shared_at is not None:
            # A database that is away finds out by itself: slots that are not renewed are free again.
            with suppress(DBAPIError), self._database.transaction() as session:
                ids = [self._health.ids[courier.name] for _, courier in self._shared]
                slots.give_back(session, self._owner, ids)

    def _send_single(self, single: postbox.Single, lease: Lease) -> None:
        tries: list[Try] = []
        poison: str | None = None
        if single.kind is MessageKind.STAFF:
            tries = self._dispatch.tell_staff(single, lease.is_ours)
        else:
            tries, poison = self._dispatch.send_single(single, lease.is_ours)
        self._keeper.drop(lease)
        surely(lambda: self._settle_single(single, tries, poison), lease)

    def _settle_single(self, single: postbox.Single, tries: Sequence[Try], poison: str | None) -> None:
        with self._database.transaction() as session:
            self._health.tell(session)
            self._charge(session, tries)
            postbox.settle(
                session,
                house=self._house,
                single=single,
                tries=tries,
                poison=poison,
                now=self._clock(),
                chance=random.random(),  # noqa: S311 (spreads retries, guards nothing)
            )

    def _charge(self, session: Session, tries: Sequence[Try]) -> None:
        """A single message is never held back by its provider's pace; bulk waits for it."""
        for name, rate in self._rates.items():
            if number := sum(one.provider == name for one in tries):
                pace.charge(session, self._health.ids[name], rate=rate, number=number, now=self._clock())

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
