"""Deliveries that are not plainly accepted: a few among a million, in an index of their own."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, and_, text
from sqlalchemy.orm import InstrumentedAttribute

from incident_center.models import Delivery
from incident_center.states import Channel, DeliveryState

# Said as the partial index says it, so that the databases use it.
COUNTED_APART = text("(deliveries.state <> 'accepted' OR deliveries.apart OR deliveries.possibly_twice)")


def apart(
    update_id: int | InstrumentedAttribute[int], states: Collection[DeliveryState]
) -> ColumnElement[bool]:
    """An update's rows in these states; `update_id` may be the column of a join. Group or order them by channel and
    state, as the index has them.

    SQLite keeps no statistics; without that hint it walks the update's whole audience by its key, and so does
    PostgreSQL with a plan that is made without knowing the state. Every channel is named because the state is the
    index's third column: it would read the states that are not asked for.
    """
    return and_(
        Delivery.update_id == update_id,
        COUNTED_APART,
        Delivery.channel.in_(list(Channel)),
        Delivery.state.in_(list(states)),
    )
