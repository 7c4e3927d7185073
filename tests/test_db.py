"""The database's promises: what is committed, what is not, and that writers wait instead of failing."""

import socket
import threading
import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import IntegrityError, InternalError, OperationalError, StatementError

from incident_center import db, drivers
from incident_center.db import Base, Database, KeptConnection
from incident_center.delivery.walk import is_live
from incident_center.models import Component, Subscriber
from incident_center.states import Channel, FormOfAddress
from tests.builders import NOW, a_component, an_incident, juergen, mai, olivia

WRITERS = 8
ROUNDS = 25


def test_a_transaction_is_committed_when_its_block_ends(database: Database) -> None:
    with database.transaction() as session:
        a_component(session)
    with database.reading() as session:
        assert session.scalars(select(Component.key)).all() == ["sepa-instant"]


def test_a_transaction_that_raises_leaves_nothing(database: Database) -> None:

    def fail_half_way() -> None:
        with database.transaction() as session:
            a_component(session)
            raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        fail_half_way()
    with database.reading() as session:
        assert session.scalars(select(Component)).all() == []


def test_rows_can_be_read_after_their_transaction(database: Database) -> None:
    with database.transaction() as session:
        incident = an_incident(session)
    assert incident.titles["en"] == "Payout gateway down"


def test_a_reading_session_refuses_to_write(database: Database) -> None:
    with database.transaction() as session:
        a_component(session)
    with database.reading() as session:
        component = session.scalars(select(Component)).one()
        component.position = 99
        with pytest.raises(RuntimeError, match="asked to write"):
            session.flush()
    with database.reading() as session:
        assert session.scalars(select(Component.position)).one() != 99


def test_a_reading_session_never_leaves_a_raw_statement_behind(database: Database) -> None:
    """A bulk UPDATE passes by the session's guard; PostgreSQL refuses it, SQLite rolls it back when the block ends."""
    with database.transaction() as session:
        a_component(session)
    refused = nullcontext() if database.is_sqlite else pytest.raises(InternalError, match="read-only")
    with refused, database.reading() as session:
        session.execute(text("UPDATE components SET position = 99"))
    with database.reading() as session:
        assert session.scalars(select(Component.position)).one() != 99


def test_times_come_back_as_aware_utc(database: Database) -> None:
    in_tokyo = datetime(2026, 11, 20, 22, 30, 15, 123456, tzinfo=timezone(timedelta(hours=9)))
    with database.transaction() as session:
        a_component(session, created_at=in_tokyo)
    with database.reading() as session:
        stored = session.scalars(select(Component.created_at)).one()
    assert stored == in_tokyo
    assert stored.tzinfo is UTC


def test_times_are_compared_as_instants(database: Database) -> None:
    """SQLite stores text: an offset in it would be compared letter by letter."""
    with database.transaction() as session:
        a_component(session, created_at=NOW)
    later_by_the_clock_on_the_wall = (NOW - timedelta(minutes=1)).astimezone(timezone(timedelta(hours=9)))
    with database.reading() as session:
        question = select(Component).where(Component.created_at > later_by_the_clock_on_the_wall)
        assert session.scalars(question).one().created_at == NOW


def test_a_naive_time_is_refused(database: Database) -> None:
    naive = NOW.replace(tzinfo=None)
    with pytest.raises(StatementError, match="a time without a zone"), database.transaction() as session:
        a_component(session, created_at=naive)


def test_a_state_is_stored_by_its_value_and_read_as_its_word(database: Database) -> None:
    with database.transaction() as session:
        juergen(session)
    with database.reading() as session:
        assert session.execute(text("SELECT channel, form FROM subscribers")).one() == ("email", "mr")
        person = session.scalars(select(Subscriber)).one()
    assert (person.channel, person.form) == (Channel.EMAIL, FormOfAddress.MR)


def test_a_state_that_is_no_word_of_ours_is_refused(database: Database) -> None:
    with pytest.raises(StatementError, match="pigeon"), database.transaction() as session:
        olivia(session, channel="pigeon")


