"""The migrations lead to exactly what the models say, on both databases, however many processes run them."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, inspect, select, text

from incident_center import schema
from incident_center.config import Settings
from incident_center.db import Base, Database
from incident_center.models import Attempt, Chunk, Delivery
from incident_center.states import Channel, DeliveryState
from tests.support.new_migration import compare_options, write

UPGRADE = """
import sys
from pathlib import Path
from incident_center.db import Database
from incident_center.schema import upgrade
sys.stdout.write("ready\\n")
sys.stdout.flush()
sys.stdin.readline()
sys.stdout.write(" ".join(upgrade(Database(sys.argv[1]), Path(sys.argv[2]))) or "nothing")
"""

BEFORE_0002 = (
    """INSERT INTO deliveries (id, update_id, incident_id, subscriber_id, channel, state, attempts, fence,
    possibly_twice, provider, provider_ref, not_before, created_at, at)
    VALUES (7, 3, 2, 5, 'email', 'retry', 2, 4, FALSE, 'email 1 smtp', 'Q1', :at, :at, :at)""",
    "INSERT INTO attempts (id, delivery_id, number, at, state) VALUES (1, 7, 1, :at, 'retry')",
    """INSERT INTO chunks (id, fanout_id, update_id, incident_id, channel, first_id, last_id, size, state, fence,
    batch, batch_at, "left") VALUES (1, 1, 3, 2, 'email', 1, 900, 3, 'open', 1, '[700, 701, 709]', :at, 0)""",
)


def test_the_migrations_lead_to_what_the_models_say(empty_database: Database, settings: Settings) -> None:
    schema.upgrade(empty_database, settings.migrations_dir)
    with empty_database.reading() as session:
        context = MigrationContext.configure(session.connection(), opts=compare_options())
        differences = compare_metadata(context, Base.metadata)
    assert not differences, 'the models have changed: make migration m="why"'


def test_migrated_and_modelled_databases_are_the_same_in_every_detail(
    empty_database: Database, database_kind: str, settings: Settings, templates: Any, tmp_path: Path
) -> None:
    """Alembic's comparison overlooks the conditions of partial indexes and what foreign keys cascade."""
    schema.upgrade(empty_database, settings.migrations_dir)
    with templates.url(database_kind, tmp_path) as url:
        modelled = Database(url)
        with modelled.reading() as theirs, empty_database.reading() as ours:
            expected, found = _details(theirs.connection()), _details(ours.connection())
        modelled.dispose()
    assert found == expected


def test_upgrading_twice_is_harmless(empty_database: Database, settings: Settings) -> None:
    done = schema.upgrade(empty_database, settings.migrations_dir)
    assert done[-1] == schema.latest(settings.migrations_dir)
    assert schema.upgrade(empty_database, settings.migrations_dir) == []
    assert schema.current(empty_database) == done[-1]


def test_a_fresh_database_is_pending_until_it_is_upgraded(
    empty_database: Database, settings: Settings
) -> None:
    assert schema.current(empty_database) is None
    assert schema.pending(empty_database, settings.migrations_dir)
    schema.upgrade(empty_database, settings.migrations_dir)
    assert not schema.pending(empty_database, settings.migrations_dir)


def test_processes_that_start_at_once_upgrade_once(empty_database: Database, settings: Settings) -> None:
    url = empty_database.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", UPGRADE, url, str(settings.migrations_dir)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    for process in processes:
        assert process.stdout
        process.stdout.readline()
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    everything = " ".join(
        reversed([s.revision for s in schema.scripts(settings.migrations_dir).walk_revisions()])
    )
    assert sorted(answers) == sorted([everything, "nothing", "nothing"])


def test_a_failing_migration_leaves_nothing_behind(
    empty_database: Database, settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001_breaks.py").write_text(
        'import sqlalchemy as sa\nfrom alembic import op\nrevision = "0001"\ndown_revision = None\n'
        'def upgrade():\n    op.create_table("half", sa.Column("id", sa.Integer))\n    raise ValueError("stop")\n'
    )
    with pytest.raises(ValueError, match="stop"):
        schema.upgrade(empty_database, folder)
    with empty_database.reading() as session:
        assert inspect(session.connection()).get_table_names() == []
    assert schema.current(empty_database) is None


