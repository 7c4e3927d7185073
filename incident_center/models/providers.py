"""Providers as all workers see them together, what they tell us afterwards, and which installation this is."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, SmallInteger, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from incident_center.db import Base, state_column
from incident_center.states import Channel, DeliveryState, ProviderState

_OPEN = text("applied_at IS NULL")


class Provider(Base):
    """One configured provider: its health, and the pace that all workers keep together.

    `name` is its place in the settings and its kind ("email 1 smtp"). `paced_until` is the moment up to which
    its rate is used up; a batch moves it on before it goes on the wire.
    """

    __tablename__ = "providers"

    id: Mapped[int] = mapped_column(SmallInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    name: Mapped[str] = mapped_column(String(60), unique=True)
    channel: Mapped[Channel | None] = mapped_column(state_column(Channel))
    state: Mapped[ProviderState] = mapped_column(state_column(ProviderState), default=ProviderState.WELL)
    rest_until: Mapped[datetime | None]
    rests: Mapped[int] = mapped_column(SmallInteger, default=0)  # in a row, without a good answer between
    probed_by: Mapped[str | None] = mapped_column(String(80))  # the worker that tries it after a rest
    probed_at: Mapped[datetime | None]
    paced_until: Mapped[datetime | None]
    last_ok_at: Mapped[datetime | None]
    last_trouble_at: Mapped[datetime | None]
    last_code: Mapped[str | None] = mapped_column(String(24))
    last_words: Mapped[str | None] = mapped_column(String(300))


class ProviderSlot(Base):
    """One of the connections that a provider allows to all workers together; free when nobody holds it."""

    __tablename__ = "provider_slots"

    provider_id: Mapped[int] = mapped_column(
        SmallInteger().with_variant(Integer(), "sqlite"),
        ForeignKey("providers.id", ondelete="CASCADE"),
        primary_key=True,
    )
    number: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    owner: Mapped[str | None] = mapped_column(String(80))
    until: Mapped[datetime | None]


class Receipt(Base):
    """What a provider told us after it had accepted a message. Kept first, applied once its row is there.

    It names its delivery by update and subscriber, its single message, or only the provider's own reference.
    """

    __tablename__ = "receipts"
    __table_args__ = (
        UniqueConstraint("source", "event_key"),
        Index("ix_receipts_open", "received_at", sqlite_where=_OPEN, postgresql_where=_OPEN),
        Index("ix_receipts_delivery", "update_id", "subscriber_id"),
    )

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    source: Mapped[str] = mapped_column(
        String(24)
    )  # twilio, vonage, generic, ses, postmark, mailgun, bounce, smpp
    event_key: Mapped[str] = mapped_column(String(64))  # the same event, told twice, is one row
    channel: Mapped[Channel] = mapped_column(state_column(Channel))
    update_id: Mapped[int | None]
    subscriber_id: Mapped[int | None]
    message_id: Mapped[int | None] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"))
    provider_ref: Mapped[str | None] = mapped_column(String(200))
    state: Mapped[DeliveryState] = mapped_column(state_column(DeliveryState))
    permanent: Mapped[bool] = mapped_column(default=False)  # a bounce for good, which suppresses
    code: Mapped[str | None] = mapped_column(String(24))
    detail: Mapped[str | None] = mapped_column(String(300))
    happened_at: Mapped[datetime]
    received_at: Mapped[datetime]
    applied_at: Mapped[datetime | None]


class Installation(Base):
    """Which installation this database belongs to: one row. A copy or a restored backup shows as another one."""

    __tablename__ = "installations"

    id: Mapped[int] = mapped_column(primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    marker: Mapped[str | None] = mapped_column(
        String(32)
    )  # changes every minute; SQLite's file keeps its twin
    marked_at: Mapped[datetime | None]
    seen_fingerprint: Mapped[str | None] = mapped_column(
        String(64)
    )  # differs: nothing is sent until a lead says so
    seen_at: Mapped[datetime | None]
    confirmed_at: Mapped[datetime]
    confirmed_by: Mapped[str] = mapped_column(String(200))
