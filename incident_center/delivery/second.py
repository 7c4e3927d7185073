"""Somebody's second address: on the other channel, confirmed by its owner, used when the preferred one fails.

docs/decisions/0012-second-address.md says what a customer may expect of it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from sqlalchemy.orm import Session

from incident_center.delivery.fanout import queue_current_status
from incident_center.models import Delivery, Subscriber
from incident_center.states import Channel, SubscriberState


class Reader(Protocol):
    """What has to be known of a subscriber, whole or as some columns of the row."""

    @property
    def channel(self) -> Channel: ...
    @property
    def fallback_since(self) -> datetime | None: ...


def other(channel: Channel) -> Channel:
    return Channel.SMS if channel is Channel.EMAIL else Channel.EMAIL


def second_address(person: Subscriber) -> str | None:
    """The address that may stand in for the preferred one; None without their leave."""
    if person.fallback_since is None:
        return None
    return person.phone if person.channel is Channel.EMAIL else person.email


def belongs_there(row: Delivery, reader: Reader) -> bool:
    """Whether a delivery that waits goes over the channel that it names: the preferred one, or the second one after
    the first has failed (a try lies behind it). Otherwise its reader has moved, and it moves after them."""
    return row.channel is reader.channel or (reader.fallback_since is not None and row.attempts > 0)


def forget_second(person: Subscriber, *, now: datetime) -> None:
    """The second address is gone, and with it the leave to use it; the subscription stays as it is."""
    drop_address(person, other(person.channel))
    person.updated_at = now


def promote_second(session: Session, person: Subscriber, *, now: datetime) -> None:
    """The preferred address is lost for good: they are written to at the second one from now on. Its owner has
    said yes, even where the first one's never did. What is going out and has not reached them yet is queued, because
    the other channel's chunks may have gone past them; what has failed is fallback.py's.

    Settings links that went to the lost address end here: whoever gets that mailbox or number next must not
    find somebody else's settings behind them.
    """
    lost = person.channel
    person.channel = other(lost)
    drop_address(person, lost)
    person.state = SubscriberState.CONFIRMED
    person.confirmed_at = person.confirmed_at or now
    person.updated_at = now
    person.links_since = now.replace(microsecond=0)  # links carry whole seconds; the new ones must work
    queue_current_status(session, subscriber=person, now=now)


def drop_address(person: Subscriber, channel: Channel) -> None:
    """With either of two addresses gone, there is no second one any more."""
    person.fallback_since = None
    if channel is Channel.EMAIL:
        person.email = person.email_key = None
    else:
        person.phone = None
