"""Workers on several hosts, woken by a real broker: everybody once, and promises are kept."""

from datetime import timedelta

import pytest

from incident_center import clock
from incident_center.center import Center
from incident_center.spread.broker import Broker
from incident_center.spread.wake import Waker
from tests.broker.hosts import Hosts, everybody_once, holding_update, promised, publish, readers, settled
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
    everybody_once(center, update_id, smtp.recipients(update_id))

    holding = _a_promise_that_runs_out(center)
    wait_until(lambda: settled(center, holding), "the holding update is not sent", seconds=30)
    everybody_once(center, holding, smtp.recipients(holding))
    assert host.end() == 0


def _a_promise_that_runs_out(center: Center) -> int:
    """Publishes with a promise that is due soon and waits for the holding update; answers its id."""
    due = clock.now() + timedelta(seconds=2)
    incident_id = promised(center, due=due)
    wait_until(
        lambda: holding_update(center, incident_id) is not None, "nobody keeps the promise", seconds=20
    )
    held = holding_update(center, incident_id)
    assert held is not None
    assert timedelta(0) <= held.published_at - due < timedelta(seconds=60)
    return held.id