def test_a_foreign_key_to_nothing_is_refused(database: Database) -> None:
    """SQLite checks foreign keys only where each connection asks for it."""
    lost = text("INSERT INTO incident_components (incident_id, component_id) VALUES (404, 404)")
    with pytest.raises(IntegrityError), database.transaction() as session:
        session.execute(lost)


def test_writers_at_once_wait_for_each_other(database: Database) -> None:
    """Read, then write, in many threads: nobody meets "database is locked" and no addition is lost."""
    with database.transaction() as session:
        component_id = a_component(session, position=0).id
    problems: list[BaseException] = []

    def add() -> None:
        try:
            for _ in range(ROUNDS):
                with database.transaction() as session:
                    question = select(Component).where(Component.id == component_id).with_for_update()
                    session.scalars(question).one().position += 1
        except BaseException as problem:  # noqa: BLE001 (told below, in the test's own thread)
            problems.append(problem)

    threads = [threading.Thread(target=add) for _ in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    with database.reading() as session:
        assert session.scalars(select(Component.position)).one() == WRITERS * ROUNDS


def test_readers_do_not_wait_for_a_writer(database: Database) -> None:
    with database.transaction() as session:
        a_component(session)
    with database.transaction() as writing:
        a_component(writing, key="cards")
        with database.reading() as session:  # in the middle of the other's transaction
            assert session.scalars(select(Component.key)).all() == ["sepa-instant"]


def test_the_clock_skew_is_told_in_seconds(database: Database) -> None:
    skew = database.clock_skew(datetime.now(UTC) + timedelta(seconds=30))
    expected = 0.0 if database.is_sqlite else 30.0  # one machine has one clock
    assert skew == pytest.approx(expected, abs=2)


def test_constraints_have_names_that_a_migration_can_call() -> None:
    for table in Base.metadata.tables.values():
        for constraint in table.constraints:
            assert constraint.name, f"a constraint of {table.name} has no name"


def test_the_cast_fits_the_tables(database: Database) -> None:
    with database.transaction() as session:
        people = [olivia(session), juergen(session), mai(session)]
        an_incident(session)
    assert [person.address for person in people] == [
        "o'brien+payout@example.com",
        "j.gross@example.com",
        "+12125550123",
    ]


def _taken_from_the_pool(database: Database) -> list[object]:
    taken: list[object] = []
    event.listen(database.engine, "checkout", lambda connection, *_: taken.append(connection))
    return taken


def test_a_kept_connection_is_taken_from_the_pool_once(database: Database) -> None:
    taken, kept = _taken_from_the_pool(database), KeptConnection(database)
    for name in ("one", "two", "three"):
        with kept.transaction() as session:
            a_component(session, key=name)
    assert len(taken) == 1
    kept.release()
    with database.reading() as session:
        assert set(session.scalars(select(Component.key))) == {"one", "two", "three"}
    with kept.transaction() as session:
        a_component(session, key="four")
    kept.release()
    assert len(taken) == 3
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # a QueuePool, on both


def test_after_an_error_a_kept_connection_begins_anew(database: Database) -> None:
    taken, kept = _taken_from_the_pool(database), KeptConnection(database)

    def fail_half_way() -> None:
        with kept.transaction() as session:
            a_component(session, key="lost")
            raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        fail_half_way()
    with kept.transaction() as session:
        a_component(session, key="kept")
        assert session.scalars(select(Component.key)).all() == ["kept"]
    kept.release()
    assert len(taken) == 2


def test_a_kept_connection_that_was_silent_is_tried_before_it_is_used(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "KEPT_SECONDS", 0.0)
    taken, kept = _taken_from_the_pool(database), KeptConnection(database)
    for name in ("one", "two"):
        with kept.transaction() as session:
            a_component(session, key=name)
    kept.release()
    assert len(taken) == 2


@pytest.mark.parametrize("database_kind", ["postgres"])  # SQLite has no server
@pytest.mark.parametrize("by_the_driver", [False, True])
def test_a_kept_connection_that_the_server_has_cut_costs_one_transaction(
    database: Database, by_the_driver: bool
) -> None:
    kept = KeptConnection(database)
    with kept.transaction() as session:
        a_component(session, key="before")
        server = session.scalar(text("SELECT pg_backend_pid()"))
    with database.transaction() as session:
        session.execute(text("SELECT pg_terminate_backend(:server, 5000)"), {"server": server})

    def write() -> None:
        with kept.transaction() as session:
            if by_the_driver:
                is_live(session, 1, now=NOW)
            a_component(session, key="after")

    with pytest.raises(OperationalError):
        write()
    with kept.transaction() as session:
        a_component(session, key="after")
        assert set(session.scalars(select(Component.key))) == {"before", "after"}
    kept.release()


def test_looking_for_work_keeps_the_statements_that_are_prepared(database: Database) -> None:
    """PostgreSQL: a worker looks often, and a connection that forgot its statements each time would plan them anew."""
    for _ in range(8):  # psycopg prepares what comes for the sixth time
        with database.reading() as session:
            session.execute(text("SELECT count(*) FROM updates"))
    with database.reading() as session:
        if not database.is_sqlite:
            mine = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%FROM updates'"
            assert session.scalar(text(mine)) == 1


@pytest.mark.one_database
def test_the_log_of_sqlite_begins_anew_although_somebody_always_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "LOG_MAX", 100_000)
    monkeypatch.setattr(db, "LOG_PATIENCE", 0.05)
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    log = tmp_path / "x.db-wal"
    with database.transaction() as session:
        session.execute(text("CREATE TABLE notes (words TEXT)"))
    with database.reading() as reader:
        reader.execute(text("SELECT count(*) FROM notes"))
        for _ in range(30):
            with database.transaction() as session:
                session.execute(text("INSERT INTO notes VALUES (zeroblob(20000))"))
        before = log.stat().st_size
        assert before > 500_000
        database.shorten_log()  # whoever reads what is old keeps it; nobody hears of it
        assert log.stat().st_size == before
        with database.transaction() as session:
            session.execute(text("INSERT INTO notes VALUES ('not held up')"))
    with database.reading() as reader:  # a page that is read now
        assert reader.execute(text("SELECT count(*) FROM notes")).scalar_one() == 31
        thread = threading.Thread(target=database.shorten_log)
        monkeypatch.setattr(db, "LOG_PATIENCE", 5.0)
        thread.start()
        time.sleep(0.1)
    thread.join()
    assert log.stat().st_size == 0
    database.dispose()
    assert not log.exists()
    database.shorten_log()  # it is gone with the last connection


@pytest.mark.parametrize("database_kind", ["postgres"])  # SQLite is on this machine
def test_a_host_that_has_gone_without_a_word_is_not_waited_for_long(database_url: str) -> None:
    def parameters(url: str) -> dict[str, str]:
        asked = Database(url)
        with asked.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            found: dict[str, str] = driver.info.get_parameters()
        asked.dispose()
        return found

    given = parameters(database_url)
    assert {name: int(given[name]) for name in drivers.PATIENCE} == drivers.PATIENCE
    more = "&" if "?" in database_url else "?"
    assert parameters(f"{database_url}{more}tcp_user_timeout=5000")["tcp_user_timeout"] == "5000"


@pytest.mark.one_database
def test_a_host_that_takes_connections_and_says_nothing_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(drivers.PATIENCE, "connect_timeout", 2)  # libpq's least
    with socket.create_server(("127.0.0.1", 0)) as silent:
        database = Database(f"postgresql+psycopg://somebody@127.0.0.1:{silent.getsockname()[1]}/center")
        with pytest.raises(OperationalError, match="timeout"), database.transaction() as session:
            session.execute(text("SELECT 1"))
        database.dispose()
