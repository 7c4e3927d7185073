"""The tests' own means: a database that another test has used must be as good as a new one."""

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from incident_center.db import Database
from incident_center.models import Subscriber
from tests.builders import a_subscriber
from tests.support.databases import Templates


def used(templates: Templates, folder: Path, *, also: str = "SELECT 1") -> tuple[str, int, int]:
    """URL of a database, how many readers it had, and the number that a new one got."""
    with templates.url("postgres", folder) as url:
        database = Database(url)
        with database.transaction() as session:
            found = session.query(Subscriber).count()
            number = a_subscriber(session).id
            session.execute(text(also))
        database.dispose()
    return url, found, number


def test_a_used_database_is_empty_and_counts_from_the_start(templates: Templates, tmp_path: Path) -> None:
    first, second = used(templates, tmp_path), used(templates, tmp_path)
    assert first[1:] == second[1:] == (0, 1)


def test_who_still_knows_a_used_database_does_not_find_it(templates: Templates, tmp_path: Path) -> None:
    url, _, _ = used(templates, tmp_path)
    left_behind = Database(url)
    with pytest.raises(OperationalError), left_behind.reading() as session:
        session.execute(text("SELECT 1"))
    left_behind.dispose()


@pytest.mark.parametrize(
    "alters",
    [
        "CREATE TABLE notes (words TEXT)",
        "ALTER TABLE subscribers ADD COLUMN shoe_size INTEGER",
        "ANALYZE",
        "CREATE FUNCTION one() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    ],
)
def test_a_database_in_which_more_than_rows_has_changed_is_not_used_again(
    templates: Templates, tmp_path: Path, alters: str
) -> None:
    used(templates, tmp_path, also=alters)
    with templates.url("postgres", tmp_path) as url:
        database = Database(url)
        with database.reading() as session:
            tables = session.scalars(text("SELECT tablename FROM pg_tables WHERE tablename = 'notes'")).all()
            columns = session.scalars(
                text("SELECT attname FROM pg_attribute WHERE attname = 'shoe_size'")
            ).all()
            functions = session.scalars(text("SELECT proname FROM pg_proc WHERE proname = 'one'")).all()
            taken = session.scalar(text("SELECT count(*) FROM pg_statistic WHERE starelid >= 16384"))
        database.dispose()
    assert (tables, columns, functions, taken) == ([], [], [], 0)
