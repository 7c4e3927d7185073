"""An installation to measure: a database with an audience and an incident, and updates published on it.

Preparing a big audience takes longer than writing to it, so it is done once for each size and copied.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from sqlalchemy import func, insert, make_url, select, text

from incident_center import schema
from incident_center.center import Center, build_center
from incident_center.config import Settings, asset_dir
from incident_center.db import Database
from incident_center.incidents.inputs import Declaration, Publication
from incident_center.incidents.scripts import script_for
from incident_center.incidents.verbs import declare, publish_update
from incident_center.models import Delivery, Incident, Subscriber, WorkerBeat
from incident_center.states import Channel, FormOfAddress, Impact, Phase, SubscriberState
from tests.builders import a_component
from tests.support.postgres import RUNNING_SERVER, PostgresServer, new_folder

SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"
KINDS = (SQLITE, POSTGRESQL)
SECRET = "only-for-benchmarks-" * 3
PUBLIC_URL = "https://status.example.com"
COMPANY = "Example Pay"
LEAD = "lead@example.com"
_USUAL_SERVER = "postgresql://postgres@127.0.0.1:5432/postgres"
_ROWS_AT_ONCE = 5_000
_ZONES = ("Europe/Berlin", "Europe/London", "America/New_York")
_FORMS = (None, FormOfAddress.MR, FormOfAddress.MS)


class Installation:
    """One database with `audience` confirmed readers; `folder` is its data folder."""

    def __init__(self, kind: str, url: str, folder: Path, audience: int) -> None:
        self.kind, self.url, self.folder, self.audience = kind, url, folder, audience
        self._center: Center | None = None

    @property
    def center(self) -> Center:
        if self._center is None:
            self._center = build_center(settings(self.url, self.folder))
        return self._center

    @property
    def database(self) -> Database:
        return self.center.database

    def close(self) -> None:
        if self._center is not None:
            self._center.database.dispose()
            self._center = None

    def publish(self) -> int:
        """Publishes the next update by the verb that console and API call; answers its id."""
        now = datetime.now(UTC)
        house = self.center.house
        with self.database.transaction() as session:
            incident = session.scalars(select(Incident)).one()
            publication = Publication(
                phase=Phase.INVESTIGATING,
                words=script_for(house, incident, Phase.INVESTIGATING),
                next_update_by=now + timedelta(minutes=90),
                component_status={},
            )
            update = publish_update(
                session, house=house, incident_id=incident.id, publication=publication, by=LEAD, now=now
            )
            return update.id

    def outcomes(self, update_id: int) -> Counter[str]:
        """How many people have which outcome of this update."""
        with self.database.reading() as session:
            rows = session.execute(
                select(Delivery.state, func.count())
                .where(Delivery.update_id == update_id)
                .group_by(Delivery.state)
            )
            return Counter({state.value: number for state, number in rows})

    def stored(self, update_id: int) -> int:
        """Rows of this update in the ledger, whatever they say."""
        with self.database.reading() as session:
            return (
                session.scalar(
                    select(func.count()).select_from(Delivery).where(Delivery.update_id == update_id)
                )
                or 0
            )

    def workers_seen(self) -> int:
        with self.database.reading() as session:
            return session.scalar(select(func.count()).select_from(WorkerBeat)) or 0

    def settle(self) -> None:
        """A checkpoint, so that what is measured next begins with a clean log."""
        with self.database.engine.connect() as connection:
            if self.kind == POSTGRESQL:
                connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("CHECKPOINT"))
            else:
                connection.execute(text("SELECT 1"))
                connection.rollback()
                connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").close()

    def log_position(self) -> int:
        """Bytes of WAL that the server has written since it was made; 0 on SQLite. Counts all its databases."""
        if self.kind == SQLITE:
            return 0
        with self.database.engine.connect() as connection:
            position = connection.execute(text("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"))
            return int(position.scalar_one())

    def sizes(self) -> dict[str, int]:
        """Bytes of the database and, on SQLite, of its log file at this moment."""
        if self.kind == SQLITE:
            path = Path(make_url(self.url).database or "")
            log = path.with_name(path.name + "-wal")
            return {
                "database": path.stat().st_size,
                "log_file": log.stat().st_size if log.exists() else 0,
            }
        with self.database.engine.connect() as connection:
            size = connection.execute(text("SELECT pg_database_size(current_database())"))
            return {"database": int(size.scalar_one())}


def settings(url: str, folder: Path, *, email_urls: tuple[str, ...] = ()) -> Settings:
    return Settings(
        database_url=url,
        data_dir=folder,
        secret_key=SECRET,
        public_url=PUBLIC_URL,
        email_urls=email_urls,
        playbooks_dir=asset_dir("playbooks"),
        templates_dir=asset_dir("templates"),
        migrations_dir=asset_dir("migrations"),
        company=COMPANY,
    )


class Installations:
    """Makes installations: the first of a size is prepared, every further one is a copy of it."""

    def __init__(self, folder: Path, server: PostgresServer) -> None:
        self._folder, self._server = folder, server
        self._prepared: dict[tuple[str, int], str] = {}
        self._numbers = itertools.count(1)

    @contextmanager
    def fresh(self, kind: str, audience: int) -> Iterator[Installation]:
        """A new installation, gone when the block ends."""
        prepared = self._prepared.get((kind, audience)) or self._prepare(kind, audience)
        folder = self._new_folder()
        name = f"bench_{os.getpid()}_{folder.name}"
        if kind == SQLITE:
            shutil.copyfile(prepared, folder / "bench.db")
            url = f"sqlite:///{folder / 'bench.db'}"
        else:
            url = self._server.create(name, template=prepared)
        made = Installation(kind, url, folder, audience)
        try:
            yield made
        finally:
            made.close()
            if kind == POSTGRESQL:
                self._server.drop(name)
            shutil.rmtree(folder, ignore_errors=True)

    def forget(self) -> None:
        """Drops what was prepared."""
        for (kind, _), prepared in self._prepared.items():
            if kind == POSTGRESQL:
                self._server.drop(prepared)
            else:
                Path(prepared).unlink(missing_ok=True)
        self._prepared.clear()

    def _prepare(self, kind: str, audience: int) -> str:
        folder = self._new_folder()
        name = f"bench_{os.getpid()}_{folder.name}"
        prepared = name if kind == POSTGRESQL else str(folder / "prepared.db")
        self._prepared[kind, audience] = prepared
        url = self._server.create(name) if kind == POSTGRESQL else f"sqlite:///{prepared}"
        made = Installation(kind, url, folder, audience)
        schema.upgrade(made.database, made.center.settings.migrations_dir)
        _declare(made.center)
        _fill(made.database, audience)
        if kind == SQLITE:
            made.settle()
        made.close()
        return prepared

    def _new_folder(self) -> Path:
        folder = self._folder / f"i{next(self._numbers)}"
        folder.mkdir()
        return folder


@contextmanager
def installations(folder: Path) -> Iterator[Installations]:
    """With the PostgreSQL server that INCIDENT_CENTER_TEST_POSTGRES_URL names, else the one on this machine,
    else one from the wheel that the tests use."""
    if RUNNING_SERVER not in os.environ and _answers(_USUAL_SERVER):
        os.environ[RUNNING_SERVER] = _USUAL_SERVER
    server = PostgresServer(new_folder(), run_pid=os.getpid())
    made = Installations(folder, server)
    try:
        yield made
    finally:
        made.forget()
        server.stop()


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _declare(center: Center) -> None:
    now = datetime.now(UTC)
    with center.database.transaction() as session:
        declaration = Declaration(
            playbook="payout-gateway-down",
            component_ids=(a_component(session).id,),
            impact=Impact.MAJOR,
            started_at=now,
            answers={"scope": {"en": "SEPA payouts to Germany", "de": "SEPA-Auszahlungen nach Deutschland"}},
        )
        declare(session, house=center.house, declaration=declaration, by=LEAD, now=now)


def _fill(database: Database, audience: int) -> None:
    """Confirmed e-mail readers of every component: two languages, three time zones, with and without a form of
    address, so that personal parts are personal."""
    now = datetime.now(UTC)
    for first in range(0, audience, _ROWS_AT_ONCE):
        rows = [_reader(number, now) for number in range(first, min(first + _ROWS_AT_ONCE, audience))]
        with database.transaction() as session:
            session.execute(insert(Subscriber), rows)
    # An audience has been there for long. A freshly filled table of PostgreSQL's is written again by its first readers.
    with database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(
            text("ANALYZE" if database.is_sqlite else "VACUUM (ANALYZE)")
        )


def _reader(number: int, now: datetime) -> dict[str, object]:
    address = f"reader{number}@customers{number % 50}.example.com"
    return {
        "channel": Channel.EMAIL,
        "email": address,
        "email_key": address,
        "name": f"Reader {number}",
        "form": _FORMS[number % 3],
        "language": ("en", "de")[number % 2],
        "zone": _ZONES[number // 2 % 3],
        "all_components": True,
        "state": SubscriberState.CONFIRMED,
        "source": "import",
        "created_at": now,
        "updated_at": now,
        "confirmed_at": now,
    }
