"""The ledger: fan-outs, chunks, deliveries, attempts, and single messages."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Dialect, ForeignKey, Index, Integer, SmallInteger, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

from incident_center.db import Base, Json, state_column
from incident_center.models.providers import Provider
from incident_center.states import Channel, ChunkState, DeliveryState, FanoutState, MessageKind

BigId = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up only INTEGER keys
_WAITING = text("not_before IS NOT NULL")
_COUNTED_APART = text("state <> 'accepted' OR apart OR possibly_twice")
_OPEN = text("state = 'open'")
_SMS_REFERENCE = text("channel = 'sms' AND provider_ref IS NOT NULL")


class Ids(TypeDecorator[list[int]]):
    """Ascending ids as text, the first one whole and then the steps: 50 neighbours are 100 bytes, not 500.

    A batch is written once for every 25 people, so its size is what the ledger's log consists of.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: list[int] | None, dialect: Dialect) -> str | None:  # noqa: ARG002 (the base's signature)
        return None if value is None else ids_to_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> list[int]:  # noqa: ARG002 (the base's signature)
        return ids_from_text(value)


def ids_to_text(ids: Collection[int]) -> str:
    """[1000, 1001, 1005] as "1000,1,4"; "" for nobody."""
    before = 0
    steps = []
    for one in sorted(ids):
        steps.append(str(one - before))
        before = one
    return ",".join(steps)


def ids_from_text(text: str | None) -> list[int]:
    ids = []
    at = 0
    for step in (text or "").split(",") if text else ():
        at += int(step)
        ids.append(at)
    return ids


class Fanout(Base):
    """The sending of one update to its audience: one row, whatever the number of people."""

    __tablename__ = "fanouts"

    id: Mapped[int] = mapped_column(primary_key=True)
    update_id: Mapped[int] = mapped_column(ForeignKey("updates.id"), unique=True)
    incident_id: Mapped[int] = mapped_column(ForeignKey("incidents.id"), index=True)
    state: Mapped[FanoutState] = mapped_column(
        state_column(FanoutState), default=FanoutState.OPEN, index=True
    )
    cursors: Mapped[dict[str, int]] = mapped_column(
        Json, default=dict
    )  # channel -> last subscriber id walked
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    cut_at: Mapped[datetime | None]
    checked_at: Mapped[datetime | None]  # when the ledger was seen to add up, or an alarm was raised


