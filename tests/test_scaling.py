"""docs/scaling.md: its SQL is run as it stands there, and its sizes are computed from what was measured."""

import re
from dataclasses import replace

import psycopg
import pytest
from sqlalchemy import func, select, text

from benchmarks.installation import POSTGRESQL
from benchmarks.report import BEGIN, END
from benchmarks.scaling import Measured, installations_for, measured, tables, workers_for
from benchmarks.scenarios import ours
from incident_center import clock
from incident_center.application import build_app
from incident_center.center import Center
from incident_center.db import Database
from incident_center.delivery.questions import ledger_check
from incident_center.models import Delivery
from incident_center.states import DeliveryState
from incident_center.worker import Worker
from tests.architecture.source import ROOT
from tests.builders import a_subscriber
from tests.storms.children import publish_the_end
from tests.storms.smtpd import mail_server

PAGE = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
SQL = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
ONE = Measured(alone=8000, pair=14_000, log_bytes=130, database_bytes=90, message_bytes=2000, cores=2)


@pytest.fixture
def database_kind() -> str:
    return "postgres"


def _run(center: Center, statements: str) -> list[tuple[object, ...]]:
    url = center.database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statements.encode())
        return cursor.fetchall() if cursor.description else []


def _send(center: Center) -> int:
    """A fan-out to everybody through the whole path; answers the update's id."""
    with mail_server() as smtp:
        settings = replace(center.settings, email_urls=(smtp.url,))
        here = replace(center, settings=settings, house=replace(center.house, settings=settings))
        with center.database.transaction() as session:
            update_id = publish_the_end(session, here.house)
        worker = Worker(here)
        while worker.round():
            pass
        worker.engine.release()
    with center.database.reading() as session:
        assert ledger_check(session, update_id) == []
        assert _accepted(center, update_id) == 30
    return update_id


def _accepted(center: Center, update_id: int) -> int:
    query = select(func.count()).where(
        Delivery.update_id == update_id, Delivery.state == DeliveryState.ACCEPTED
    )
    with center.database.reading() as session:
        return session.scalar(query) or 0


def test_the_ledger_is_partitioned_and_old_updates_go_as_the_page_says(center: Center) -> None:
    check, partition, following, what_may_go, drop, portions = SQL
    with center.database.transaction() as session:
        for _ in range(30):
            a_subscriber(session)
    before = _send(center)
    for statement in check.split(";\n"):
        _run(center, statement)
    _run(center, partition)
    assert _accepted(center, before) == 30, "the old rows are where they were"
    within = _send(center)
    with center.database.transaction() as session:
        session.execute(text("SELECT setval('updates_id_seq', 1500)"))
    beyond = _send(center)
    _run(center, following)
    assert (before, within, beyond > 1500) == (1, 2, True)
    assert _run(center, "SELECT count(*) FROM deliveries_1000") == [(30,)]
    assert _run(center, what_may_go) == [(before,)], "all have ended just now"
    with center.database.transaction() as session:
        session.execute(
            text("UPDATE incidents SET updated_at = :then"), {"then": clock.now().replace(year=2020)}
        )
    assert _run(center, what_may_go) == [(beyond + 1,)]
    for statement in (drop.partition("COMMIT;\n")[0] + "COMMIT;", drop.partition("COMMIT;\n")[2]):
        _run(center, statement)
    assert _run(center, _OLD_AND_NEW) == [(8,)]
    for portion in portions.strip().split(";\n"):
        _run(center, portion)
    assert _run(center, _LEFT) == [
        ("not applied",),
        ("young",),
        ("young try",),
        ("young",),
        ("tried lately",),
    ]
    assert (_accepted(center, before), _accepted(center, beyond)) == (0, 30)
    _send(center)


def test_a_row_that_is_there_already_is_seen_on_a_partitioned_ledger(center: Center) -> None:
    """A wave that meets one is written row by row: COPY and ON CONFLICT know the partitions' keys."""
    for statement in SQL[0].split(";\n"):
        _run(center, statement)
    _run(center, SQL[1])
    with pytest.raises(psycopg.IntegrityError):
        _run(center, _TWICE)
    _run(center, _TWICE.replace(";", " ON CONFLICT DO NOTHING;"))
    assert _run(center, "SELECT count(*) FROM deliveries_0") == [(1,)]


