"""The ledger: fan-outs, chunks, deliveries, attempts, and single messages."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from incident_center.db import Base, Json, state_column
from incident_center.states import Channel, ChunkState, DeliveryState, FanoutState, MessageKind

BigId = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts up only INTEGER keys
_WAITING = text("not_before IS NOT NULL")


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
    __table_args__ = (Index("ix_chunks_claim", "state", "channel", "lease_until"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    fanout_id: Mapped[int] = mapped_column(ForeignKey("fanouts.id"), index=True)
    update_id: Mapped[int] = mapped_column(ForeignKey("updates.id"))
    incident_id: Mapped[int] = mapped_column(ForeignKey("incidents.id"), index=True)
    channel: Mapped[Channel] = mapped_column(state_column(Channel))
    first_id: Mapped[int]
    last_id: Mapped[int]
    size: Mapped[int]  # people due when it was cut
    state: Mapped[ChunkState] = mapped_column(state_column(ChunkState), default=ChunkState.OPEN)
    owner: Mapped[str | None] = mapped_column(String(80))
    lease_until: Mapped[datetime | None]
    fence: Mapped[int] = mapped_column(default=0)
    batch: Mapped[list[int]] = mapped_column(Json, default=list)
    batch_at: Mapped[datetime | None]
    not_before: Mapped[datetime | None]  # rests: its provider is down, or older words are still on the wire
    left: Mapped[int] = mapped_column(default=0)  # people who left the audience before their turn
    finished_at: Mapped[datetime | None]


class Sendable:
    """Columns of a row that is claimed, sent and settled by itself."""

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


class Delivery(Sendable, Base):
    """One update to one subscriber over one channel, with its outcome: the ledger's row."""

    __tablename__ = "deliveries"
    __table_args__ = (
        UniqueConstraint("update_id", "subscriber_id"),
        Index("ix_deliveries_waiting", "not_before", sqlite_where=_WAITING, postgresql_where=_WAITING),
        Index("ix_deliveries_update_state", "update_id", "channel", "state"),
        Index("ix_deliveries_subscriber", "subscriber_id"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    update_id: Mapped[int] = mapped_column(ForeignKey("updates.id"))
    incident_id: Mapped[int] = mapped_column(ForeignKey("incidents.id"))
    subscriber_id: Mapped[int] = mapped_column(ForeignKey("subscribers.id"))
    channel: Mapped[Channel] = mapped_column(state_column(Channel))
    wording_id: Mapped[int | None] = mapped_column(ForeignKey("wordings.id"))  # which words, once composed
    created_at: Mapped[datetime]


class Message(Sendable, Base):
    """A single message: a confirmation, a welcome, a note to the crisis team. Goes before bulk.

    channel is empty for staff messages, which go to INCIDENT_CENTER_STAFF_URLS. `key` makes it unique.
    """

    __tablename__ = "messages"
    __table_args__ = (
        Index("ix_messages_waiting", "not_before", sqlite_where=_WAITING, postgresql_where=_WAITING),
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


class Attempt(Base):
    """One try to hand a delivery or a single message to a provider, with the provider's answer.

    A first attempt that was accepted is told by the delivery's row alone; every other one is kept here.
    """

    __tablename__ = "attempts"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    delivery_id: Mapped[int | None] = mapped_column(ForeignKey("deliveries.id"), index=True)
    message_id: Mapped[int | None] = mapped_column(ForeignKey("messages.id"), index=True)
    number: Mapped[int]
    at: Mapped[datetime]
    provider: Mapped[str | None] = mapped_column(String(60))
    state: Mapped[DeliveryState] = mapped_column(state_column(DeliveryState))
    code: Mapped[str | None] = mapped_column(String(24))
    detail: Mapped[str | None] = mapped_column(String(300))
