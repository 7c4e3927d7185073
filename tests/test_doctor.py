"""The doctor finds what is wrong with an installation, says what to do, and leaves everything as it was."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from incident_center import schema
from incident_center.center import Center
from incident_center.config import Settings
from incident_center.db import Database
from incident_center.delivery.singles import queue_message
from incident_center.doctor import Finding, Level, examine
from incident_center.models import Promise, Role, Staff, Update, WorkerBeat
from incident_center.states import Channel, MessageKind, Phase, PromiseState, UpdateKind
from tests.builders import LEAD, a_component, an_incident
from tests.storms.children import publish_the_end

PLAYBOOKS = ("payout-gateway-down.yaml", "holding.yaml", "correction.yaml")
COMPONENTS = ("sepa-instant", "sepa", "cards", "wallet", "ach", "payout-api")


@pytest.fixture
def right_now() -> datetime:
    """The doctor compares clocks: a story in a fixed year would be years off the database's."""
    return datetime.now(UTC)


@pytest.fixture
def installed(center: Center, right_now: datetime, tmp_path: Path) -> Settings:
    """An installation in which everything is in order; with few playbooks, because reading them takes a while."""
    few = tmp_path / "few-playbooks"
    few.mkdir()
    for name in PLAYBOOKS:
        shutil.copy(center.settings.playbooks_dir / name, few)
    with center.database.transaction() as session:
        for key in COMPONENTS:
            a_component(session, key)
        lead = Role(name="lead")
        person = {
            "email": LEAD,
            "name": "Lea",
            "password": "x",
            "fs_uniquifier": "x",
            "created_at": right_now,
        }
        session.add_all([lead, Staff(**person, roles=[lead])])
    _beat(center.database, right_now - timedelta(seconds=4))
    _stamp(center.database, schema.latest(center.settings.migrations_dir) or "")
    _set_for_the_database(center.database, "synchronous_commit", "on")
    mailbox = ("demo-mailbox://",)
    return replace(
        center.settings,
        playbooks_dir=few,
        email_urls=mailbox,
        sms_urls=mailbox,
        staff_urls=mailbox,
        trusted_proxies=1,
    )


def test_a_good_installation_has_nothing_to_do(installed: Settings, right_now: datetime) -> None:
    findings = examine(installed, now=right_now)
    odd = [finding for finding in findings if finding.level != Level.OK]
    assert [one for one in odd if "fsync = off" not in one.what] == []  # the tests' server has it
    assert any(finding.what.startswith("A worker on box-1 gave a sign 4 seconds ago") for finding in findings)


def test_everything_that_is_wrong_says_what_to_do(settings: Settings) -> None:
    settings = replace(settings, public_url="http://localhost:8000", data_dir=Path("/proc/no-such-place"))
    findings = examine(settings)
    assert {finding.level for finding in findings} == set(Level)
    assert all(finding.what_to_do for finding in findings if finding.level != Level.OK)


def test_a_database_that_is_not_there_is_not_made(settings: Settings) -> None:
    found = _only(examine(settings), "no database yet")
    assert (found.level, found.what_to_do) == (Level.PROBLEM, "Run: incident-center db upgrade")
    assert list(settings.data_dir.iterdir()) == []


def test_a_database_without_its_tables_is_a_problem(empty_database: Database, settings: Settings) -> None:
    url = empty_database.url.render_as_string(hide_password=False)
    if empty_database.is_sqlite:
        Path(empty_database.url.database or "").touch()
    found = _only(examine(replace(settings, database_url=url)), "not up to date")
    assert (found.level, found.what_to_do) == (Level.PROBLEM, "Run: incident-center db upgrade")


def test_a_database_of_a_newer_version_is_a_problem(installed: Settings, center: Center) -> None:
    _stamp(center.database, "9999")
    assert "Install that version" in _only(examine(installed), "newer version").what_to_do