# Receipts that name no update, and single messages, which belong to none.
_OLD_AND_NEW = """WITH
heard AS (INSERT INTO receipts
(source, event_key, channel, provider_ref, state, permanent, happened_at, received_at, applied_at)
SELECT 'twilio', name, 'sms', 'x', 'delivered', false, heard, heard, applied FROM (VALUES
    ('old', now() - interval '2 years', now()), ('not applied', now() - interval '2 years', NULL),
    ('young', now(), now())) AS rows (name, heard, applied) RETURNING 1),
sent AS (INSERT INTO messages
(id, kind, key, channel, address, language, headers, created_at, expires_at, at, state, attempts, fence,
    possibly_twice)
SELECT id, 'welcome', name, 'email', 'anna@example.com', 'en', '{}', gone, gone, gone, 'failed', 1, 1, false
FROM (VALUES
    (1, 'old', now() - interval '2 years'), (2, 'young', now()), (3, 'tried lately', now() - interval '2 years'))
    AS rows (id, name, gone) RETURNING 1),
tried AS (INSERT INTO attempts (message_id, number, at, state, detail) VALUES
    (1, 1, now() - interval '2 years', 'failed', 'old try'), (3, 1, now(), 'failed', 'young try') RETURNING 1)
SELECT (SELECT count(*) FROM heard) + (SELECT count(*) FROM sent) + (SELECT count(*) FROM tried);"""
_LEFT = """SELECT event_key FROM receipts UNION ALL SELECT detail FROM attempts
UNION ALL SELECT key FROM messages;"""
_TWICE = """INSERT INTO deliveries
(at, update_id, subscriber_id, attempts, fence, possibly_twice, apart, channel, state)
SELECT now(), 5, 7, 1, 0, false, false, 'email', 'accepted' FROM generate_series(1, 2);"""


def test_further_workers_are_counted_with_what_the_second_one_added() -> None:
    assert ONE.each == 6000
    assert replace(ONE, pair=20_000).each == 8000, "never more than one alone"
    assert workers_for(1_000_000, 60, ONE) == 1
    assert workers_for(10_000_000, 15, ONE) == 2  # 11,111 a second: 8,000 and one more
    assert workers_for(100_000_000, 60, ONE) == 5  # 27,778: 8,000 and 3.3 times 6,000, rounded up


def test_nothing_is_sized_from_cores_that_one_worker_fills() -> None:
    with pytest.raises(ValueError, match="too few to size from"):
        workers_for(10_000_000, 5, replace(ONE, pair=7_900))


def test_more_than_one_database_carries_is_divided() -> None:
    assert installations_for(100_000_000, 60) == 1
    assert installations_for(100_000_000, 5) == 9  # 333,333 a second, 40,000 for each ledger


@pytest.mark.parametrize("kind", ["liveness", "readiness"])
def test_a_database_that_is_away_ends_no_pod(center: Center, kind: str) -> None:
    """The page's probes ask for what needs no database."""
    (probe,) = re.findall(kind + r": (tcpSocket 8000|GET `[^`]+`)", PAGE)
    away = replace(center, database=Database("postgresql+psycopg://nobody@127.0.0.1:1/nothing"))
    client = build_app(center=away).test_client()
    assert client.get("/healthz").status_code == 503
    if kind == "readiness":
        with client.get(probe.removeprefix("GET ").strip("`")) as answer:
            assert answer.status_code == 200


def test_the_tables_come_from_the_run() -> None:
    run = {
        "begun": "2026-11-22T03:00:00",
        "message_bytes": 2000,
        "machine": {"cores": 2},
        "results": {
            "local": {
                "rates": {ours(POSTGRESQL, 1): [7000, 8000, 9000], ours(POSTGRESQL, 2): [14_000, 1, 15_000]},
                "runs": [
                    {"database": POSTGRESQL, "log_bytes": 130, "database_bytes": 90},
                    {"database": "SQLite", "log_bytes": 0, "database_bytes": 1},
                ],
            }
        },
    }
    assert measured(run) == ONE
    assert "| 100,000,000 people in 60 minutes | 27,778 | 1 | 5 | 3.6 | 0.44 | 9.0 |" in tables(run)
    assert BEGIN in PAGE
    assert END in PAGE