class Chunk(Base):
    """A range of a fan-out's audience on one channel that one worker leases.

    `batch` holds the subscriber ids that are on the wire: the durable intent. After a crash they are the
    unknown ones, everybody else in the range is exactly where they were.
    """

    __tablename__ = "chunks"
    # Only what stays while a chunk is open: PostgreSQL then changes its row in place, without touching an index.
    __table_args__ = (
        Index("ix_chunks_open", "channel", "fanout_id", "id", sqlite_where=_OPEN, postgresql_where=_OPEN),
        {"postgresql_with": {"fillfactor": "40"}},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    fanout_id: Mapped[int] = mapped_column(ForeignKey("fanouts.id"), index=True)
    update_id: Mapped[int] = mapped_column(ForeignKey("updates.id"), index=True)
    incident_id: Mapped[int] = mapped_column(ForeignKey("incidents.id"), index=True)
    channel: Mapped[Channel] = mapped_column(state_column(Channel))
    first_id: Mapped[int]
    last_id: Mapped[int]
    size: Mapped[int]  # people due when it was cut
    state: Mapped[ChunkState] = mapped_column(state_column(ChunkState), default=ChunkState.OPEN)
    owner: Mapped[str | None] = mapped_column(String(80))
    lease_until: Mapped[datetime | None]
    fence: Mapped[int] = mapped_column(default=0)
    batch: Mapped[list[int]] = mapped_column(Ids, default=list)
    batch_at: Mapped[datetime | None]
    not_before: Mapped[datetime | None]  # rests: its provider is down, or older words are still on the wire
    written: Mapped[int] = mapped_column(default=0)  # rows that its batches have become, see Delivery.apart
    left: Mapped[int] = mapped_column(default=0)  # people who left the audience before their turn
    finished_at: Mapped[datetime | None]


class Delivery(Base):
    """One update to one subscriber over one channel, with its outcome: the ledger's row.

    A million of these are written for one update, so a plain accepted one is as small as its proof allows: no
    key of its own, no foreign keys (PostgreSQL would write a lock for each), no index but its key. NULLs are
    what a first accepted try does not need. docs/decisions/0011-a-lean-ledger.md has the figures.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        Index(
            "ix_deliveries_waiting", "channel", "not_before", sqlite_where=_WAITING, postgresql_where=_WAITING
        ),
        Index(
            "ix_deliveries_apart",
            "update_id",
            "channel",
            "state",
            sqlite_where=_COUNTED_APART,
            postgresql_where=_COUNTED_APART,
        ),
        Index(
            "ix_deliveries_reference",
            "provider_ref",
            sqlite_where=_SMS_REFERENCE,
            postgresql_where=_SMS_REFERENCE,
        ),
        {"sqlite_with_rowid": False},
    )

    at: Mapped[datetime]  # last change of state
    update_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    subscriber_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    wording_id: Mapped[int | None]  # which words, once composed
    provider_id: Mapped[int | None] = mapped_column(SmallInteger)
    attempts: Mapped[int] = mapped_column(SmallInteger, default=0)
    fence: Mapped[int] = mapped_column(SmallInteger, default=0)
    possibly_twice: Mapped[bool] = mapped_column(default=False)
    apart: Mapped[bool] = mapped_column(default=False)  # counted by itself, not in its chunk's `written`
    channel: Mapped[Channel] = mapped_column(state_column(Channel))
    state: Mapped[DeliveryState] = mapped_column(state_column(DeliveryState))
    since: Mapped[datetime | None]  # first try, or queued; NULL where `at` says it
    not_before: Mapped[datetime | None]
    owner: Mapped[str | None] = mapped_column(String(80))
    lease_until: Mapped[datetime | None]
    provider_ref: Mapped[str | None] = mapped_column(String(200))
    code: Mapped[str | None] = mapped_column(String(24))  # NULL for a plain acceptance
    detail: Mapped[str | None] = mapped_column(String(300))  # the provider's words, without addresses

    served_by: Mapped[Provider | None] = relationship(
        Provider,
        primaryjoin=lambda: Delivery.provider_id == Provider.id,
        foreign_keys=lambda: [Delivery.provider_id],
        lazy="joined",
        viewonly=True,
    )

    @property
    def provider(self) -> str | None:
        """The name of the provider that was asked last."""
        return self.served_by.name if self.served_by else None

    @property
    def created_at(self) -> datetime:
        """The first try, or when it was queued."""
        return self.since or self.at


class Message(Base):
    """A single message: a confirmation, a welcome, a note to the crisis team. Goes before bulk.

    channel is empty for staff messages, which go to INCIDENT_CENTER_STAFF_URLS. `key` makes it unique.
    """

    __tablename__ = "messages"
    __table_args__ = (
        Index("ix_messages_waiting", "not_before", sqlite_where=_WAITING, postgresql_where=_WAITING),
        Index(
            "ix_messages_reference",
            "provider_ref",
            sqlite_where=_SMS_REFERENCE,
            postgresql_where=_SMS_REFERENCE,
        ),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    kind: Mapped[MessageKind] = mapped_column(state_column(MessageKind))
    key: Mapped[str | None] = mapped_column(String(120), unique=True)
    channel: Mapped[Channel | None] = mapped_column(state_column(Channel))
    subscriber_id: Mapped[int | None] = mapped_column(ForeignKey("subscribers.id"), index=True)
    incident_id: Mapped[int | None] = mapped_column(ForeignKey("incidents.id"), index=True)
    address: Mapped[str | None] = mapped_column(String(320))
    language: Mapped[str] = mapped_column(String(8))
    subject: Mapped[str | None] = mapped_column(Text)
    text: Mapped[str | None] = mapped_column(Text)
    html: Mapped[str | None] = mapped_column(Text)
    headers: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    state: Mapped[DeliveryState] = mapped_column(state_column(DeliveryState))
    attempts: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[datetime | None]
    owner: Mapped[str | None] = mapped_column(String(80))
    lease_until: Mapped[datetime | None]
    fence: Mapped[int] = mapped_column(default=0)
    provider: Mapped[str | None] = mapped_column(String(60))
    provider_ref: Mapped[str | None] = mapped_column(String(200))
    code: Mapped[str | None] = mapped_column(String(24))
    detail: Mapped[str | None] = mapped_column(String(300))  # the provider's words, without addresses
    possibly_twice: Mapped[bool] = mapped_column(default=False)
    at: Mapped[datetime]  # last change of state


class Attempt(Base):
    """One try to hand a delivery or a single message to a provider, with the provider's answer.

    A first attempt that was accepted is told by the delivery's row alone; every other one is kept here. It
    names its delivery by update and subscriber, or its single message.
    """

    __tablename__ = "attempts"
    __table_args__ = (Index("ix_attempts_delivery", "update_id", "subscriber_id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    update_id: Mapped[int | None]
    subscriber_id: Mapped[int | None]
    message_id: Mapped[int | None] = mapped_column(ForeignKey("messages.id"), index=True)
    channel: Mapped[Channel | None] = mapped_column(state_column(Channel))
    number: Mapped[int]
    at: Mapped[datetime]
    provider: Mapped[str | None] = mapped_column(String(60))
    state: Mapped[DeliveryState] = mapped_column(state_column(DeliveryState))
    code: Mapped[str | None] = mapped_column(String(24))
    detail: Mapped[str | None] = mapped_column(String(300))
