"""How either database is connected to, and what its driver raises.

SQLite: several processes write to one file. pysqlite's own transactions delivered rows up to 11 times and a
deferred BEGIN failed with "database is locked" in 90 % of writing transactions; BEGIN IMMEDIATE did neither
(measured, docs/decisions/0002-sqlite-transactions.md). So writing transactions begin IMMEDIATE and reading ones
deferred.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError

READING = "incident_center_reading"  # the execution option of connections that write nothing
BUSY_SECONDS = 20
# PostgreSQL's host may go without a word: its power, a firewall, a cut cable. libpq would wait 130 seconds for a
# connection, and the system a quarter of an hour for an answer on one that it has. The URL may say otherwise.
PATIENCE = {
    "connect_timeout": 10,  # seconds
    "tcp_user_timeout": 30_000,  # milliseconds for which what was sent may stay unacknowledged
    "keepalives_idle": 30,  # seconds of silence after which the host is asked whether it is there
    "keepalives_interval": 10,
    "keepalives_count": 3,
}


def new_engine(url: str, *, echo: bool = False) -> Engine:
    """Errors name no parameters: those are customers' addresses, and a traceback ends up in a log."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        patience = {name: value for name, value in PATIENCE.items() if name not in parsed.query}
        return create_engine(
            parsed,
            echo=echo,
            hide_parameters=True,
            pool_pre_ping=True,
            pool_size=10,
            max_overflow=10,
            connect_args=patience,
        )
    engine = create_engine(parsed, echo=echo, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    _use_wal(connection)
    for pragma in ("synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Of several processes that open a new file at once one changes its mode; SQLite may refuse the others at once."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    begin = "BEGIN" if connection.get_execution_options().get(READING) else "BEGIN IMMEDIATE"
    driver: Any = connection.connection.driver_connection
    # As a statement of SQLAlchemy's it would be a twentieth of a wave of e-mails.
    with drivers_errors(driver, begin):
        driver.execute(begin)


@contextmanager
def drivers_errors(driver: Any, statement: str) -> Iterator[None]:
    """What the driver raises when it is called directly, as SQLAlchemy's callers know it; without the values."""
    try:
        yield
    except driver.Error as error:
        known = DBAPIError.instance(statement, None, error, driver.Error, hide_parameters=True)
        raise cast("DBAPIError", known) from error
