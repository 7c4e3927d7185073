"""Publishing answers as fast for a hundred thousand readers as for one: it does the same work."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, event, func, insert, select

from benchmarks.publish_cost import Measured, ratio, table
from incident_center.center import Center
from incident_center.incidents.inputs import Publication
from incident_center.incidents.scripts import script_for
from incident_center.incidents.verbs import publish_update
from incident_center.models import Delivery, Fanout, Incident, Subscriber
from incident_center.states import Channel, Phase, SubscriberState
from tests.builders import LEAD, NOW, an_incident


def test_publishing_asks_the_database_the_same_whatever_the_audience(center: Center) -> None:
    with center.database.transaction() as session:
        incident = an_incident(session)
    _publish(center, incident, minutes=0)
    with _statements(center.database.engine) as for_nobody:
        _publish(center, incident, minutes=1)
    _enrol(center, 2_000)
    with _statements(center.database.engine) as for_thousands:
        _publish(center, incident, minutes=2)
    assert for_thousands == for_nobody
    with center.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Fanout)) == 3
        assert session.scalar(select(func.count()).select_from(Delivery)) == 0


def test_the_table_compares_medians() -> None:
    measured = [
        Measured("SQLite", audience, 9, ms, 1.0, 99.0) for audience, ms in ((100, 10.0), (100_000, 11.0))
    ]
    assert ratio(measured) == pytest.approx(1.1)
    assert table({"SQLite": measured}).splitlines()[1].split() == [
        "SQLite",
        "10.00",
        "ms",
        "11.00",
        "ms",
        "1.10",
    ]


def _publish(center: Center, incident: Incident, *, minutes: int) -> None:
    now = NOW + timedelta(minutes=minutes)
    with center.database.transaction() as session:
        incident = session.get_one(Incident, incident.id)
        publication = Publication(
            phase=Phase.INVESTIGATING,
            words=script_for(center.house, incident, Phase.INVESTIGATING),
            next_update_by=now + timedelta(minutes=30),
            confirmed=frozenset(),
            component_status={},
            seen_version=None,
        )
        publish_update(
            session, house=center.house, incident_id=incident.id, publication=publication, by=LEAD, now=now
        )


@contextmanager
def _statements(engine: Engine) -> Iterator[list[str]]:
    """The SQL that is executed meanwhile, without its values."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


def _enrol(center: Center, people: int) -> None:
    now = datetime.now(UTC)
    rows = [
        {
            "channel": Channel.EMAIL,
            "email": f"reader{number}@example.com",
            "email_key": f"reader{number}@example.com",
            "language": "en",
            "zone": "Europe/Berlin",
            "state": SubscriberState.CONFIRMED,
            "source": "import",
            "created_at": now,
            "updated_at": now,
        }
        for number in range(people)
    ]
    with center.database.transaction() as session:
        session.execute(insert(Subscriber), rows)