@pytest.mark.one_database
def test_a_database_that_does_not_answer_is_a_problem(settings: Settings, tmp_path: Path) -> None:
    away = f"postgresql://ic:hunter2@/ic?host={tmp_path}"
    found = _only(examine(replace(settings, database_url=away)), "does not answer")
    assert found.level == Level.PROBLEM
    assert "hunter2" not in found.what + found.what_to_do


def test_an_address_of_a_database_that_cannot_be_read_is_a_problem(settings: Settings) -> None:
    found = _only(examine(replace(settings, database_url="postgresql://db:port/ic")), "cannot be used")
    assert found.level == Level.PROBLEM


@pytest.mark.parametrize("seconds", [-30, 30])
def test_clocks_that_disagree_are_a_problem(
    installed: Settings, center: Center, right_now: datetime, seconds: int
) -> None:
    findings = examine(installed, now=right_now + timedelta(seconds=seconds))
    if center.database.is_sqlite:  # one machine has one clock
        assert _only(findings, "agree on the time").level == Level.OK
    else:
        assert _only(findings, "ahead of" if seconds > 0 else "behind").level == Level.PROBLEM


def test_a_silent_worker_is_a_warning(installed: Settings, center: Center, right_now: datetime) -> None:
    _beat(center.database, right_now - timedelta(hours=1))
    found = _only(examine(installed, now=right_now), "No worker")
    assert found.level == Level.WARNING
    assert "incident-center worker" in found.what_to_do


def test_a_silent_worker_with_promises_to_keep_is_a_problem(
    installed: Settings, center: Center, right_now: datetime
) -> None:
    _beat(center.database, right_now - timedelta(hours=1))
    _an_open_promise(center.database, right_now)
    found = _only(examine(installed, now=right_now), "1 open promise")
    assert found.level == Level.PROBLEM


def test_a_silent_worker_with_somebody_to_write_to_is_a_problem(
    installed: Settings, center: Center, right_now: datetime
) -> None:
    _beat(center.database, right_now - timedelta(hours=1))
    with center.database.transaction() as session:
        publish_the_end(session, center.house)
        queue_message(
            session,
            kind=MessageKind.WELCOME,
            channel=Channel.EMAIL,
            address="anna@example.com",
            language="en",
            subject="Welcome",
            text="All is well.",
            now=right_now,
            lifetime=timedelta(hours=1),
        )
    found = _only(examine(installed, now=right_now), "No worker")
    assert found.level == Level.PROBLEM
    assert "1 update(s) on the way to customers, 1 single message(s)." in found.what


def test_a_database_that_may_forget_commits_is_a_problem(installed: Settings, center: Center) -> None:
    _set_for_the_database(center.database, "synchronous_commit", "off")
    findings = examine(installed)
    if center.database.is_sqlite:
        assert not any("durable" in finding.what for finding in findings)
        return
    found = _only(findings, "synchronous_commit = off")
    assert (found.level, "ALTER DATABASE" in found.what_to_do) == (Level.PROBLEM, True)
    assert _only(findings, "fsync = off").level == Level.PROBLEM, "the tests' server has it off"


def test_workers_of_two_machines_on_sqlite_are_a_problem(
    installed: Settings, center: Center, right_now: datetime
) -> None:
    _beat(center.database, right_now, owner="b", host="box-2")
    findings = examine(installed, now=right_now)
    if center.database.is_sqlite:
        assert _only(findings, "box-1, box-2").level == Level.PROBLEM
    else:
        assert not any("SQLite" in finding.what for finding in findings)


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("change", "said", "level"),
    [
        (lambda s: replace(s, public_url="http://status.example.com"), "without encryption", Level.WARNING),
        (lambda s: replace(s, public_url="https://127.0.0.1"), "only this machine", Level.WARNING),
        (lambda s: replace(s, public_url="https://localhost"), "only this machine", Level.WARNING),
        (lambda s: replace(s, trusted_proxies=0), "all visitors look like one", Level.WARNING),
        (lambda s: replace(s, email_urls=()), "chose e-mail are not written to", Level.WARNING),
        (lambda s: replace(s, sms_urls=()), "chose SMS are not written to", Level.WARNING),
        (lambda s: replace(s, staff_urls=()), "Nobody is reminded", Level.WARNING),
        (lambda s: replace(s, email_urls=("smtp://",)), "INCIDENT_CENTER_EMAIL_URLS, entry 1", Level.PROBLEM),
    ],
)
def test_each_odd_setting_is_found(
    installed: Settings, change: Callable[[Settings], Settings], said: str, level: Level
) -> None:
    assert _only(examine(change(installed)), said).level == level


