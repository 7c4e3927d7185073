"""Workers on several hosts, woken by a real broker: everybody once, and promises are kept."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from incident_center import clock
from incident_center.center import Center
from incident_center.models import Promise, Update
from incident_center.spread.broker import Broker
from incident_center.spread.wake import Waker
from incident_center.states import PromiseState, UpdateKind
from tests.broker.hosts import Hosts, everybody_once, publish, readers, settled
from tests.incidents.scenes import declared, published
from tests.storms.smtpd import MailServer
from tests.storms.storm import wait_until

pytestmark = pytest.mark.broker
PEOPLE = 600


def test_a_host_writes_to_everybody_once_and_keeps_a_promise(
    center: Center, hosts: Hosts, smtp: MailServer
) -> None:
    host = hosts.start("worker", "--processes", "2", workers=3)
    readers(center.database, PEOPLE)
    waker = Waker(Broker(center.settings))
    center.database.committed = waker.wake
    update_id = publish(center)
    wait_until(lambda: settled(center, update_id), "the fan-out does not end", seconds=30)
    waker.end()
    everybody_once(center, update_id, smtp.copies(update_id))

    holding = _a_promise_that_runs_out(center)
    wait_until(lambda: settled(center, holding), "the holding update is not sent", seconds=30)
    copies = smtp.copies(holding)
    everybody_once(center, holding, copies)
    assert host.end() == 0


def _a_promise_that_runs_out(center: Center) -> int:
    """Publishes with a promise, brings its time near, and waits for the holding update; answers its id."""
    with center.database.transaction() as session:
        now = clock.now()
        incident = declared(session, center.house, now=now)
        published(session, center.house, incident, now=now)
        due = now + timedelta(seconds=2)
        session.execute(
            update(Promise)
            .where(Promise.incident_id == incident.id, Promise.state == PromiseState.OPEN)
            .values(due_at=due)
        )
    query = select(Update.id, Update.published_at).where(
        Update.incident_id == incident.id, Update.kind == UpdateKind.HOLDING
    )

    def held() -> bool:
        with center.database.reading() as session:
            return session.execute(query).first() is not None

    wait_until(held, "nobody keeps the promise", seconds=20)
    with center.database.reading() as session:
        row = session.execute(query).one()
    assert timedelta(0) <= row.published_at - due < timedelta(seconds=60)
    return int(row.id)
