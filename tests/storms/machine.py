"""A state machine over everything that happens to a fan-out, in any order and at the worst moment.

Two workers share a database and a clock that only the machine moves. After every step the ledger must add up; at the
end everybody who stayed has heard the newest update.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import ColumnElement, func, select, true
from sqlalchemy.orm import Session

from incident_center.audience.verbs import stop, unsubscribe
from incident_center.db import Database
from incident_center.delivery import receipts
from incident_center.delivery.courier import Courier
from incident_center.delivery.engine import Engine
from incident_center.delivery.fanout import queue_current_status
from incident_center.delivery.letters import message_id
from incident_center.delivery.people import still_due
from incident_center.delivery.providers import Providers
from incident_center.delivery.questions import ledger_check, progress
from incident_center.delivery.receipts import Told
from incident_center.delivery.suppress import suppress
from incident_center.house import House
from incident_center.models import Chunk, Delivery, Fanout, Incident, Subscriber, Update
from incident_center.states import Channel, ChunkState, DeliveryState, SubscriberState, SuppressionReason
from tests.builders import a_subscriber, an_incident
from tests.delivery.stories import Clock, publish
from tests.storms.courier import FATES, Arrived, Crashed, World, WorldCourier
from tests.storms.storm import in_flight

WORKERS = ("worker A", "worker B")
_COUNTED_BY_CHUNKS = {  # people without a row are counted under these, too
    DeliveryState.DUE,
    DeliveryState.SENDING,
    DeliveryState.SUPERSEDED,
    DeliveryState.EXPIRED,
    DeliveryState.CANCELLED,
}
_GONE = (SubscriberState.UNSUBSCRIBED, SubscriberState.SUPPRESSED)
OPEN_DATABASE = Callable[[], AbstractContextManager[str]]


class Machine(RuleBasedStateMachine):
    """`open_database` gives the URL of a fresh database for each run."""

    def __init__(self, open_database: OPEN_DATABASE, house: House) -> None:
        super().__init__()
        self._house = house
        self._opened = open_database()
        self.database = Database(self._opened.__enter__())
        self.clock, self.world = Clock(), World()
        self.engines: dict[str, Engine] = {}
        self.names = 0
        self.was_ahead = False
        self.pending: set[int] = set()

    @initialize(
        emails=st.integers(1, 9), texts=st.integers(0, 4), pending=st.sets(st.integers(0, 12), max_size=3)
    )
    def people(self, emails: int, texts: int, pending: set[int]) -> None:
        """Some of them have not confirmed yet, so that later joiners stand among those who were cut."""
        for number in range(emails + texts):
            state = SubscriberState.PENDING if number in pending else SubscriberState.CONFIRMED
            person = self._person(by_email=number < emails, state=state)
            if number in pending:
                self.pending.add(person)
        with self.database.transaction() as session:
            publish(session, self._house, an_incident(session), now=self.clock())

    @rule()
    def a_new_incident(self) -> None:
        with self.database.transaction() as session:
            publish(session, self._house, an_incident(session), now=self.clock())

    @rule(place=st.integers(0, 9))
    def a_newer_update(self, place: int) -> None:
        self._publish_any(place)

    @rule(by_email=st.booleans())
    def somebody_joins(self, by_email: bool) -> None:
        self._person(by_email=by_email, state=SubscriberState.PENDING, confirm=True)

    @precondition(lambda self: self.pending)
    @rule(place=st.integers(0, 9))
    def somebody_confirms(self, place: int) -> None:
        person = sorted(self.pending)[place % len(self.pending)]
        self.pending.discard(person)
        self._confirm(person)

    @rule(place=st.integers(0, 30), how=st.sampled_from(["unsubscribe", "stop", "complaint", "bounce"]))
    def somebody_leaves(self, place: int, how: str) -> None:
        self._leave(place, how)

    @rule(seconds=st.sampled_from([1, 6, 31, 61, 66, 130, -30]))
    def time_passes(self, seconds: int) -> None:
        """Or a clock that was ahead is set right."""
        self.was_ahead |= seconds < 0
        self.clock.move(seconds=seconds)

    @rule(name=st.sampled_from(WORKERS), fates=st.lists(st.sampled_from(sorted(FATES)), max_size=8))
    def a_worker_works(self, name: str, fates: list[str]) -> None:
        self.world.fates = fates
        self._round(name)

    @rule(
        name=st.sampled_from(WORKERS),
        after=st.integers(0, 6),
        fates=st.lists(st.sampled_from(sorted(FATES)), max_size=4),
    )
    def a_worker_dies(self, name: str, after: int, fates: list[str]) -> None:
        self.world.fates, self.world.crash_after = fates, after
        try:
            for _ in range(3):
                self._round(name)
        except Crashed:
            self.engines.pop(name).release()
        self.world.crash_after = None

    @rule(
        name=st.sampled_from(WORKERS),
        what=st.sampled_from(["newer", "newer and at once", "leave", "other worker", "asleep", "confirm"]),
        place=st.integers(0, 30),
        fates=st.lists(st.sampled_from(sorted(FATES)), max_size=6),
    )
    def something_happens_while_letters_are_on_the_wire(
        self, name: str, what: str, place: int, fates: list[str]
    ) -> None:
        other = next(one for one in WORKERS if one != name)
        self.world.fates = fates

        def meanwhile() -> None:
            if what.startswith("newer"):
                self._publish_any(place)
            elif what == "leave":
                self._leave(place, "unsubscribe")
            elif what == "confirm" and self.pending:
                self.somebody_confirms(place)
            if what in {"newer and at once", "other worker", "asleep"}:
                if what == "asleep":
                    self.clock.move(seconds=181)  # three leases
                for _ in range(3):
                    self._round(other)

        self.world.meanwhile = meanwhile
        self._round(name)
        self.world.meanwhile = None

    @rule(
        place=st.integers(0, 60),
        state=st.sampled_from([DeliveryState.DELIVERED, DeliveryState.BOUNCED, DeliveryState.COMPLAINED]),
        permanent=st.booleans(),
    )
    def a_receipt_comes(self, place: int, state: DeliveryState, permanent: bool) -> None:
        if not self.world.arrived:
            return
        about = self.world.arrived[place % len(self.world.arrived)]
        with self.database.transaction() as session:
            person = session.get_one(Subscriber, about.subscriber_id)
            told = self._told(session, person.channel, about, state, permanent=permanent)
            receipts.keep(session, house=self._house, told=told, now=self.clock())
            session.flush()
            session.refresh(person)
            if person.state is not SubscriberState.CONFIRMED:
                self._note_leave(session, person.id)

    def _told(
        self, session: Session, channel: Channel, about: Arrived, state: DeliveryState, *, permanent: bool
    ) -> Told:
        """An e-mail is called by its Message-ID, a text by the provider's number, which a lost worker never heard."""
        letter = message_id(
            self._house.settings.public_url,
            kind="update",
            about=about.update_id,
            reader=about.subscriber_id,
            at=session.get_one(Update, about.update_id).published_at,
        )
        return Told(
            source="generic",
            event=f"{about} {state} {permanent}",
            channel=channel,
            state=state,
            at=self.clock(),
            letter=letter if channel is Channel.EMAIL else "",
            provider_ref=about.number if channel is Channel.SMS else "",
            permanent=permanent and state is DeliveryState.BOUNCED,
        )

    # What must hold after every step

    @invariant()
    def the_audience_is_the_sum_over_states(self) -> None:
        """Counted in another way than the product counts: from every row, and from who is due in open chunks."""
        with self.database.reading() as session:
            gone = select(func.count(Subscriber.id)).where(Subscriber.state.in_(_GONE))
            may_be_counted_still = session.scalar(gone) or 0
            for update_id in session.scalars(select(Fanout.update_id)).all():
                seen = progress(session, update_id)
                rows = _rows(session, update_id)
                counted = Counter(
                    {(c, s): n for c, states in seen.by_channel.items() for s, n in states.items()}
                )
                real = Counter((row.channel, row.state) for row in rows)
                for place in counted.keys() | real.keys():
                    exactly = place[1] not in _COUNTED_BY_CHUNKS
                    right = counted[place] == real[place] if exactly else counted[place] >= real[place]
                    assert right, (update_id, place, counted[place], real[place])
                assert seen.possibly_twice == sum(row.possibly_twice for row in rows), seen
                known = len(rows) + _due(session, update_id) + _left_out(session, update_id)
                # While a chunk is open nobody knows whether somebody who was queued had been counted in it; and
                # who joined later stands among its people without being one of them. A clock that was ahead hides
                # who joined later.
                late = Subscriber.confirmed_at >= session.get_one(Update, update_id).published_at
                unsure = _due(session, update_id, true() if self.was_ahead else late)
                if seen.waiting or self.was_ahead:
                    unsure += sum(row.apart for row in rows)
                assert known - unsure <= seen.audience <= known + may_be_counted_still, (
                    update_id,
                    known,
                    seen,
                )

    @invariant()
    def nobody_is_forgotten(self) -> None:
        with self.database.reading() as session:
            for newest in session.scalars(select(func.max(Update.id)).group_by(Update.incident_id)).all():
                complaints = ledger_check(session, newest)
                assert complaints == [], complaints

    @invariant()
    def nobody_gets_two_copies_unless_it_is_flagged(self) -> None:
        copies = Counter(self.world.arrived)
        with self.database.reading() as session:
            for about, number in copies.items():
                if number > 1:
                    row = session.get_one(Delivery, (about.update_id, about.subscriber_id))
                    assert (number, row.possibly_twice) == (2, True), about

    @invariant()
    def nobody_gets_older_news_after_newer(self) -> None:
        with self.database.reading() as session:
            rows = session.execute(select(Update.id, Update.incident_id))
            incident_of = {row.id: row.incident_id for row in rows}
        last: dict[tuple[int, int], int] = {}
        for about in self.world.arrived:
            key = (incident_of[about.update_id], about.subscriber_id)
            assert last.get(key, 0) <= about.update_id, about
            last[key] = about.update_id

    @invariant()
    def nobody_is_marked_after_they_have_left(self) -> None:
        assert self.world.trespasses == [], self.world.trespasses

    def teardown(self) -> None:
        try:
            self._everybody_who_stayed_has_heard()
        finally:
            for engine in self.engines.values():
                engine.release()
            self.database.dispose()
            self._opened.__exit__(None, None, None)

    def _everybody_who_stayed_has_heard(self) -> None:
        self.world.fates = []
        for _ in range(12):
            self.clock.move(seconds=131)
            for name in WORKERS:
                for _ in range(3):
                    self._round(name)
        self.nobody_is_forgotten()
        with self.database.reading() as session:
            confirmed = set(
                session.scalars(select(Subscriber.id).where(Subscriber.state == SubscriberState.CONFIRMED))
            )
            for newest in session.scalars(select(func.max(Update.id)).group_by(Update.incident_id)).all():
                told = {row.subscriber_id for row in _rows(session, newest)}
                assert confirmed <= told, "somebody was missed"
                seen = progress(session, newest)
                assert (seen.waiting, seen.finished) == (0, True), seen
            for update_id in session.scalars(select(Fanout.update_id)).all():
                known = len(_rows(session, update_id)) + _left_out(session, update_id)
                assert _due(session, update_id) == 0, update_id
                assert self.was_ahead or progress(session, update_id).audience == known, update_id
        self.nobody_gets_two_copies_unless_it_is_flagged()
        self.nobody_gets_older_news_after_newer()

    # Deeds

    def _round(self, name: str) -> None:
        """One round of a worker; nobody may be handed over whose leave was committed before."""
        engine = self.engines.get(name) or self._hire(name)
        for step in (
            engine.singles_once,
            engine.expand_once,
            lambda: engine.deliver_once(Channel.EMAIL),
            lambda: engine.deliver_once(Channel.SMS),
            lambda: receipts.receipts_once(self.database, self._house, now=self.clock()),
        ):
            step()

    def _hire(self, name: str) -> Engine:
        self.names += 1
        couriers: dict[Channel, list[Courier]] = {
            channel: [WorldCourier(f"{channel.value} 1 world", self.world)] for channel in Channel
        }
        engine = Engine(
            self.database,
            self._house,
            owner=f"{name} {self.names}",
            clock=self.clock,
            providers=Providers(by_channel=couriers),
        )
        self.engines[name] = engine
        return engine

    def _person(self, *, by_email: bool, state: SubscriberState, confirm: bool = False) -> int:
        with self.database.transaction() as session:
            number = session.scalar(select(func.count(Subscriber.id))) or 0
            where: dict[str, Any] = (
                {"email": f"reader-{number}@example.com"}
                if by_email
                else {"phone": f"+4915112340{number:03}"}
            )
            person = a_subscriber(session, state=state, **where).id
        if confirm:
            self._confirm(person)
        return person

    def _confirm(self, person: int) -> None:
        with self.database.transaction() as session:
            row = session.get_one(Subscriber, person)
            row.state, row.confirmed_at, row.updated_at = (
                SubscriberState.CONFIRMED,
                self.clock(),
                self.clock(),
            )
            queue_current_status(session, subscriber=row, now=self.clock())

    def _publish_any(self, place: int) -> None:
        with self.database.transaction() as session:
            incidents = session.scalars(select(Incident).order_by(Incident.id)).all()
            publish(session, self._house, incidents[place % len(incidents)], now=self.clock())

    def _leave(self, place: int, how: str) -> None:
        with self.database.transaction() as session:
            query = (
                select(Subscriber)
                .where(Subscriber.state == SubscriberState.CONFIRMED)
                .order_by(Subscriber.id)
            )
            people = session.scalars(query).all()
            if not people:
                return
            person = people[place % len(people)]
            if how == "unsubscribe":
                unsubscribe(session, house=self._house, subscriber_id=person.id, now=self.clock())
            elif how == "stop" and person.phone:
                stop(session, house=self._house, phone=person.phone, now=self.clock())
            else:
                reason = SuppressionReason.COMPLAINT if how == "complaint" else SuppressionReason.BOUNCE
                suppress(
                    session,
                    house=self._house,
                    channel=person.channel,
                    address=person.address or "",
                    reason=reason,
                    now=self.clock(),
                )
            session.flush()
            self._note_leave(session, person.id)

    def _note_leave(self, session: Session, person: int) -> None:
        flying = set().union(*in_flight(session).values())
        self.world.left.setdefault(person, {about for about, reader in flying if reader == person})


def _rows(session: Session, update_id: int) -> Sequence[Delivery]:
    return session.scalars(select(Delivery).where(Delivery.update_id == update_id)).all()


def _due(session: Session, update_id: int, *more: ColumnElement[bool]) -> int:
    """People who are due in an open chunk."""
    chunks = session.scalars(
        select(Chunk).where(Chunk.update_id == update_id, Chunk.state == ChunkState.OPEN)
    ).all()
    return sum(
        session.scalar(select(func.count(Subscriber.id)).where(still_due(chunk), *more)) or 0
        for chunk in chunks
    )


def _left_out(session: Session, update_id: int) -> int:
    """People whom a closed chunk has left out."""
    chunks = session.scalars(select(Chunk).where(Chunk.update_id == update_id)).all()
    return sum(chunk.left for chunk in chunks if chunk.state not in {ChunkState.OPEN, ChunkState.DONE})
