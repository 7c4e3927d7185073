"""Base, column types and the only place that commits."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from sqlalchemy import (
    JSON,
    Connection,
    DateTime,
    Dialect,
    Enum,
    MetaData,
    event,
    make_url,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.types import TypeDecorator

from incident_center.drivers import READING, drivers_errors, new_engine
from incident_center.exchange import Exchange, Meanwhile, wait_for

SKEW_MAX = (
    5.0  # seconds; a worker whose clock is further off the database's sends nothing and keeps no promise
)
KEPT_SECONDS = 2.0  # a connection that was silent for longer is tried before it is used
LOG_MAX = 16 * 1024 * 1024  # bytes of SQLite's write-ahead log from which on it is begun anew
LOG_PATIENCE = 5.0  # seconds for which writers may be kept waiting for it
_EXCHANGE = "incident_center_exchange"

_NAMING = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC in and out on every database; SQLite alone would hand back naive values."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a time without a zone cannot be stored: {value!r}")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 (the base's signature)
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def state_column(kind: type[StrEnum]) -> Enum:
    """A vocabulary of states.py, stored by value as text, so that a new word needs no migration."""
    return Enum(
        kind,
        native_enum=False,
        length=24,
        validate_strings=True,
        values_callable=lambda k: [m.value for m in k],
    )


Json = JSON().with_variant(JSONB(), "postgresql")


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=_NAMING)
    type_annotation_map = {datetime: UtcDateTime()}  # noqa: RUF012 (SQLAlchemy's own declaration style)


class Database:
    """One engine and its sessions. `transaction()` writes and commits; `reading()` never does."""

    def __init__(self, url: str, *, echo: bool = False) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = new_engine(url, echo=echo)
        self._writing = sessionmaker(self.engine, expire_on_commit=False)
        self._reading = sessionmaker(
            self.engine.execution_options(**{READING: True, "postgresql_readonly": True}),
            expire_on_commit=False,
            autoflush=False,
        )
        # Called after each commit: quick, and never raises.
        self.committed: Callable[[], None] = lambda: None

    @contextmanager
    def transaction(self, connection: Connection | None = None) -> Iterator[Session]:
        """A session whose work is committed when the block ends and rolled back when it raises."""
        session = self._writing(bind=connection or self.engine)
        try:
            yield session
            session.commit()
        except BaseException:
            session.rollback()
            raise
        finally:
            session.close()
        self.committed()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that only reads; an attempt to flush a change is an error, not a silent loss."""
        session = self._reading()
        event.listen(session, "before_flush", _refuse_flush)
        try:
            yield session
            self._end_reading(session)
        finally:
            session.close()

    def _end_reading(self, session: Session) -> None:
        """psycopg forgets a connection's prepared statements with each ROLLBACK, which is how a session is closed; the
        worker, which looks for work often, would have its statements planned anew all the time."""
        if not self.is_sqlite and session.in_transaction():
            with suppress(SQLAlchemyError):  # what has been read has been read
                session.connection().exec_driver_sql("END")

    def clock_skew(self, now: datetime) -> float:
        """Seconds by which this machine's clock is ahead of the database's; 0.0 on SQLite (same machine)."""
        if self.is_sqlite:
            return 0.0
        with self.reading() as session:
            theirs: datetime = session.execute(text("SELECT clock_timestamp()")).scalar_one()
        return (now - theirs).total_seconds()

    def takes_writes(self) -> bool:
        """Tries it with a change of a worker's sign of life into itself: False when the disk is full, for one."""
        try:
            with self.engine.begin() as connection:
                connection.execute(text("UPDATE worker_beats SET note = note"))
        except DBAPIError:
            return False
        return True

    def shorten_log(self) -> None:
        """SQLite begins its write-ahead log anew by itself when nobody reads; pages that are read all the time leave
        it no such moment, and the file would grow. Readers go on meanwhile, writers wait for those who read now."""
        if not self.is_sqlite:
            return
        # The next time, then: the file goes with its last connection, and a full disk takes nothing.
        with suppress(OSError, sqlite3.Error):
            if Path(f"{self.url.database}-wal").stat().st_size < LOG_MAX:
                return
            with closing(sqlite3.connect(str(self.url.database), timeout=LOG_PATIENCE)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def dispose(self) -> None:
        self.engine.dispose()


class KeptConnection:
    """One connection for many short transactions in a row: to ask the pool for it each time, which asks the server
    whether it is still there, costs as much as two statements. Not for several threads at once.

    On PostgreSQL its sessions have an Exchange (`exchange_of`), which calls `meanwhile` while the server works.
    """

    def __init__(self, database: Database, meanwhile: Meanwhile = wait_for) -> None:
        self._database, self._meanwhile = database, meanwhile
        self._connection: Connection | None = None
        self._exchange: Exchange | None = None
        self._used = 0.0

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """As Database.transaction. After an error or a pause the next one gets a connection that has been tried."""
        if time.monotonic() - self._used > KEPT_SECONDS:
            self.release()
        connection, fresh = self._connection or self._database.engine.connect(), self._connection is None
        self._connection = None
        try:
            if fresh and not self._database.is_sqlite:
                driver = connection.connection.driver_connection
                self._exchange = Exchange(driver, prepared=set(), meanwhile=self._meanwhile)
            with self._database.transaction(connection) as session:
                yield from self._exchanging(connection, session)
        except BaseException:
            connection.close()
            raise
        self._connection, self._used = connection, time.monotonic()

    def _exchanging(self, connection: Connection, session: Session) -> Iterator[Session]:
        if self._exchange is None:
            yield session
            return
        session.info[_EXCHANGE] = self._exchange
        try:
            yield session
            session.flush()
            with drivers_errors(self._exchange.driver, "COMMIT"):
                self._exchange.commit()
        except BaseException:
            # In whatever it was interrupted: the server rolls back, and a new connection knows no old plans.
            connection.invalidate()
            raise

    def release(self) -> None:
        """Gives it back; whoever pauses must not find it gone later."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._exchange is not None:
            try:
                self._exchange.forget()
            except self._exchange.driver.Error:
                connection.invalidate()  # gone meanwhile; the pool opens another one
        connection.close()


def exchange_of(session: Session) -> Exchange:
    """PostgreSQL: its kept connection's, or one that prepares nothing."""
    kept: Exchange | None = session.info.get(_EXCHANGE)
    return kept or Exchange(session.connection().connection.driver_connection)


def _refuse_flush(session: Session, *_: object) -> None:
    if session.new or session.dirty or session.deleted:
        raise RuntimeError("a reading session was asked to write; use Database.transaction()")
