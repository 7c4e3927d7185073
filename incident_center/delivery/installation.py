"""Is this the database that we think it is? A restored or copied one must not write to customers by itself.

Two marks tell. A fingerprint says where the database lives: the public address, and the file's path or the
server's own identifier and the database's number. And on SQLite, where a backup is copied over the file, a marker
changes every minute in the database and in a file beside it: a database from before has an older one.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import func, or_, select, text, update
from sqlalchemy.orm import Session

from incident_center import clock as house_clock
from incident_center.db import SKEW_MAX, Database
from incident_center.delivery.cancel import close_the_walk
from incident_center.delivery.fanout import LIVE, people_left
from incident_center.delivery.ledger import unknown_rows
from incident_center.delivery.people import chunk_is_open
from incident_center.delivery.sql import insert_ignoring
from incident_center.house import House
from incident_center.models import Chunk, Delivery, Fanout, Installation, Message
from incident_center.states import ChunkState, DeliveryState, FanoutState

LOOK_EVERY = timedelta(seconds=10)
MARK_EVERY = timedelta(seconds=60)
_FILE = "installation.json"
_ROW = 1
_log = structlog.get_logger()


class Guard:
    """One worker's look at the installation and at the clock, for all its threads."""

    def __init__(self, database: Database, house: House, *, clock: Callable[[], datetime]) -> None:
        self._database, self._house, self._clock = database, house, clock
        self._file = house.settings.data_dir / _FILE
        self._looked_at: datetime | None = None
        self._one_at_a_time = threading.Lock()
        self.refusal = ""  # why nothing may be sent, for people

    def may_send(self) -> bool:
        """Whether this is the installation that a lead knows, and the clock the database's. Looks every ten seconds,
        or every time while not."""
        with self._one_at_a_time:
            now = self._clock()
            if self.refusal or self._looked_at is None or abs(now - self._looked_at) >= LOOK_EVERY:
                refusal = self._refusal(now)
                self._looked_at = now
                if refusal and refusal != self.refusal:
                    _log.error("sending_is_held", why=refusal)
                self.refusal = refusal
            return not self.refusal

    def _refusal(self, now: datetime) -> str:
        # The machine's own clock: a worker that is ahead would take everybody's leases for expired.
        skew = self._database.clock_skew(house_clock.now())
        if abs(skew) > SKEW_MAX:
            direction = "ahead of" if skew > 0 else "behind"
            return f"its clock is {direction} the database's: it sends nothing and keeps no promises"
        with self._database.transaction() as session:
            if self._look(session, now):
                return ""
        return "the database was restored or copied; a lead must confirm it"

    def _look(self, session: Session, now: datetime) -> bool:
        here = fingerprint(session, self._house)
        row = session.get(Installation, _ROW)
        if row is None:
            _first_start(session, here, now=now)
            row = session.get_one(Installation, _ROW)
            self._mark(row, now)
            return True
        known = _markers(self._file)
        newly_confirmed = row.marker is None
        old = self._database.is_sqlite and not newly_confirmed and row.marker not in known
        if row.fingerprint != here or old:
            row.seen_fingerprint, row.seen_at = here, row.seen_at or now
            return False
        row.seen_fingerprint = row.seen_at = None
        if newly_confirmed or row.marked_at is None or abs(now - row.marked_at) >= MARK_EVERY:
            self._mark(row, now)
        return True

    def _mark(self, row: Installation, now: datetime) -> None:
        """The file first, with the marker before: a crash in between leaves one that fits."""
        if not self._database.is_sqlite:
            return
        marker = secrets.token_hex(16)
        before = [row.marker] if row.marker else []
        self._file.parent.mkdir(parents=True, exist_ok=True)
        scratch = self._file.with_suffix(".new")
        scratch.write_text(json.dumps({"markers": [marker, *before]}), encoding="utf-8")
        scratch.replace(self._file)
        row.marker, row.marked_at = marker, now


