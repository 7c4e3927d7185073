"""Looks an installation over: what is well, what is wrong, and what to do. Prints nothing, changes nothing.

Settings that are odd by themselves never come this far: config.py has refused them by name.
"""

import ipaddress
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import func, select
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import Session

from incident_center import clock, schema
from incident_center.config import Settings
from incident_center.db import SKEW_MAX, Database
from incident_center.delivery.look import look, waits_for_a_worker
from incident_center.delivery.providers import check_settings
from incident_center.models import Component, Role, Staff, WorkerBeat
from incident_center.playbooks import ContentErrors, Library, Problem, check_catalogue, load_library
from incident_center.spread import require_celery
from incident_center.states import Role as RoleName

WORKER_SILENT = timedelta(minutes=1)  # workers give a sign every ten seconds
FREE_BYTES = 500 * 1024 * 1024


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `what_to_do` is empty when nothing needs doing."""

    level: Level
    what: str
    what_to_do: str = ""


def examine(settings: Settings, *, now: datetime | None = None) -> list[Finding]:
    """Everything there is to say, in the order in which an operator would repair it.

    Sends nothing and writes only a file of its own to the data folder, which it removes again.
    """
    now = now or clock.now()
    findings = [
        Finding(Level.OK, "The settings are complete."),
        *_address(settings),
        *_data_dir(settings),
        *_providers(settings),
        *_broker(settings),
    ]
    library, content = _content(settings)
    findings += content
    try:
        database = Database(settings.database_url)
    except (ArgumentError, ImportError, ValueError) as error:
        what = f"INCIDENT_CENTER_DATABASE_URL cannot be used ({type(error).__name__})."
        install = "Correct the address; PostgreSQL needs: pip install 'incident-center[postgres]'"
        return [*findings, Finding(Level.PROBLEM, what, install)]
    try:
        findings += _database(settings, database, library, now)
    finally:
        database.dispose()
    return findings


def _address(settings: Settings) -> Iterator[Finding]:
    parts = urlsplit(settings.public_url)
    if _is_this_machine(parts.hostname or ""):
        yield Finding(
            Level.WARNING,
            f"Links in messages lead to {settings.public_url}, which only this machine can open.",
            "Set INCIDENT_CENTER_PUBLIC_URL to the address that customers use.",
        )
    elif parts.scheme != "https":
        yield Finding(
            Level.WARNING,
            f"Links in messages lead to {settings.public_url} without encryption.",
            "Put a proxy with a certificate in front and set INCIDENT_CENTER_PUBLIC_URL to https://…",
        )
    else:
        yield Finding(Level.OK, f"Links in messages lead to {settings.public_url}.")
        if not settings.trusted_proxies:
            yield Finding(
                Level.WARNING,
                "To our limits all visitors look like one, the proxy: a few of them lock everybody out.",
                "Set INCIDENT_CENTER_TRUSTED_PROXIES to the number of proxies in front (mostly 1).",
            )


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _data_dir(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"doctor")
        free = shutil.disk_usage(folder).free
    except OSError as error:
        yield Finding(
            Level.PROBLEM,
            f"The data folder {folder} cannot be written to ({error.strerror}).",
            "Give its user the right to write, or set INCIDENT_CENTER_DATA_DIR.",
        )
        return
    if free < FREE_BYTES:
        yield Finding(
            Level.WARNING,
            f"The data folder {folder} has {free // 2**20} MB left.",
            "Make room: a full disk stops SQLite, and with it every update.",
        )
    else:
        yield Finding(Level.OK, f"The data folder {folder} can be written to.")


def _providers(settings: Settings) -> Iterator[Finding]:
    problems = check_settings(settings)
    for problem in problems:
        yield Finding(Level.PROBLEM, problem, "Correct the setting; docs/settings.md shows each form.")
    if not problems:
        counts = f"{len(settings.email_urls)} for e-mail, {len(settings.sms_urls)} for SMS"
        yield Finding(Level.OK, f"Every provider can be used: {counts}.")
    for name, urls, lost in (
        ("EMAIL_URLS", settings.email_urls, "Customers who chose e-mail are not written to."),
        ("SMS_URLS", settings.sms_urls, "Customers who chose SMS are not written to."),
        ("STAFF_URLS", settings.staff_urls, "Nobody is reminded before a promise falls due."),
    ):
        if not urls:
            yield Finding(Level.WARNING, lost, f"Set INCIDENT_CENTER_{name}.")


def _broker(settings: Settings) -> Iterator[Finding]:
    if settings.broker_url is None:
        return
    require_celery()
    from incident_center.spread.look import look as broker  # noqa: PLC0415 (Celery is an extra)

    yield from (Finding(Level(level), what, what_to_do) for level, what, what_to_do in broker(settings))


def _content(settings: Settings) -> tuple[Library | None, list[Finding]]:
    """The playbooks, when they can be read at all, and what is to be said of them and of the words."""
    library, broken = None, []
    try:
        library = load_library(settings.playbooks_dir)
    except ContentErrors as errors:
        broken = errors.problems
    words = settings.templates_dir / "messages" / "words"
    return library, [
        *_files("playbooks", settings.playbooks_dir, broken),
        *_files("words for customers", words, check_catalogue(words)),
    ]


def _files(name: str, folder: Path, problems: list[Problem]) -> Iterator[Finding]:
    for problem in problems:
        yield Finding(Level.PROBLEM, str(problem), f"Correct the file in {folder}.")
    if not problems:
        yield Finding(Level.OK, f"The {name} in {folder} are complete.")


def _database(
    settings: Settings, database: Database, library: Library | None, now: datetime
) -> Iterator[Finding]:
    upgrade = "Run: incident-center db upgrade"
    if database.is_sqlite and not Path(database.url.database or "").exists():
        yield Finding(Level.PROBLEM, "There is no database yet.", upgrade)
        return
    try:
        pending = schema.pending(database, settings.migrations_dir)
    except schema.SchemaError as error:
        yield Finding(Level.PROBLEM, "The database belongs to a newer version.", str(error))
        return
    except SQLAlchemyError as error:
        yield Finding(
            Level.PROBLEM,
            f"The database does not answer ({type(error).__name__}).",
            "Is it running, and do name, user and password in INCIDENT_CENTER_DATABASE_URL fit?",
        )
        return
    yield from _clock(database, now)
    if pending:
        yield Finding(Level.PROBLEM, "The database is not up to date.", upgrade)
        return
    yield Finding(Level.OK, "The database answers and is up to date.")
    with database.reading() as session:
        yield from (Finding(Level(level), what, what_to_do) for level, what, what_to_do in look(session))
        yield from _workers(session, now, sqlite=database.is_sqlite)
        yield from _staff(session)
        yield from _components(session, library, settings.playbooks_dir)


def _clock(database: Database, now: datetime) -> Iterator[Finding]:
    skew = database.clock_skew(now)
    if abs(skew) > SKEW_MAX:
        direction = "ahead of" if skew > 0 else "behind"
        yield Finding(
            Level.PROBLEM,
            f"This machine's clock is {abs(skew):.0f} seconds {direction} the database's.",
            "Let both follow a time server; until then workers here send nothing and keep no promises.",
        )
    else:
        yield Finding(Level.OK, "This machine and the database agree on the time.")


def _workers(session: Session, now: datetime, *, sqlite: bool) -> Iterator[Finding]:
    lately = session.scalars(
        select(WorkerBeat).where(WorkerBeat.beat_at > now - WORKER_SILENT).order_by(WorkerBeat.beat_at.desc())
    ).all()
    start = "Start one: incident-center worker (or: incident-center serve --with-worker)"
    if not lately:
        if waiting := waits_for_a_worker(session, now=now):
            yield Finding(Level.PROBLEM, f"No worker is running, and there wait for one: {waiting}.", start)
        else:
            yield Finding(Level.WARNING, "No worker has been seen in the last minute.", start)
        return
    ago = max(0, round((now - lately[0].beat_at).total_seconds()))
    yield Finding(Level.OK, f"A worker on {lately[0].host} gave a sign {ago} seconds ago.")
    hosts = sorted({beat.host for beat in lately})
    if sqlite and len(hosts) > 1:
        yield Finding(
            Level.PROBLEM,
            f"Workers on several machines ({', '.join(hosts)}) use one SQLite file.",
            "SQLite serves one machine: stop the others, or move to PostgreSQL.",
        )


def _staff(session: Session) -> Iterator[Finding]:
    leads = session.scalar(
        select(func.count(Staff.id.distinct()))
        .join(Staff.roles)
        .where(Staff.active, Role.name.in_([RoleName.LEAD, RoleName.ADMIN]))
    )
    if leads:
        yield Finding(Level.OK, f"{leads} people can lead an incident.")
    else:
        yield Finding(
            Level.WARNING,
            "Nobody can sign in to lead an incident.",
            "Add one: incident-center staff add --help",
        )


def _components(session: Session, library: Library | None, playbooks_dir: Path) -> Iterator[Finding]:
    """Playbooks tick components by key; a key that the installation does not have ticks nothing."""
    add = "incident-center components add --help"
    known = set(session.scalars(select(Component.key)))
    if not known:
        yield Finding(Level.WARNING, "There are no components for an incident to name.", f"Add them: {add}")
        return
    for key, playbook in sorted(library.playbooks.items()) if library else ():
        missing = sorted(set(playbook.components) - known)
        if missing:
            yield Finding(
                Level.WARNING,
                f"The playbook {key} ticks components that do not exist: {', '.join(missing)}.",
                f"Add them ({add}), or take them out of {playbooks_dir / key}.yaml.",
            )
