"""PostgreSQL's short way: what it answers, what it refuses, and what goes on while the server works."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError

from incident_center.db import Database, KeptConnection, exchange_of
from incident_center.exchange import Exchange, Statement, value, wait_for
from incident_center.models import Component
from tests.builders import a_component

pytestmark = pytest.mark.parametrize("database_kind", ["postgres"])

SUM = Statement(b"of_two", b"SELECT $1::int + $2::int, $3::text, $4::bool")
SLOW = Statement(b"slow", b"SELECT pg_sleep(0.2)")
TAKEN = Statement(b"taken", b"INSERT INTO pairs VALUES ($1, $2)")
MOVED = Statement(b"moved", b"UPDATE pairs SET word = $1 WHERE number > $2")


@pytest.fixture
def driver(database: Database) -> Iterator[Any]:
    url = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TEMP TABLE pairs (number int PRIMARY KEY, word text)")
        connection.commit()
        yield connection


def _pairs(driver: Any) -> list[tuple[int, str | None]]:
    rows: list[tuple[int, str | None]] = driver.execute(
        "SELECT number, word FROM pairs ORDER BY number"
    ).fetchall()
    driver.commit()
    return rows


def _named(driver: Any) -> list[str]:
    rows = driver.execute("SELECT name FROM pg_prepared_statements ORDER BY name", prepare=False).fetchall()
    driver.commit()
    return [name for (name,) in rows]


def test_values_come_back_as_psycopg_reads_them(driver: Any) -> None:
    values = [value(one) for one in (2, 40, "ä\t' \\ \N{HOURGLASS}", True)]
    one, two = Exchange(driver).ask((SUM, values), (SUM, [value(1), None, value(""), value(False)]))
    assert one.rows == [(42, "ä\t' \\ \N{HOURGLASS}", True)]
    assert two.rows == [(None, "", False)]


def test_nothing_is_committed_that_was_not_asked_to_be(driver: Any) -> None:
    exchange = Exchange(driver)
    inserted, moved = exchange.ask((TAKEN, [b"1", b"one"]), (MOVED, [b"x", b"0"]))
    assert (inserted.changed, inserted.rows, moved.changed) == (1, [], 1)
    driver.rollback()
    assert _pairs(driver) == []
    exchange.ask((TAKEN, [b"1", b"one"]))
    exchange.copy("COPY pairs (number, word) FROM STDIN", "2\ttwo\n3\t\\N\n")
    exchange.commit()
    exchange.commit()  # nothing is open: nothing happens
    driver.rollback()
    assert _pairs(driver) == [(1, "one"), (2, "two"), (3, None)]


def test_a_copy_begins_its_transaction_and_may_be_larger_than_any_buffer(driver: Any) -> None:
    exchange = Exchange(driver)
    exchange.copy(
        "COPY pairs (number, word) FROM STDIN", "".join(f"{n}\t{'x' * 60}\n" for n in range(60_000))
    )
    driver.rollback()
    assert _pairs(driver) == []
    exchange.copy(
        "COPY pairs (number, word) FROM STDIN", "".join(f"{n}\t{'x' * 60}\n" for n in range(60_000))
    )
    exchange.commit()
    assert len(_pairs(driver)) == 60_000


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_first_that_is_refused_is_raised_and_a_rollback_is_enough(driver: Any, place: int) -> None:
    exchange = Exchange(driver, prepared=set())
    twice = [(TAKEN, [b"7", b"seven"])] * 2
    asked = [*[(SUM, [b"1", b"1", b"", b"t"])] * place, *twice, (SUM, [b"1", b"1", b"", b"t"])]
    with pytest.raises(errors.UniqueViolation):
        exchange.ask(*asked)
    driver.rollback()
    assert Exchange(driver).ask(asked[-1])[0].rows == [(2, "", True)]


@pytest.mark.parametrize(
    ("statement", "rows", "refusal"),
    [
        ("COPY pairs (number) FROM STDIN", "1\n1\n", errors.UniqueViolation),
        ("COPY pairs (number) FROM STDIN", "one\n", errors.InvalidTextRepresentation),
        ("COPY nowhere (number) FROM STDIN", "1\n", errors.UndefinedTable),
    ],
)
def test_a_copy_that_is_refused_leaves_the_connection_fit(
    driver: Any, statement: str, rows: str, refusal: type[Exception]
) -> None:
    exchange = Exchange(driver)
    with pytest.raises(refusal):
        exchange.copy(statement, rows)
    driver.rollback()
    exchange.copy("COPY pairs (number) FROM STDIN", "1\n")
    exchange.commit()
    assert _pairs(driver) == [(1, None)]


def test_a_commit_that_rolled_back_is_no_commit(driver: Any) -> None:
    exchange = Exchange(driver)
    with pytest.raises(errors.InvalidTextRepresentation):
        exchange.ask((TAKEN, [b"one", b""]))
    with pytest.raises(errors.InFailedSqlTransaction):
        exchange.commit()


def test_each_statement_is_prepared_once_and_only_where_that_is_wanted(driver: Any) -> None:
    Exchange(driver).ask((SUM, [b"1", b"1", b"", b"t"]))
    driver.commit()
    assert _named(driver) == []
    exchange = Exchange(driver, prepared=set())
    for _ in range(3):
        exchange.ask((TAKEN, [b"1", b""]), (SUM, [b"1", b"1", b"", b"t"]), (SUM, [b"1", b"2", b"", b"t"]))
        exchange.ask((MOVED, [b"", b"0"]))
        exchange.ask((Statement(b"gone", b"DELETE FROM pairs"), []))
        exchange.commit()
    assert _named(driver) == ["gone", "moved", "of_two", "taken"]


@pytest.mark.parametrize("libpq_can_close", [True, False])
def test_what_was_prepared_is_forgotten_on_both_sides(
    driver: Any, libpq_can_close: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: set[bytes] = set()
    exchange = Exchange(driver, prepared=prepared)
    if not libpq_can_close:  # before libpq 17
        monkeypatch.setattr(exchange, "_can_close", False)
    exchange.forget()  # nothing: not a word
    exchange.ask((SUM, [b"1", b"1", b"", b"t"]), (SLOW, []))
    exchange.commit()
    assert _named(driver) == ["of_two", "slow"]
    exchange.forget()
    assert (prepared, _named(driver)) == (set(), [])
    assert exchange.ask((SLOW, []), (SUM, [b"1", b"1", b"", b"t"]))[1].rows == [(2, "", True)]


def test_something_else_goes_on_while_the_server_works(driver: Any) -> None:
    heard: list[int] = []

    def meanwhile(socket: int) -> None:
        heard.append(socket)
        if len(heard) > 3:  # it may also return too early
            wait_for(socket)

    exchange = Exchange(driver, meanwhile=meanwhile)
    assert exchange.ask((SLOW, []))[0].rows == [("",)]
    assert len(heard) > 3
    assert set(heard) == {driver.fileno()}
    before = len(heard)
    exchange.copy("COPY pairs (number) FROM STDIN", "1\n")
    exchange.commit()
    assert len(heard) > before


ITSELF = Statement(b"itself", b"SELECT pg_terminate_backend(pg_backend_pid())")


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_server_that_ends_in_the_middle_is_an_operational_error(driver: Any, place: int) -> None:
    asked = [(SUM, [b"1", b"1", b"", b"t"])] * 2
    asked.insert(place, (ITSELF, []))
    exchange = Exchange(driver)
    with pytest.raises(psycopg.OperationalError):
        exchange.ask(*asked)
    for again in (
        lambda: exchange.ask(*asked),
        lambda: exchange.copy("COPY pairs (number) FROM STDIN", "1\n"),
    ):
        with pytest.raises(psycopg.OperationalError):
            again()


def test_a_server_that_is_gone_is_an_operational_error(driver: Any, database: Database) -> None:
    Exchange(driver).ask((SUM, [b"1", b"1", b"", b"t"]))
    with database.transaction() as session:
        session.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": driver.info.backend_pid})
    with pytest.raises(psycopg.OperationalError):
        Exchange(driver).commit()


def _write(kept: KeptConnection, key: str) -> int:
    """Answers by how many names the server knows our statements on this connection."""
    with kept.transaction() as session:
        exchange_of(session).ask((SUM, [b"1", b"1", b"", b"t"]))
        a_component(session, key=key)
        known = "SELECT count(*) FROM pg_prepared_statements WHERE name = 'of_two'"
        return session.scalar(text(known)) or 0


def test_a_kept_connection_prepares_once_whoever_used_it_in_between(database: Database) -> None:
    kept = KeptConnection(database)
    assert [_write(kept, "one"), _write(kept, "two")] == [1, 1]
    kept.release()
    assert _write(kept, "three") == 1
    kept.release()

    def roll_back() -> None:
        with database.transaction() as session:
            for _ in range(
                8
            ):  # psycopg prepares what comes for the sixth time, and only then forgets all of it
                session.execute(text("SELECT 1"))
            raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        roll_back()
    assert database.engine.pool.checkedin() == 1  # type: ignore[attr-defined]  # a QueuePool; all of them had the same one
    assert _write(kept, "four") == 1
    kept.release()


def test_a_plan_that_does_not_fit_its_table_any_more_costs_one_transaction(database: Database) -> None:
    """A migration beside a running worker."""
    kept = KeptConnection(database)
    everything = Statement(b"everything", b"SELECT * FROM components")

    def look() -> None:
        with kept.transaction() as session:
            exchange_of(session).ask((everything, []))

    look()
    with database.transaction() as session:
        session.execute(text("ALTER TABLE components ADD COLUMN later int"))
    with pytest.raises(errors.FeatureNotSupported, match="cached plan"):
        look()
    look()
    kept.release()


def test_whatever_happens_meanwhile_the_transaction_is_undone(database: Database) -> None:
    def fail(socket: int) -> None:
        raise KeyError("something of ours")

    kept = KeptConnection(database, fail)
    with pytest.raises(KeyError, match="something of ours"):
        _write(kept, "lost")
    with database.reading() as session:
        assert session.scalar(select(func.count(Component.id))) == 0


def _server_of(kept: KeptConnection) -> int:
    with kept.transaction() as session:
        return session.scalar(text("SELECT pg_backend_pid()")) or 0


def test_after_an_error_nobody_gets_that_connection(database: Database) -> None:
    kept = KeptConnection(database)
    before = _server_of(kept)

    def fail() -> None:
        with kept.transaction():
            raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        fail()
    after = _server_of(kept)
    kept.release()
    assert after != before


def test_what_is_added_last_is_part_of_the_transaction(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exchange commits; nothing may be left for a second commit behind it."""
    kept = KeptConnection(database)
    real = Exchange.commit

    def commit(exchange: Exchange) -> None:
        real(exchange)
        raise psycopg.OperationalError("the answer was lost")

    monkeypatch.setattr(Exchange, "commit", commit)

    def add() -> None:
        with kept.transaction() as session:
            exchange_of(session).ask((SUM, [b"1", b"1", b"", b"t"]))
            component = a_component(session, key="flushed")
            session.flush()
            component.key = "last"

    with pytest.raises(OperationalError):
        add()
    with database.reading() as session:
        assert session.scalars(select(Component.key)).all() == ["last"]


def test_a_server_that_is_gone_before_the_commit_has_kept_nothing(database: Database) -> None:
    kept = KeptConnection(database)

    def cut_at_the_end() -> None:
        with kept.transaction() as session:
            a_component(session, key="lost")
            session.flush()
            pid = session.scalar(text("SELECT pg_backend_pid()"))
            with database.transaction() as other:
                other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})

    with pytest.raises(OperationalError):
        cut_at_the_end()
    with kept.transaction() as session:
        a_component(session, key="kept")
    with database.reading() as session:
        assert session.scalars(select(Component.key)).all() == ["kept"]
    kept.release()
