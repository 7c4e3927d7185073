"""A broker that is there and refuses: delivery goes on by looking, and no process dies of it."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from redis import Redis

from incident_center.center import Center
from incident_center.config import Settings
from incident_center.spread.broker import Broker
from incident_center.spread.queues import URGENT
from incident_center.spread.wake import wake_after_commits
from tests.broker.brokers import Brokers
from tests.broker.hosts import Hosts, everybody_once, publish, readers, settled
from tests.storms.smtpd import MailServer
from tests.storms.storm import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]
REFUSALS: dict[str, Callable[[Redis], object]] = {
    "READONLY": lambda redis: redis.replicaof("127.0.0.1", 1),  # as after a failover
    "OOM": lambda redis: redis.config_set("maxmemory", 1),
}


@pytest.fixture
def settings(settings: Settings, broker: Brokers) -> Settings:
    return replace(settings, broker_url=broker.url.replace(":guest@", ":wrong@"))


@pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)
def test_a_broker_that_refuses_the_password(center: Center, hosts: Hosts, smtp: MailServer) -> None:
    _everybody_is_written_to(center, hosts, smtp, lambda: None)


@pytest.mark.parametrize("said", REFUSALS)
@pytest.mark.parametrize("broker", ["redis"], indirect=True)
def test_a_redis_that_takes_nothing(
    center: Center, hosts: Hosts, smtp: MailServer, broker: Brokers, said: str
) -> None:
    with Redis(port=broker.server.port) as redis:
        _everybody_is_written_to(center, hosts, smtp, partial(REFUSALS[said], redis))


@pytest.mark.storm
@pytest.mark.parametrize("broker", ["redis"], indirect=True)
def test_a_broker_that_takes_again_is_found_after_a_minute(
    center: Center, hosts: Hosts, broker: Brokers
) -> None:
    with Redis(port=broker.server.port) as redis:
        REFUSALS["READONLY"](redis)
        host = hosts.start()
        wait_until(lambda: host.said("celery") >= 2, "nobody is refused", seconds=20)
        redis.replicaof("NO", "ONE")
    hosts.expected.add("worker_died")
    wait_until(lambda: host.said("worker_started") == 4, "nobody is replaced", seconds=90, every=0.5)
    sender = Broker(center.settings)
    sender.wake("check")
    wait_until(lambda: sender.waiting()[URGENT] == 0, "nobody takes it", seconds=5, every=0.1)
    sender.close()
    assert host.said("worker_died") == 2
    assert host.end() == 0


def _everybody_is_written_to(
    center: Center, hosts: Hosts, smtp: MailServer, refuse: Callable[[], object]
) -> None:
    early = hosts.start()
    refuse()
    late = hosts.start()
    readers(center.database, 60)
    waker = wake_after_commits(center)
    update_id = publish(center)
    wait_until(lambda: settled(center, update_id), "nobody looks", seconds=30)
    waker.end()
    assert [host.said("worker_died") for host in (early, late)] == [0, 0]
    assert [host.end() for host in (early, late)] == [0, 0]
    everybody_once(center, update_id, smtp.recipients(update_id))
