"""Who is written to: the audience of an update, as SQL expressions."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, literal_column, or_, select

from incident_center.models import (
    Chunk,
    Delivery,
    Incident,
    IncidentComponent,
    Subscriber,
    SubscriberComponent,
    Update,
)
from incident_center.states import Channel, DeliveryState, Phase, SubscriberState

# States in which a message has, or may have, left the house.
ON_THE_WIRE = (
    DeliveryState.SENDING,
    DeliveryState.ACCEPTED,
    DeliveryState.DELIVERED,
    DeliveryState.BOUNCED,
    DeliveryState.COMPLAINED,
    DeliveryState.UNKNOWN,
)
ENDED_PHASES = (Phase.RESOLVED, Phase.POSTMORTEM)


def found_one_by_one(query: Select[int]) -> ColumnElement[bool]:
    """EXISTS, looked up by key for each row: PostgreSQL would read all deliveries into a hash, for 25 people too."""
    return query.limit(1).scalar_subquery().is_not(None)


def concerned(incident_id: Any) -> ColumnElement[bool]:
    """Subscribers whom an incident concerns: their components match, or they have been told of it before.

    Whoever was told that it began is told that it is over, whatever they have changed in between.
    """
    component = exists(
        select(SubscriberComponent.subscriber_id)
        .join(IncidentComponent, IncidentComponent.component_id == SubscriberComponent.component_id)
        .where(
            SubscriberComponent.subscriber_id == Subscriber.id, IncidentComponent.incident_id == incident_id
        )
    )
    return or_(Subscriber.all_components, component, told_of(incident_id, Subscriber.id))


def told_of(incident_id: Any, subscriber_id: Any) -> ColumnElement[bool]:
    """Whether somebody has, or may have, been written to about the incident."""
    return found_one_by_one(
        select(Delivery.subscriber_id).where(
            Delivery.update_id.in_(select(Update.id).where(Update.incident_id == incident_id)),
            Delivery.subscriber_id == subscriber_id,
            Delivery.state.in_(ON_THE_WIRE),
        )
    )


def audience(incident_id: Any, channel: Channel | None = None) -> ColumnElement[bool]:
    """Confirmed subscribers whom the incident concerns; `channel` is the one that they prefer."""
    confirmed = Subscriber.state == SubscriberState.CONFIRMED
    if channel is not None:
        confirmed = and_(confirmed, Subscriber.channel == channel)
    return and_(confirmed, concerned(incident_id))


def without_row(update_id: Any) -> ColumnElement[bool]:
    """Subscribers who have no delivery of this update yet."""
    return ~found_one_by_one(
        select(Delivery.subscriber_id).where(
            Delivery.update_id == update_id, Delivery.subscriber_id == Subscriber.id
        )
    )


def chunk_is_open() -> ColumnElement[bool]:
    """Said with the word itself and not with a parameter: only so the databases use the index of open chunks."""
    return Chunk.state == literal_column("'open'")


def unresolved() -> ColumnElement[bool]:
    return Incident.phase.not_in(ENDED_PHASES)


def still_due(chunk: Any) -> ColumnElement[bool]:
    """The people of a chunk (a row of models.Chunk) who have not been written to."""
    return and_(
        Subscriber.id.between(chunk.first_id, chunk.last_id),
        audience(chunk.incident_id, chunk.channel),
        without_row(chunk.update_id),
    )
