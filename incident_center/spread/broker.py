"""Sends wake-ups, never more than make sense, and never insists: a broker that is away is somebody else's trouble."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu import Connection, Producer
from kombu.exceptions import KombuError

from incident_center.config import Settings
from incident_center.spread.queues import (
    CONNECT_SECONDS,
    DELIVER,
    PREFIX,
    QUEUES,
    TTL_SECONDS,
    celery_app,
    kombu_queue,
    queue_of,
    transport_options,
)
from incident_center.states import Channel

MOST_WAITING = 20  # wake-ups in the urgent queue; more say nothing new


class BrokerAway(Exception):
    """The broker did not take it. Nothing is lost: the ledger knows what is to be done."""


class Broker:
    """One process's way to the broker. The connection is kept; it is made anew after trouble. Not for several
    threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._app = celery_app(settings)
        self._connection: Connection | None = None
        self._producer: Producer | None = None

    def wake(
        self, task: str, channel: Channel | None = None, *, number: int = 1, most: int = MOST_WAITING
    ) -> int:
        """Up to `number` wake-ups, while fewer than `most` wait in their queue. Raises BrokerAway."""
        queue = kombu_queue(self._settings, queue_of(task, channel))
        with self._reaching() as producer:
            waiting: int = queue(producer.channel).queue_declare().message_count
            sent = max(0, min(number, most - waiting))
            for _ in range(sent):
                self._app.send_task(
                    PREFIX + task,
                    args=[channel.value] if channel is not None and task == DELIVER else [],
                    queue=queue,
                    expires=TTL_SECONDS,
                    producer=producer,
                    retry=False,
                    ignore_result=True,
                )
        return sent

    def waiting(self) -> dict[str, int]:
        """Wake-ups that wait, by queue. Raises BrokerAway."""
        with self._reaching() as producer:
            return {
                name: int(kombu_queue(self._settings, name)(producer.channel).queue_declare().message_count)
                for name in QUEUES
            }

    def close(self) -> None:
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            connection.collect()  # without a goodbye: a broker that is away would be waited for

    @contextmanager
    def _reaching(self) -> Iterator[Producer]:
        connection = self._connection or self._connect()
        trouble: tuple[type[BaseException], ...] = (
            *connection.connection_errors,
            *connection.channel_errors,
            KombuError,
            OSError,
        )
        try:
            if self._producer is None:
                connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
                self._producer = Producer(connection.channel())
            yield self._producer
        except trouble as error:
            self.close()
            raise BrokerAway(type(error).__name__) from error

    def _connect(self) -> Connection:
        options: dict[str, Any] = transport_options(self._settings, quick=True)
        self._connection = Connection(
            self._settings.broker_url, connect_timeout=CONNECT_SECONDS, transport_options=options, heartbeat=0
        )
        return self._connection