def test_a_database_of_a_newer_version_is_left_alone(empty_database: Database, settings: Settings) -> None:
    schema.upgrade(empty_database, settings.migrations_dir)
    with empty_database.transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for ask in (schema.upgrade, schema.pending):
        with pytest.raises(schema.SchemaError, match=r"9999.*newer version"):
            ask(empty_database, settings.migrations_dir)


def test_the_history_is_one_straight_line(settings: Settings) -> None:
    directory = schema.scripts(settings.migrations_dir)
    assert len(directory.get_heads()) == 1
    assert len(directory.get_bases()) == 1
    files = sorted(path.name for path in settings.migrations_dir.glob("*.py"))
    revisions = [script.revision for script in directory.walk_revisions()]
    assert [name[:4] for name in files] == revisions[::-1]


def test_migrations_import_nothing_of_ours(settings: Settings) -> None:
    for path in settings.migrations_dir.glob("*.py"):
        assert "incident_center" not in path.read_text(encoding="utf-8"), path.name


def test_a_new_migration_is_written_only_when_the_models_say_something_new(
    settings: Settings, tmp_path: Path
) -> None:
    assert write("nothing new", settings.migrations_dir) is None
    first = write("the tables", tmp_path)
    assert first == tmp_path / "0001_the_tables.py"
    assert write("again", tmp_path) is None


def _details(connection: Connection) -> dict[str, Any]:
    """Everything that the database itself knows of each table."""
    inspector = inspect(connection)
    return {
        table: {
            "columns": {
                column.pop("name"): str(column) for column in map(dict, inspector.get_columns(table))
            },
            "primary key": inspector.get_pk_constraint(table),
            "foreign keys": _by_name(inspector.get_foreign_keys(table)),
            "unique": _by_name(inspector.get_unique_constraints(table)),
            "indexes": _by_name(inspector.get_indexes(table)),
            "checks": _by_name(inspector.get_check_constraints(table)),
        }
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }


def _by_name(parts: Any) -> list[str]:
    return sorted(_spelled(part) for part in parts)


def _spelled(part: Any) -> str:
    """As text, with SQL expressions by their words: two expressions never equal each other."""
    if isinstance(part, dict):
        return ", ".join(f"{key}: {_spelled(value)}" for key, value in sorted(part.items()))
    return str(part)


def test_the_lean_ledger_carries_every_row_over(empty_database: Database, settings: Settings) -> None:
    """A database of the version before, with a delivery that waits, its attempt, and a batch on the wire."""
    _upgrade_to(empty_database, settings.migrations_dir, "0001")
    at = "2026-11-01 10:00:00" + ("" if empty_database.is_sqlite else "+00")
    with empty_database.engine.begin() as connection:
        _only_these_rows(connection)
        for statement in BEFORE_0002:
            connection.execute(text(statement), {"at": at})
    schema.upgrade(empty_database, settings.migrations_dir)
    with empty_database.reading() as session:
        delivery = session.get_one(Delivery, (3, 5))
        attempt = session.scalars(select(Attempt)).one()
        chunk = session.scalars(select(Chunk)).one()
    assert (delivery.provider, delivery.provider_ref, delivery.attempts) == ("email 1 smtp", "Q1", 2)
    assert (delivery.since, delivery.apart, delivery.state) == (
        datetime(2026, 11, 1, 10, tzinfo=UTC),
        True,
        DeliveryState.RETRY,
    )
    assert (attempt.update_id, attempt.subscriber_id, attempt.channel) == (3, 5, Channel.EMAIL)
    assert (chunk.batch, chunk.written) == ([700, 701, 709], 0)


def _upgrade_to(database: Database, folder: Path, revision: str) -> None:
    with database.engine.begin() as connection:
        context = MigrationContext.configure(connection)
        with Operations.context(context):
            for script in schema.scripts(folder).walk_revisions(head=revision):
                script.module.upgrade()
                context.stamp(schema.scripts(folder), script.revision)


def _only_these_rows(connection: Connection) -> None:
    """The rows that the test's rows point at do not matter to it."""
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.driver_connection
        driver.rollback()
        driver.execute("PRAGMA foreign_keys=OFF")
        driver.execute("BEGIN IMMEDIATE")
    else:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
