"""What is wired once for a process: settings, database, house."""

from dataclasses import dataclass

from sqlalchemy.exc import ArgumentError

from incident_center.config import PREFIX, Settings, SettingsError
from incident_center.db import Database
from incident_center.house import House, build_house


@dataclass(frozen=True)
class Center:
    settings: Settings
    database: Database
    house: House


def build_center(settings: Settings) -> Center:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    return Center(settings=settings, database=_database(settings), house=build_house(settings))


def _database(settings: Settings) -> Database:
    """Raises SettingsError without the library's words: of `user:p@ss:word@host` they repeat a part."""
    try:
        return Database(settings.database_url)
    except (ArgumentError, ValueError):
        problem = "is not an address of a database; in a password write @ as %40, : as %3A and / as %2F"
        raise SettingsError(PREFIX + "DATABASE_URL", problem) from None
