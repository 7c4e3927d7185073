"""Statements that go past SQLAlchemy: what they answer, and what their failures are called."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import bindparam, cast, select, text
from sqlalchemy.exc import DataError, DBAPIError, OperationalError
from sqlalchemy.types import Integer

from incident_center.db import Database
from incident_center.delivery.sql import ForDriver, in_one_exchange, is_away
from incident_center.models import Component, Subscriber
from incident_center.states import Channel
from tests.builders import a_component, a_subscriber

_ONE_BY = select(cast(1, Integer) / bindparam("by", type_=Integer))
DIVIDED = ForDriver(_ONE_BY, "by")
_KEYS = select(Component.key).where(Component.key.in_(["sepa-instant", "wires"])).order_by(Component.key)
KEYS = ForDriver(_KEYS)
_NOWHERE = select(text("1")).select_from(text("no_such_table"))
NOWHERE = ForDriver(_NOWHERE)


def test_each_query_gets_its_rows(database: Database) -> None:
    with database.transaction() as session:
        a_component(session, key="wires")
        a_component(session, key="sepa-instant")
        session.flush()
        divided, keys, again = in_one_exchange(
            session, (DIVIDED, {"by": 1}), (KEYS, {}), (DIVIDED, {"by": 1})
        )
    assert (divided[0][0], [key for (key,) in keys], again) == (1, ["sepa-instant", "wires"], divided)


@pytest.mark.parametrize("database_kind", ["postgres"])  # to SQLite a division by zero is nothing
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_the_server_refuses_is_not_taken_for_a_server_that_is_away(
    database: Database, place: int
) -> None:
    """Whatever follows in the pipeline is refused as well, and that alone would be waited for for ever."""
    asked = [(DIVIDED, {"by": int(number != place)}) for number in range(3)]
    with pytest.raises(DataError) as told, database.transaction() as session:
        in_one_exchange(session, *asked)
    assert not is_away(told.value)
    with database.transaction() as session:
        assert in_one_exchange(session, *[(DIVIDED, {"by": 1})] * 2)


def test_a_failure_is_one_of_sqlalchemys(database: Database) -> None:
    with pytest.raises(DBAPIError) as told, database.transaction() as session:
        in_one_exchange(session, (NOWHERE, {}))
    assert "no_such_table" in str(told.value)
    assert isinstance(told.value, OperationalError) is database.is_sqlite


def test_a_constant_that_the_driver_would_write_in_its_own_way_is_refused() -> None:
    late = select(Component.key).where(Component.created_at > datetime(2026, 11, 22, tzinfo=UTC))
    with pytest.raises(TypeError, match="created_at_1"):
        ForDriver(late)


def test_words_of_ours_go_in_by_their_value(database: Database) -> None:
    texts = ForDriver(select(Subscriber.phone).where(Subscriber.channel == Channel.SMS))
    with database.transaction() as session:
        a_subscriber(session)
        a_subscriber(session, channel=Channel.SMS, phone="+4915112345678")
        session.flush()
        assert [list(rows) for rows in in_one_exchange(session, (texts, {}))] == [[("+4915112345678",)]]
