"""The brokers of the tests, and what is done to the messages in them."""

from __future__ import annotations

import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from kombu import Connection

from incident_center.config import Settings
from incident_center.spread.queues import QUEUES, kombu_queue, transport_options
from tests.broker.proxy import Proxy

RABBITMQ = ("127.0.0.1", 5672)


class OwnRedis:
    """A redis-server that keeps nothing on disk: ended, it has lost everything."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    def start(self) -> None:
        words = [
            "redis-server",
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        self._process = subprocess.Popen(words, cwd=self._folder, stdout=subprocess.DEVNULL)
        for _ in range(500):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise TimeoutError("redis-server does not start")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


@dataclass
class Brokers:
    """One broker. `redis` is the test's own process; RabbitMQ is shared with others and only cut off."""

    kind: str
    url: str
    proxy: Proxy
    redis: OwnRedis | None

    def go_down(self) -> None:
        self.proxy.cut(stay_away=True)
        if self.redis is not None:
            self.redis.kill()

    def come_back(self) -> None:
        if self.redis is not None:
            self.redis.start()
        self.proxy.open()


def connected(settings: Settings) -> Connection:
    return Connection(settings.broker_url, transport_options=transport_options(settings), heartbeat=0)


def purge(settings: Settings, connection: Connection) -> int:
    """Throws away every message that waits; answers how many."""
    channel = connection.default_channel
    return sum(int(kombu_queue(settings, name)(channel).purge()) for name in QUEUES)


def forget_queues(settings: Settings) -> None:
    with connected(settings) as connection:
        for name in QUEUES:
            kombu_queue(settings, name)(connection.default_channel).delete()
