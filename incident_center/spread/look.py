"""What the doctor is told of the broker."""

from __future__ import annotations

from collections.abc import Iterator

from incident_center.config import Settings
from incident_center.spread.broker import MOST_WAITING, Broker, BrokerAway
from incident_center.spread.queues import URGENT


def look(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """(level, what is the matter, what to do), as `doctor.Finding` takes them."""
    broker = Broker(settings)
    try:
        waiting = broker.waiting()
    except BrokerAway as away:
        yield (
            "problem",
            f"The broker does not answer ({away}); workers look for work by themselves, and are slower.",
            "Is it running, and do name, password and place in INCIDENT_CENTER_BROKER_URL fit?",
        )
        return
    finally:
        broker.close()
    told = ", ".join(f"{number} in {queue}" for queue, number in waiting.items())
    if waiting[URGENT] >= MOST_WAITING:
        yield (
            "warning",
            f"The broker answers, and nobody takes the wake-ups: {told}.",
            "Start workers with the same settings: incident-center worker",
        )
    else:
        yield "ok", f"The broker answers; wake-ups that wait: {told}.", ""
