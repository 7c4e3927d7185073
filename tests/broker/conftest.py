"""An installation on PostgreSQL with a broker: a Redis of the test's own, or the RabbitMQ node of the tests."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from incident_center.center import Center
from incident_center.config import Settings
from incident_center.db import Database
from incident_center.house import House
from tests.broker.brokers import Brokers, OwnRabbit, OwnRedis, rabbitmq_server
from tests.broker.hosts import Hosts, stamp
from tests.broker.proxy import Proxy, proxied
from tests.storms.conftest import pytest_terminal_summary, tell
from tests.storms.smtpd import MailServer, mail_server

__all__ = ["pytest_terminal_summary", "tell"]


@pytest.fixture
def database_kind() -> str:
    return "postgres"


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRabbit]:
    """It takes seconds to start, so one serves all tests; each installation has queues of its own."""
    if rabbitmq_server() is None:
        pytest.skip("there is no rabbitmq-server; install it: apt-get install rabbitmq-server")
    with OwnRabbit(tmp_path_factory.mktemp("rabbit")) as node:
        yield node


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Brokers]:
    if request.param == "redis":
        if shutil.which("redis-server") is None:
            pytest.skip("there is no redis-server; install it: apt-get install redis-server")
        with OwnRedis(tmp_path) as redis, proxied(redis.port) as proxy:
            yield Brokers("redis", f"redis://127.0.0.1:{proxy.port}/0", proxy, redis)
        return
    rabbit: OwnRabbit = request.getfixturevalue("rabbit")
    if not rabbit.is_running:  # a test has failed between
        rabbit.start()
    with proxied(rabbit.port) as proxy:
        yield Brokers("rabbitmq", f"amqp://guest:guest@127.0.0.1:{proxy.port}//", proxy, rabbit)


@pytest.fixture
def smtp() -> Iterator[MailServer]:
    with mail_server() as server:
        yield server


@pytest.fixture
def settings(settings: Settings, broker: Brokers, smtp: MailServer) -> Settings:
    return replace(settings, broker_url=broker.url, email_urls=(smtp.url,), testing=False)


@pytest.fixture
def center(settings: Settings, database: Database, house: House) -> Center:
    url = database.url.render_as_string(hide_password=False)
    here = replace(settings, database_url=url)
    stamp(database, here)
    return Center(settings=here, database=database, house=replace(house, settings=here))


@pytest.fixture
def hosts(center: Center, tmp_path: Path) -> Iterator[Hosts]:
    running = Hosts(center, tmp_path)
    yield running
    running.close()


@pytest.fixture
def proxy(broker: Brokers) -> Proxy:
    return broker.proxy
