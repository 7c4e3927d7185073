"""The database's schema: where it stands and how it gets to where this version wants it.

Plain Alembic on the flat folder `migrations/`, not Flask-Alembic: workers and the command line upgrade and check
a database without building a web application, and Flask-Alembic's context lives in one. What `env.py` and
`alembic.ini` would say is said here. The history is one straight line (a test holds that).
"""

from pathlib import Path

from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, text

from incident_center.db import Database

_UPGRADE_LOCK = 0x696E6369  # PostgreSQL names advisory locks by a number; this one spells "inci"


class SchemaError(RuntimeError):
    """The database cannot be brought to this version's schema; the message says what to do."""


def scripts(migrations_dir: Path) -> ScriptDirectory:
    return ScriptDirectory(migrations_dir, version_locations=[migrations_dir])


def latest(migrations_dir: Path) -> str | None:
    """The revision that this version of the product wants."""
    return scripts(migrations_dir).get_current_head()


def current(database: Database) -> str | None:
    """The revision that the database is at; None when it has never been upgraded."""
    with database.reading() as session:
        return MigrationContext.configure(session.connection()).get_current_revision()


def pending(database: Database, migrations_dir: Path) -> bool:
    """Whether `upgrade` has something to do. SchemaError when a newer version has been at this database."""
    return bool(_missing(current(database), migrations_dir))


def upgrade(database: Database, migrations_dir: Path) -> list[str]:
    """Runs the missing migrations in one transaction; returns their revisions, none when up to date.

    Any number of processes may call it at once: one works, the others wait and find nothing left to do.
    """
    with database.engine.begin() as connection:
        _exclude_others(connection, database)
        context = MigrationContext.configure(connection)
        missing = _missing(context.get_current_revision(), migrations_dir)
        with Operations.context(context):
            for script in missing:
                script.module.upgrade()
                context.stamp(scripts(migrations_dir), script.revision)
    return [script.revision for script in missing]


def _exclude_others(connection: Connection, database: Database) -> None:
    """SQLite's writing transactions begin IMMEDIATE and exclude each other already."""
    if not database.is_sqlite:
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _UPGRADE_LOCK})


def _missing(revision: str | None, migrations_dir: Path) -> list[Script]:
    """The migrations above this revision, oldest first."""
    directory = scripts(migrations_dir)
    line = [script.revision for script in directory.walk_revisions()]
    if revision is not None and revision not in line:
        raise SchemaError(
            f"the database is at revision {revision}, which this version does not know: a newer version has"
            " upgraded it. Install that version, or restore the backup from before its upgrade"
        )
    return list(reversed(list(directory.iterate_revisions("head", revision or "base"))))