def test_a_data_folder_that_cannot_be_written_to_is_a_problem(settings: Settings) -> None:
    found = _only(examine(replace(settings, data_dir=Path("/proc/nowhere"))), "cannot be written to")
    assert found.level == Level.PROBLEM


@pytest.mark.one_database
def test_a_playbook_with_a_fault_is_told_with_its_line(installed: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "playbooks"
    folder.mkdir()
    (folder / "odd.yaml").write_text("title: {en: A, de: B}\ncolour: red\n", encoding="utf-8")
    findings = examine(replace(installed, playbooks_dir=folder))
    assert any(f.what.startswith("odd.yaml:2: ") and f.level == Level.PROBLEM for f in findings)


def test_a_playbook_that_ticks_what_does_not_exist_is_a_warning(installed: Settings, center: Center) -> None:
    with center.database.transaction() as session:
        a_component(session, "sepa-instant").key = "renamed"
    findings = [f for f in examine(installed) if "components that do not exist: sepa-instant" in f.what]
    assert findings
    assert {finding.level for finding in findings} == {Level.WARNING}


def test_nobody_to_lead_is_a_warning(installed: Settings, center: Center) -> None:
    with center.database.transaction() as session:
        session.query(Staff).one().active = False
    assert _only(examine(installed), "Nobody can sign in").level == Level.WARNING


def test_secrets_are_not_told(installed: Settings) -> None:
    odd = replace(installed, email_urls=("smtp://ic:hunter2@mail?optional=yes",))
    told = " ".join(finding.what + finding.what_to_do for finding in examine(odd))
    assert "hunter2" not in told
    assert installed.secret_key not in told


def _only(findings: list[Finding], said: str) -> Finding:
    matching = [finding for finding in findings if said in finding.what]
    assert len(matching) == 1, [finding.what for finding in findings]
    return matching[0]


def _beat(database: Database, at: datetime, *, owner: str = "a", host: str = "box-1") -> None:
    with database.transaction() as session:
        session.merge(WorkerBeat(owner=owner, host=host, started_at=at, beat_at=at, note=""))


def _set_for_the_database(database: Database, name: str, value: str) -> None:
    if not database.is_sqlite:
        with database.transaction() as session:
            session.execute(text(f'ALTER DATABASE "{database.url.database}" SET {name} = {value}'))


def _stamp(database: Database, revision: str) -> None:
    """The fixtures make tables from the models; this writes down which migration that amounts to."""
    with database.transaction() as session:
        session.execute(text("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL)"))
        session.execute(text("DELETE FROM alembic_version"))
        session.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": revision})


def _an_open_promise(database: Database, now: datetime) -> None:
    with database.transaction() as session:
        incident = an_incident(session)
        update = Update(
            incident_id=incident.id, number=1, kind=UpdateKind.UPDATE, phase=Phase.INVESTIGATING, words={},
            published_at=now, published_by=LEAD,
        )  # fmt: skip
        session.add(update)
        session.flush()
        session.add(
            Promise(
                incident_id=incident.id, update_id=update.id, made_at=now, due_at=now, state=PromiseState.OPEN
            )
        )
