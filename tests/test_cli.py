"""The command line as an operator uses it, in an empty folder with nothing but the environment."""

import csv
import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from incident_center import serving
from tests.support.commands import command

Run = Callable[..., "subprocess.CompletedProcess[str]"]
GOOD = {
    "INCIDENT_CENTER_SECRET_KEY": "k" * 48,
    "INCIDENT_CENTER_PUBLIC_URL": "https://status.example.com",
    "INCIDENT_CENTER_COMPANY": "Example Pay",
    "INCIDENT_CENTER_EMAIL_URLS": "smtp://127.0.0.1:9?from=status@example.com",
}


@pytest.fixture
def environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("INCIDENT_CENTER_")} | GOOD


@pytest.fixture
def run(tmp_path: Path, environment: dict[str, str]) -> Run:
    def run(*words: str, typed: str | None = None, **more: str) -> "subprocess.CompletedProcess[str]":
        return command(*words, folder=tmp_path, environment=environment | more, typed=typed)

    return run


def test_a_missing_setting_is_named_with_what_to_do(run: Run) -> None:
    told = run("db", "upgrade", INCIDENT_CENTER_SECRET_KEY="")
    assert told.returncode == 1
    assert "INCIDENT_CENTER_SECRET_KEY: is missing; make one with" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_worker_on_an_empty_database_says_what_to_run(run: Run) -> None:
    told = run("worker")
    assert told.returncode == 1
    assert "incident-center db upgrade" in told.stderr


def test_an_installation_is_set_up_from_nothing(run: Run) -> None:
    assert run("db", "upgrade").returncode == 0
    assert run("db", "upgrade").stdout == "up to date\n"
    added = run(
        "components", "add", "--key", "sepa", "--name", "en=SEPA payouts", "--name", "de=SEPA-Auszahlungen"
    )
    assert added.stdout == "component 1: sepa\n"
    twice = run(
        "components", "add", "--key", "sepa", "--name", "en=SEPA payouts", "--name", "de=SEPA-Auszahlungen"
    )
    assert (twice.returncode, "key: There is a component with this key already." in twice.stderr) == (1, True)
    person = run("staff", "add", "--email", "lead@example.com", "--name", "Kim", "--role", "lead")
    assert re.fullmatch(r"e-mail: lead@example\.com\npassword: \S{12,}\n", person.stdout)
    token = run("token", "add", "--name", "bot", "--role", "lead", "--days", "30")
    assert re.match(r"token: ic_\S{40,}\nexpires: \d{4}-\d\d-\d\d\n", token.stdout)


def test_subscribers_go_in_and_out_as_csv_and_bad_lines_are_told_by_number(run: Run) -> None:
    run("db", "upgrade")
    rows = (
        "email,phone,language,zone,name\n"
        "o'brien+payout@example.com,,en,Europe/Dublin,Olivia\n"
        '"a@x.example,b@x.example",,en,Europe/Berlin,Two\n'
        ",+4915112345678,de,Europe/Berlin,\n"
        "not an address,,en,Europe/Berlin,\n"
    )
    told = run("subscribers", "import", "--confirmed", "-", typed=rows)
    assert told.returncode == 2
    assert "taken: 2" in told.stdout
    assert [line.split(":")[0] for line in told.stderr.splitlines()] == ["line 3", "line 5"]
    exported = run("subscribers", "export")
    found = list(csv.DictReader(io.StringIO(exported.stdout)))
    assert [row["email"] or row["phone"] for row in found] == ["o'brien+payout@example.com", "+4915112345678"]
    again = run("subscribers", "import", "--confirmed", "-", typed=exported.stdout)
    assert (again.returncode, "known already: 2" in again.stdout) == (0, True)


def test_doctor_tells_what_is_wrong_and_fails(run: Run) -> None:
    told = run("doctor")
    assert told.returncode == 1
    assert "PROBLEM" in told.stdout
    assert "db upgrade" in told.stdout


def test_playbooks_are_checked_with_file_and_line(run: Run, tmp_path: Path) -> None:
    assert run("playbooks", "check").returncode == 0
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "odd.yaml").write_text("title: {en: A, de: B}\ncolour: red\n", encoding="utf-8")
    told = run("playbooks", "check", str(folder))
    assert told.returncode == 1
    assert re.search(r"^odd\.yaml:2: .*colour", told.stdout, re.MULTILINE)


def test_the_folder_of_the_settings_is_the_one_that_is_checked(run: Run, tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text("title: {en: A, de: B}\ncolour: red\n", encoding="utf-8")
    told = run("playbooks", "check", INCIDENT_CENTER_PLAYBOOKS_DIR=str(tmp_path))
    assert (told.returncode, "colour" in told.stdout) == (1, True)
    told = run("playbooks", "check", INCIDENT_CENTER_PLAYBOOKS_DIR=str(tmp_path / "gone"))
    assert told.returncode == 1
    assert "INCIDENT_CENTER_PLAYBOOKS_DIR" in told.stderr


def test_tokens_are_listed_and_end_when_they_are_revoked(run: Run) -> None:
    assert run("db", "upgrade").returncode == 0
    plain = run("token", "add", "--name", "bot", "--role", "viewer").stdout
    listed = run("token", "list").stdout
    assert listed.split("\t")[:3] == ["1", "bot", "viewer"]
    assert plain.split()[1] not in listed
    assert run("token", "revoke", "1").stdout == "revoked: bot\n"
    assert run("token", "list").stdout == ""
    told = run("token", "revoke", "7")
    assert told.returncode == 1
    assert "no token 7" in told.stderr


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _healthy(port: int, within: float) -> bool:
    until = time.monotonic() + within
    while time.monotonic() < until:
        connection = HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return True
        except OSError:
            time.sleep(0.1)
        finally:
            connection.close()
    return False


@pytest.fixture
def started(tmp_path: Path, environment: dict[str, str]) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    running: list[subprocess.Popen[str]] = []

    def start(*words: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "incident_center", *words],
            cwd=tmp_path,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_serve_with_worker_answers_and_ends_with_its_worker_on_sigterm(
    run: Run, started: Callable[..., "subprocess.Popen[str]"]
) -> None:
    run("db", "upgrade")
    port = _free_port()
    process = started("serve", "--port", str(port), "--processes", "1", "--with-worker")
    assert _healthy(port, 30)
    until = time.monotonic() + 20
    while "ok       a worker" not in (said := run("doctor").stdout.lower()) and time.monotonic() < until:
        time.sleep(0.5)
    assert "worker" in said
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 0
    assert '"event": "worker_stopped"' in log


def test_a_worker_ends_on_sigterm_within_seconds(
    run: Run, started: Callable[..., "subprocess.Popen[str]"]
) -> None:
    run("db", "upgrade")
    process = started("worker")
    assert process.stderr is not None
    assert '"event": "worker_started"' in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 0
    assert '"event": "worker_stopped"' in log


def test_the_worker_beside_the_pages_is_known_before_the_server_forks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise a forked process may keep it unknown, and it is not told to end."""
    told: list[object] = []
    ended = threading.Event()

    class Child:
        def __init__(self, _: list[str]) -> None:
            told.append(threading.current_thread() is threading.main_thread())

        def poll(self) -> None:
            return None

        def wait(self) -> int:
            ended.wait(20)
            return 0

        def terminate(self) -> None:
            told.append("ended")
            ended.set()

    monkeypatch.setattr("incident_center.serving.subprocess.Popen", Child)
    beside = serving.WorkerBeside()
    beside.start()
    beside.end()
    assert told == [True, "ended"]
