"""Subscribers, what they have confirmed, and who must not be written to."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from incident_center.db import Base, state_column
from incident_center.states import Channel, FormOfAddress, SubscriberState, SuppressionReason


class Subscriber(Base):
    """One customer. `channel` is the preferred one and its address is set; erased rows have neither."""

    __tablename__ = "subscribers"
    __table_args__ = (Index("ix_subscribers_walk", "state", "channel", "id"),)  # the fan-out's keyset walk

    id: Mapped[int] = mapped_column(primary_key=True)
    channel: Mapped[Channel] = mapped_column(state_column(Channel))
    email: Mapped[str | None] = mapped_column(String(320))  # as given; local parts keep their case
    email_key: Mapped[str | None] = mapped_column(String(320), unique=True)  # folded, for finding it again
    phone: Mapped[str | None] = mapped_column(String(20), unique=True)  # E.164
    language: Mapped[str] = mapped_column(String(8))
    zone: Mapped[str] = mapped_column(String(64))
    name: Mapped[str | None] = mapped_column(String(120))
    form: Mapped[FormOfAddress | None] = mapped_column(state_column(FormOfAddress))
    all_components: Mapped[bool] = mapped_column(default=True)
    state: Mapped[SubscriberState] = mapped_column(
        state_column(SubscriberState), default=SubscriberState.PENDING
    )
    source: Mapped[str] = mapped_column(String(24))  # web, agent, api, import, demo
    enrolled_by: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]  # unsubscribed, suppressed or erased
    # Since when the other channel's address may be used when the preferred one fails for good: its owner confirmed it.
    fallback_since: Mapped[datetime | None]
    links_since: Mapped[datetime | None]  # settings links signed before this went to an address that was left

    @property
    def address(self) -> str | None:
        """The preferred channel's address."""
        return self.email if self.channel is Channel.EMAIL else self.phone


class SubscriberComponent(Base):
    """Only for those who chose (`all_components` is false)."""

    __tablename__ = "subscriber_components"

    subscriber_id: Mapped[int] = mapped_column(
        ForeignKey("subscribers.id", ondelete="CASCADE"), primary_key=True
    )
    component_id: Mapped[int] = mapped_column(ForeignKey("components.id"), primary_key=True, index=True)


class Confirmation(Base):
    """An address waits for its owner's yes: an e-mail link's token or an SMS code, kept as keyed hashes."""

    __tablename__ = "confirmations"

    id: Mapped[int] = mapped_column(primary_key=True)
    subscriber_id: Mapped[int] = mapped_column(ForeignKey("subscribers.id", ondelete="CASCADE"), index=True)
    channel: Mapped[Channel] = mapped_column(state_column(Channel))
    address: Mapped[str] = mapped_column(String(320))
    secret_hash: Mapped[str] = mapped_column(String(64), index=True)
    as_fallback: Mapped[bool] = mapped_column(default=False)  # the address is to be the second one
    tries: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class Suppression(Base):
    """An address that must not be written to, as a keyed hash: it outlives erasure and re-import."""

    __tablename__ = "suppressions"
    __table_args__ = (UniqueConstraint("channel", "address_hash"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    channel: Mapped[Channel] = mapped_column(state_column(Channel))
    address_hash: Mapped[str] = mapped_column(String(64))
    reason: Mapped[SuppressionReason] = mapped_column(state_column(SuppressionReason))
    at: Mapped[datetime]
