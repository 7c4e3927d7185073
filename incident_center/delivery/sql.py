"""What the two databases spell differently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar, cast
from zlib import crc32

from sqlalchemy import ClauseElement, CursorResult, Dialect, Executable, Select, func, insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.orm import Session

from incident_center.db import Base, exchange_of
from incident_center.drivers import drivers_errors
from incident_center.exchange import Answer, Statement, value

Query = TypeVar("Query", bound=Select[*tuple[Any, ...]])
# PostgreSQL, for one transaction: a worker that is frozen in the middle of it must not hold its locks for ever.
FROZEN_LETS_GO = func.set_config("idle_in_transaction_session_timeout", "10s", True)
_POSTGRES: Dialect = PGDialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]  # libpq's own: $1, $2, …
_SQLITE = sqlite.dialect(paramstyle="named")
# Not the database's opinion of a statement: a standby that is not promoted yet, a transaction that slept for too long;
# a plan that a migration has outdated, a name that is not prepared or is already. A new connection has none of these.
_NOT_NOW = {"25006", "25P03", "25P04", "0A000", "26000", "42P05"}


def is_away(error: DBAPIError) -> bool:
    """Whether the same statement may well be taken later; what the database refuses, it would refuse for ever."""
    return (
        isinstance(error, OperationalError | InterfaceError)
        or getattr(error.orig, "sqlstate", None) in _NOT_NOW
    )


def is_postgres(session: Session) -> bool:
    return session.get_bind().dialect.name == "postgresql"


def insert_ignoring(session: Session, table: type[Base], rows: Sequence[dict[str, Any]]) -> int:
    """INSERT of rows whose unique key may be there already; those are left as they are.

    Answers how many were new (a driver may answer -1 for several rows at once).
    """
    if not rows:
        return 0
    statement: Any = (
        postgresql.insert(table) if is_postgres(session) else sqlite.insert(table)
    ).on_conflict_do_nothing()
    # A Core statement with a list: an executemany, not one statement per row.
    # SQLAlchemy throws an INSERT's row count away unless it is asked to keep it.
    counting = statement.execution_options(preserve_rowcount=True)
    if len(rows) == 1:
        return session.connection().execute(counting.inline(), rows[0]).rowcount
    return session.connection().execute(counting, list(rows)).rowcount


def insert_all(session: Session, table: type[Base], rows: Sequence[dict[str, Any]]) -> None:
    """INSERT of many rows as one executemany: 9 µs a row on SQLite, 20 µs on PostgreSQL, no ORM objects."""
    if rows:
        session.connection().execute(insert(table), list(rows))


def changed(session: Session, statement: Executable) -> int:
    """Runs an UPDATE and answers how many rows it changed: how claims learn who won."""
    return cast("CursorResult[Any]", session.connection().execute(statement)).rowcount


def skip_locked(session: Session, query: Query, *, of: Any = None) -> Query:
    """Rows that nobody else is claiming. SQLite has one writer at a time and needs no such thing."""
    return query.with_for_update(skip_locked=True, of=of) if is_postgres(session) else query


def share_locked(session: Session, query: Query) -> Query:
    """Rows that must not change until this transaction ends; others may read and share them."""
    return query.with_for_update(read=True) if is_postgres(session) else query


class ForDriver:
    """A statement as the drivers take it. Written out once: to have it done for each wave costs more than to run it.

    Its values go in and its columns come back as the driver has them, so they must be plain ones: numbers, texts,
    truths, times by `plain_time`.
    """

    def __init__(
        self, statement: ClauseElement, *names: str, on_postgres: ClauseElement | None = None
    ) -> None:
        """`names` are those whose values come with each execution; `on_postgres` is for what is spelled differently."""
        self._sqlite = _WrittenOut(statement, _SQLITE, names)
        self._postgres = _WrittenOut(statement if on_postgres is None else on_postgres, _POSTGRES, names)
        text = self._postgres.text.encode()
        self._named = Statement(b"incident_center_%x" % crc32(text), text)

    def on_sqlite(self, values: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """The statement, and its values with those that are always the same."""
        return self._sqlite.text, {**self._sqlite.constants, **values}

    def on_postgres(self, values: Mapping[str, Any]) -> tuple[Statement, list[bytes | None]]:
        """The same with its values in their order."""
        every = {**self._postgres.constants, **values}
        return self._named, [value(every[name]) for name in self._postgres.order]


Asked = tuple[ForDriver, Mapping[str, Any]]  # with the values for its names


class _WrittenOut:
    def __init__(self, statement: ClauseElement, dialect: Dialect, names: Sequence[str]) -> None:
        # Lists among the constants are written out with it; for that it wants a value for every name.
        compiled: Any = statement.compile(dialect=dialect)
        written = compiled.construct_expanded_state(dict.fromkeys(names))
        self.text: str = written.statement
        self.order: Sequence[str] = written.positiontup or ()
        self.constants = {
            name: constant.value if isinstance(constant, Enum) else constant
            for name, constant in written.parameters.items()
            if name not in names
        }
        # The driver would store others in its own way, and compare them with what SQLAlchemy has stored in another.
        odd = [
            name for name, constant in self.constants.items() if not isinstance(constant, str | int | None)
        ]
        if odd:
            raise TypeError(f"not plain values: {odd}")


def in_one_exchange(session: Session, *asked: Asked) -> list[list[Any]]:
    """The rows of each of these queries, run one after the other. PostgreSQL gets them together: one round trip for
    all, and each sees what was committed until its own beginning."""
    if is_postgres(session):
        return [answer.rows for answer in _asked(session, asked)]
    driver: Any = session.connection().connection.driver_connection
    with drivers_errors(driver, "SELECT"):
        return [driver.execute(*query.on_sqlite(values)).fetchall() for query, values in asked]


def changed_by_driver(session: Session, statement: ForDriver, values: Mapping[str, Any]) -> int:
    """`changed` for what runs with every wave."""
    if is_postgres(session):
        return _asked(session, [(statement, values)])[0].changed
    driver: Any = session.connection().connection.driver_connection
    with drivers_errors(driver, "UPDATE"):
        return int(driver.execute(*statement.on_sqlite(values)).rowcount)


def _asked(session: Session, asked: Sequence[Asked]) -> list[Answer]:
    exchange, statements = exchange_of(session), [query.on_postgres(values) for query, values in asked]
    with drivers_errors(exchange.driver, "; ".join(statement.text.decode() for statement, _ in statements)):
        return exchange.ask(*statements)


class AlreadyThere(Exception):
    """One of the rows has a key that is there: nothing was inserted, and the transaction must be rolled back."""


def insert_fast(
    session: Session, table: str, columns: Sequence[str], rows: Sequence[tuple[int | str | bool | None, ...]]
) -> None:
    """INSERT of many plain values by the driver itself: 2 µs a row on SQLite, COPY on PostgreSQL.

    COPY writes all rows of a page as one record of the log: 60 bytes a row less than INSERT. Raises
    AlreadyThere. Texts must be without tabs, line breaks and backslashes (COPY's own signs); see copy_text.
    """
    if not rows:
        return
    if is_postgres(session):
        _copy(session, table, columns, rows)
        return
    marks = ",".join("?" * len(columns))
    statement = f"INSERT INTO {table} ({','.join(columns)}) VALUES ({marks})"  # noqa: S608 (names of ours)
    try:
        session.connection().exec_driver_sql(statement, list(rows))
    except IntegrityError as error:
        raise AlreadyThere from error


def _copy(session: Session, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    text = "".join(["\t".join(["\\N" if v is None else str(v) for v in row]) + "\n" for row in rows])
    exchange = exchange_of(session)
    try:
        with drivers_errors(exchange.driver, "COPY"):
            exchange.copy(f"COPY {table} ({','.join(columns)}) FROM STDIN", text)
    except IntegrityError as error:
        raise AlreadyThere from error


def plain_time(session: Session, at: datetime) -> str:
    """An aware UTC time as what goes past SQLAlchemy takes it: as db.UtcDateTime stores it."""
    text = at.replace(tzinfo=None).isoformat(" ", "microseconds")
    return f"{text}+00" if is_postgres(session) else text


def copy_text(text: str | None) -> str | None:
    """A provider's own text, fit for `insert_fast`: what could end a value or a row is left out."""
    if text is None or text.isalnum():
        return text
    return text.translate(_COPY_SIGNS)


_COPY_SIGNS = dict.fromkeys(map(ord, "\t\r\n\\\0"))
