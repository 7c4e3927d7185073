"""The brokers of the tests, and what is done to the messages in them."""

from __future__ import annotations

import os
import shutil
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

RABBITMQ = (
    "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "rabbitmq-server",
)  # Debian's own in PATH insists on root


class Server:
    """A server of the tests' own that keeps nothing: killed, it has lost everything."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        self._process = self._begin()
        for _ in range(600):
            if _answers(self.port):
                return
            time.sleep(0.05)
        raise TimeoutError(f"{type(self).__name__} does not start")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _begin(self) -> subprocess.Popen[bytes]:
        raise NotImplementedError


class OwnRedis(Server):
    def _begin(self) -> subprocess.Popen[bytes]:
        words = f"redis-server --port {self.port} --bind 127.0.0.1 --appendonly no --save"
        return subprocess.Popen([*words.split(), ""], cwd=self._folder, stdout=subprocess.DEVNULL)


class OwnRabbit(Server):
    """A RabbitMQ node without plugins, with a port mapper (epmd) of its own. It takes some seconds to start."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._mapper_port = _free_port()
        self._begun = 0

    def __enter__(self) -> Self:
        words = ["epmd", "-port", str(self._mapper_port), "-address", "127.0.0.1"]
        self._mapper = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._mapper.kill()
        self._mapper.wait(10)

    def _begin(self) -> subprocess.Popen[bytes]:
        self._begun += 1
        home = self._folder / str(self._begun)
        home.mkdir()
        given = {
            "HOME": str(home),  # its cookie
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_ALLOW_INPUT": "yes",  # no shell between us and the node
            "RABBITMQ_NODENAME": "incident-center-tests@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(_free_port()),
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "no-plugins"),
            "RABBITMQ_CONFIG_FILE": str(home / "no-settings"),
            "RABBITMQ_CONF_ENV_FILE": str(home / "no-environment"),
        }
        command = rabbitmq_server()
        assert command is not None
        return subprocess.Popen(
            [command, "-noinput"],
            cwd=home,
            env=os.environ | given,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def rabbitmq_server() -> str | None:
    return next((found for found in map(shutil.which, RABBITMQ) if found), None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@dataclass
class Brokers:
    """One broker behind a proxy."""

    kind: str
    url: str
    proxy: Proxy
    server: Server

    def go_down(self) -> None:
        """Nobody reaches it; it keeps what it holds."""
        self.proxy.cut(stay_away=True)

    def crash(self) -> None:
        """It is killed, and has lost everything."""
        self.server.kill()
        self.go_down()

    def come_back(self) -> None:
        if not self.server.is_running:
            self.server.start()
        self.proxy.open()


def connected(settings: Settings) -> Connection:
    return Connection(settings.broker_url, transport_options=transport_options(settings), heartbeat=0)


def purge(settings: Settings, connection: Connection) -> int:
    """Throws away every message that waits; answers how many."""
    channel = connection.default_channel
    return sum(int(kombu_queue(settings, name)(channel).purge()) for name in QUEUES)
