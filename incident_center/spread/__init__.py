"""Many machines: the worker's own steps as Celery tasks on RabbitMQ or Redis. See docs/many-machines.md.

The ledger says what is to be done; the broker only wakes and spreads. A message that is lost, late or repeated
changes nothing: whoever is not woken looks for himself.
"""

from importlib.util import find_spec

from incident_center.config import PREFIX, SettingsError


def require_celery() -> None:
    """Raises SettingsError when a broker is set and what speaks to it is not installed."""
    if find_spec("celery") is None or find_spec("redis") is None:
        raise SettingsError(PREFIX + "BROKER_URL", "needs Celery: pip install 'incident-center[celery]'")
