"""What the two ways of sending share: bulk goes by chunks, rows by the batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from incident_center.db import Database
from incident_center.delivery.dispatch import Dispatch
from incident_center.delivery.health import Health
from incident_center.delivery.leases import LeaseKeeper
from incident_center.delivery.mailer import Mailer
from incident_center.house import House


@dataclass(frozen=True)
class Means:
    """One lane's, for its own thread. `owner` is the worker's name on leases, `clock` answers aware UTC."""

    database: Database
    house: House
    owner: str
    clock: Callable[[], datetime]
    dispatch: Dispatch
    mailer: Mailer
    health: Health
    keeper: LeaseKeeper
