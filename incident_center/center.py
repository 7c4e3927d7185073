"""What is wired once for a process: settings, database, house."""

from dataclasses import dataclass

from incident_center.config import Settings
from incident_center.db import Database
from incident_center.house import House, build_house


@dataclass(frozen=True)
class Center:
    settings: Settings
    database: Database
    house: House


def build_center(settings: Settings) -> Center:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    return Center(settings=settings, database=Database(settings.database_url), house=build_house(settings))
