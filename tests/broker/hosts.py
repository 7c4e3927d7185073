"""Worker hosts as an operator starts them, in process groups of their own, and what they leave in the ledger."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import select, text, update

from incident_center import clock, schema
from incident_center.center import Center
from incident_center.config import PREFIX, Settings
from incident_center.db import Database
from incident_center.delivery.questions import progress
from incident_center.models import Promise, Update
from incident_center.states import PromiseState, UpdateKind
from tests.incidents.scenes import declared, published
from tests.storms.children import publish_the_end
from tests.storms.storm import Heard, nobody_missed, people, wait_until

WORKER = ("worker", "--processes", "1")
ROOT = Path(__file__).parent.parent.parent


def stamp(database: Database, settings: Settings) -> None:
    """The tests' databases are made without migrations; a worker insists on their mark."""
    with database.transaction() as session:
        session.execute(text("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL)"))
        session.execute(
            text("INSERT INTO alembic_version VALUES (:latest)"),
            {"latest": schema.latest(settings.migrations_dir)},
        )


def environment(settings: Settings) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    given = {
        "DATABASE_URL": settings.database_url,
        "DATA_DIR": str(settings.data_dir),
        "SECRET_KEY": settings.secret_key,
        "PUBLIC_URL": settings.public_url,
        "COMPANY": settings.company,
        "EMAIL_URLS": " ".join(settings.email_urls),
        "BROKER_URL": settings.broker_url or "",
    }
    return kept | {PREFIX + name: value for name, value in given.items()} | {"PYTHONPATH": str(ROOT)}


@dataclass
class Host:
    process: subprocess.Popen[bytes]
    log: Path

    def told(self) -> list[dict[str, Any]]:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return [
            json.loads(line) if line.startswith("{") else {"event": "odd", "line": line} for line in lines
        ]

    def said(self, event: str) -> int:
        return sum(line["event"] == event for line in self.told())

    def has_begun(self, workers: int) -> bool:
        return self.said("worker_started") >= workers

    def kill(self) -> None:
        """The whole machine is gone at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)


class Hosts:
    def __init__(self, center: Center, folder: Path) -> None:
        self._center, self._folder = center, folder
        self._all: list[Host] = []
        self.expected: set[str] = set()  # errors that a test brings about

    def start(self, *words: str, workers: int = 2) -> Host:
        """`incident-center worker …`, ready when `workers` of its processes have begun."""
        return self.start_all(words or WORKER, workers=workers)[0]

    def start_all(self, *commands: Sequence[str], workers: int = 2) -> list[Host]:
        """Several at once: loading the libraries is what takes time."""
        started = [self._begin(words) for words in commands]
        for host in started:
            wait_until(partial(host.has_begun, workers), f"{host} does not start", every=0.1)
        return started

    def _begin(self, words: Sequence[str]) -> Host:
        log = self._folder / f"host-{len(self._all)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "incident_center", *words],
                cwd=self._folder,
                env=environment(self._center.settings),
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        host = Host(process, log)
        self._all.append(host)
        return host

    def close(self) -> None:
        """What is left is killed; nobody may have told of a fault."""
        for host in self._all:
            if host.process.poll() is None:
                host.kill()
        odd = [
            line
            for host in self._all
            for line in host.told()
            if "line" in line or (line.get("level") == "error" and line["event"] not in self.expected)
        ]
        assert not odd, odd


def readers(database: Database, number: int) -> None:
    people(database, by_email=number)


def publish(center: Center) -> int:
    with center.database.transaction() as session:
        return publish_the_end(session, center.house)


def promised(center: Center, *, due: datetime) -> int:
    """Publishes on an incident of its own with a promise for then; answers the incident's id."""
    with center.database.transaction() as session:
        now = clock.now()
        incident = declared(session, center.house, now=now)
        published(session, center.house, incident, now=now)
        session.execute(
            update(Promise)
            .where(Promise.incident_id == incident.id, Promise.state == PromiseState.OPEN)
            .values(due_at=due)
        )
        return int(incident.id)


def holding_update(center: Center, incident_id: int) -> Update | None:
    with center.database.reading() as session:
        return session.scalar(
            select(Update)
            .where(Update.incident_id == incident_id, Update.kind == UpdateKind.HOLDING)
            .limit(1)
        )


def settled(center: Center, update_id: int) -> bool:
    with center.database.reading() as session:
        return progress(session, update_id).finished


def everybody_once(center: Center, update_id: int, arrived: Iterable[str]) -> None:
    assert nobody_missed(center.database, update_id, arrived) == Heard()
