"""Queues, the names of the tasks, and the Celery application: what the senders and the woken must agree on."""

from __future__ import annotations

import hashlib
from typing import Any

from celery import Celery
from kombu import Exchange, Queue

from incident_center.config import Settings
from incident_center.states import Channel

URGENT = "urgent"  # promises, single messages, cutting, receipts, checks; bulk has queues of its own
QUEUES = (URGENT, *(channel.value for channel in Channel))
URGENT_TASKS = ("keep", "singles", "expand", "receipts", "check")
DELIVER = "deliver"
PREFIX = "incident_center."
TTL_SECONDS = 10  # a wake-up that nobody has heard by then has been followed by others
UNUSED_SECONDS = 24 * 3600  # RabbitMQ forgets the queues of an installation that is gone
CONNECT_SECONDS = 2
ANSWER_SECONDS = 5


def queue_of(task: str, channel: Channel | None = None) -> str:
    return channel.value if task == DELIVER and channel is not None else URGENT


def queue_name(settings: Settings, queue: str) -> str:
    """Installations may share a broker: each has names of its own, made from what all its processes know."""
    key = hashlib.blake2s(settings.secret_key.encode(), digest_size=32).digest()
    place = f"{settings.public_url} {settings.database_url}".encode()
    mark = hashlib.blake2s(place, key=key, digest_size=6).hexdigest()
    return f"incident-center.{mark}.{queue}"


def kombu_queue(settings: Settings, queue: str) -> Queue:
    return Queue(
        queue_name(settings, queue),
        exchange=Exchange(""),
        routing_key=queue_name(settings, queue),
        durable=True,
        message_ttl=TTL_SECONDS,
        expires=UNUSED_SECONDS,
    )


def celery_app(settings: Settings) -> Celery:
    """Nothing is stored and nothing is waited for: no results, no events, no remote control, JSON alone."""
    app = Celery("incident_center", broker=settings.broker_url, set_as_current=False)
    app.conf.update(
        task_queues=[kombu_queue(settings, queue) for queue in QUEUES],
        task_default_queue=queue_name(settings, URGENT),
        task_default_exchange="",
        task_create_missing_queues=False,
        task_default_delivery_mode="transient",
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        result_backend=None,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_enable_prefetch_count_reduction=False,
        worker_detect_quorum_queues=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=CONNECT_SECONDS,
        broker_heartbeat=10,
        broker_transport_options=transport_options(settings),
    )
    return app


def transport_options(settings: Settings, *, quick: bool = False) -> dict[str, Any]:
    """How the broker is spoken to; `quick` for those who send and must not wait for it."""
    if str(settings.broker_url).startswith("amqp"):
        # A message that RabbitMQ has not confirmed is not in the queue yet, and the next count would miss it.
        confirmed = {"confirm_publish": True}
        timely = {"max_retries": 0, "read_timeout": ANSWER_SECONDS, "write_timeout": ANSWER_SECONDS}
        return confirmed | timely if quick else confirmed
    options: dict[str, Any] = {
        "visibility_timeout": 60,  # tasks last seconds; what a lost process had taken is told again after this
        "socket_connect_timeout": CONNECT_SECONDS,
        "health_check_interval": 10,
        "global_keyprefix": queue_name(settings, "keys."),
    }
    return options | ({"max_retries": 0, "socket_timeout": ANSWER_SECONDS} if quick else {})