def fingerprint(session: Session, house: House) -> str:
    """64 hexadecimal digits that stay as long as the database stays where it is."""
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        where = str(Path(connection.engine.url.database or "").resolve())
    else:
        row = connection.execute(
            text(
                "SELECT (SELECT system_identifier FROM pg_control_system()) AS server,"
                " (SELECT oid FROM pg_database WHERE datname = current_database()) AS number"
            )
        ).one()
        where = f"{row.server}/{row.number}"
    return hashlib.sha256(f"{house.settings.public_url} {where}".encode()).hexdigest()


def is_held(session: Session) -> bool:
    """Whether a worker has found that this database was restored or copied, and nobody has confirmed it yet."""
    return session.scalar(select(Installation.seen_fingerprint).where(Installation.id == _ROW)) is not None


def confirm(session: Session, *, by: str, now: datetime) -> int:
    """A lead says that this installation may send. What was on its way when it was copied ends here; answers how many
    updates that were.

    Its outcomes may have been lost: sending on could tell people twice, and the next update tells everybody.
    """
    row = session.get(Installation, _ROW)
    if row is None or row.seen_fingerprint is None:
        return 0
    row.fingerprint, row.marker = row.seen_fingerprint, None
    row.seen_fingerprint = row.seen_at = None
    row.confirmed_at, row.confirmed_by = now, by
    return _end_what_was_on_its_way(session, now=now)


def _end_what_was_on_its_way(session: Session, *, now: datetime) -> int:
    """A fan-out that is done stays as it is. Answers how many updates have somebody who is not written to."""
    live = Fanout.state.in_(LIVE)
    half_done = or_(
        Fanout.state == FanoutState.OPEN, Fanout.id.in_(select(Chunk.fanout_id).where(chunk_is_open()))
    )
    waiting = Fanout.update_id.in_(select(Delivery.update_id).where(Delivery.not_before.is_not(None)))
    number = session.scalar(select(func.count(Fanout.id)).where(live, or_(half_done, waiting))) or 0
    for fanout in session.scalars(select(Fanout).where(live, half_done)).all():
        close_the_walk(session, fanout, now=now)
        fanout.state = FanoutState.CANCELLED
    session.flush()
    _close_chunks(session, now=now)
    for table in (Delivery, Message):
        _end_rows(session, table, now=now)
    return number


def _close_chunks(session: Session, *, now: datetime) -> None:
    """Whoever was on the wire when the copy was made may have been written to."""
    for chunk in session.scalars(select(Chunk).where(chunk_is_open(), Chunk.batch_at.is_not(None))).all():
        chunk.written += unknown_rows(session, chunk, chunk.batch, now=now, again=None)
    session.flush()
    session.execute(
        update(Chunk)
        .where(chunk_is_open())
        .values(
            state=ChunkState.CANCELLED,
            finished_at=now,
            left=people_left(),
            fence=Chunk.fence + 1,
            batch=[],
            batch_at=None,
            owner=None,
            lease_until=None,
        )
        .execution_options(synchronize_session=False)
    )


def _end_rows(session: Session, table: type[Delivery | Message], *, now: datetime) -> None:
    """What waits ends; what may have been accepted stays unknown, and nothing is sent again."""
    flying = {"state": DeliveryState.UNKNOWN, "code": "worker-lost", "attempts": table.attempts + 1}
    ends: dict[DeliveryState, dict[str, Any]] = {
        DeliveryState.SENDING: flying,
        DeliveryState.UNKNOWN: {},
        DeliveryState.DUE: {"state": DeliveryState.CANCELLED},
        DeliveryState.RETRY: {"state": DeliveryState.CANCELLED},
    }
    free = {"not_before": None, "owner": None, "lease_until": None, "fence": table.fence + 1, "at": now}
    for state, values in ends.items():
        session.execute(
            update(table)
            .where(table.not_before.is_not(None), table.state == state)
            .values(**free | values)
            .execution_options(synchronize_session=False)
        )


def _first_start(session: Session, here: str, *, now: datetime) -> None:
    row = {"id": _ROW, "fingerprint": here, "confirmed_at": now, "confirmed_by": "first start"}
    insert_ignoring(session, Installation, [row])


def _markers(file: Path) -> list[str]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))["markers"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return found if isinstance(found, list) else []
