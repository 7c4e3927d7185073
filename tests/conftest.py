"""What every test may ask for. `database` (and all that stands on it) runs on SQLite and on PostgreSQL.

Mark a test or module `one_database` when its rules do not touch SQL (pages, wording): then SQLite is enough.
"""

import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from incident_center import create_app
from incident_center.center import Center
from incident_center.config import Settings, asset_dir
from incident_center.db import Database
from incident_center.house import House, build_house
from incident_center.logs import configure_logging
from tests.builders import NOW
from tests.support import network
from tests.support.databases import Templates
from tests.support.once import keep_what_is_loaded, make_once
from tests.support.postgres import PostgresServer, new_folder

MOST_WORKERS = 6  # one PostgreSQL server serves them all
LONG = {
    "browser",
    "journeys",
    "test_cli.py",
    "test_wheel.py",
}  # while one core waits for these, others work on
IN_CI = os.environ.get("CI", "").lower() == "true"
_server = pytest.StashKey[PostgresServer]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "one_database: its rules do not touch SQL; runs on SQLite alone")
    config.addinivalue_line("markers", "broker: needs rabbitmq-server and redis-server")
    network.guard()
    make_once()
    # As an application does it; structlog's own traceback takes seconds to draw.
    configure_logging(quiet=True)
    shared: dict[str, Any] | None = getattr(config, "workerinput", None)  # set in xdist's workers
    folder = Path(shared["postgres_folder"]) if shared else new_folder()
    config.stash[_server] = PostgresServer(folder, run_pid=shared["run_pid"] if shared else os.getpid())


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """The whole suite runs on every core; a few named files run in this process, where a debugger works."""
    if hasattr(config, "workerinput") or config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return
    if config.getoption("numprocesses", 0) is None and not config.option.usepdb:
        cores = len(os.sched_getaffinity(0))
        # Two more than cores: one waits two minutes in the browser for a promise to run out, others for brokers,
        # silent servers and processes that end.
        config.option.numprocesses = min(cores, MOST_WORKERS) + 2 if cores > 1 else 0
        config.option.dist = "worksteal"


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Xdist: tells its workers which server is theirs together."""
    node.workerinput["postgres_folder"] = str(node.config.stash[_server].folder)
    node.workerinput["run_pid"] = os.getpid()


def pytest_collection_finish() -> None:
    keep_what_is_loaded()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and _server in config.stash:
        config.stash[_server].stop()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out the PostgreSQL twin of tests that are marked `one_database`; the longest stories begin first."""
    items.sort(key=lambda item: not any(part in LONG for part in item.path.parts))
    twins = [
        item
        for item in items
        if item.get_closest_marker("one_database")
        and "postgres" in getattr(getattr(item, "callspec", None), "params", {}).values()
    ]
    if twins:
        config.hook.pytest_deselected(items=twins)
        items[:] = [item for item in items if item not in twins]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """On the build machine everything is installed: what would be skipped there has failed."""
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and CI=true may skip nothing: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def _stays_on_this_machine() -> Iterator[None]:
    network.strays.clear()
    yield
    assert not network.strays, f"this test tried to reach {network.strays}"


@pytest.fixture
def now() -> datetime:
    """The moment at which the tests' stories happen; pass it to verbs as `now=`."""
    return NOW


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A small installation with its data in a temporary folder; change it with dataclasses.replace."""
    data_dir = tmp_path / "var"
    data_dir.mkdir()
    return Settings(
        database_url=f"sqlite:///{data_dir / 'incident-center.db'}",
        data_dir=data_dir,
        secret_key="only-for-tests-" * 4,
        public_url="https://status.example.com",
        playbooks_dir=asset_dir("playbooks"),
        templates_dir=asset_dir("templates"),
        migrations_dir=asset_dir("migrations"),
        company="Example Pay",
        testing=True,
    )


@pytest.fixture(scope="session")
def templates(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Templates]:
    """New databases of either kind, for tests that need more than one or an empty one."""
    made = Templates(tmp_path_factory.mktemp("templates"), request.config.stash[_server])
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgres"])
def database_kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture
def database_url(database_kind: str, settings: Settings, templates: Templates) -> Iterator[str]:
    """URL of a database of this test alone, with the schema in it; for tests that start other processes."""
    with templates.url(database_kind, settings.data_dir) as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database of this test alone, with the schema in it."""
    database = Database(database_url)
    yield database
    database.dispose()


@pytest.fixture
def empty_database(database_kind: str, settings: Settings, templates: Templates) -> Iterator[Database]:
    """A database without a single table, for migrations."""
    with templates.url(database_kind, settings.data_dir, empty=True) as url:
        database = Database(url)
        yield database
        database.dispose()


@pytest.fixture(scope="session")
def _built_house() -> Callable[[Settings], House]:
    """Playbooks and words are read once for the run: they are files that no test changes."""
    built: list[House] = []

    def house_for(settings: Settings) -> House:
        if not built:
            built.append(build_house(settings))
        return replace(built[0], settings=settings)

    return house_for


@pytest.fixture
def house(settings: Settings, _built_house: Callable[[Settings], House]) -> House:
    return _built_house(settings)


@pytest.fixture
def center(settings: Settings, database: Database, house: House) -> Center:
    """All that a process is wired with, on the test's own database."""
    url = database.url.render_as_string(hide_password=False)
    here = replace(settings, database_url=url)
    return Center(settings=here, database=database, house=replace(house, settings=here))


@pytest.fixture
def app(center: Center) -> Flask:
    """The whole application, wired as in production, on the test's own database."""
    application = create_app(center=center)
    application.config["PREFERRED_URL_SCHEME"] = "https"  # the session's cookie is Secure
    return application


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()
