"""What is installed is whole: the wheel brings playbooks, words, templates and migrations, and runs by itself."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.architecture.source import ROOT

SETTINGS = {
    "INCIDENT_CENTER_SECRET_KEY": "only-for-tests-" * 4,
    "INCIDENT_CENTER_PUBLIC_URL": "https://status.example.com",
    "INCIDENT_CENTER_COMPANY": "Example Pay",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, unpacked far from the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def run(installed: Path, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A command of the installed product, from a folder that knows nothing of the checkout."""
    return subprocess.run(
        [sys.executable, "-m", "incident_center", *arguments],
        cwd=folder, env={**os.environ, **SETTINGS, "PYTHONPATH": str(installed)},
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False,
    )  # fmt: skip


def test_the_wheel_brings_every_file_that_the_product_reads(installed: Path) -> None:
    for name in ("playbooks", "templates", "migrations"):
        ours = {path.relative_to(ROOT) for path in (ROOT / name).rglob("*") if _belongs(path)}
        packed = installed / "incident_center" / "data"
        assert ours == {path.relative_to(packed) for path in (packed / name).rglob("*") if _belongs(path)}


def test_the_installed_product_makes_its_database_and_finds_its_words(
    installed: Path, tmp_path: Path
) -> None:
    where = "import incident_center; print(incident_center.__file__)"
    told = subprocess.run(
        [sys.executable, "-c", where], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout.startswith(str(installed)), "this test would try the checkout"
    upgraded = run(installed, tmp_path, "db", "upgrade")
    assert (upgraded.returncode, upgraded.stdout.startswith("upgraded: 0001")) == (0, True), upgraded.stderr
    assert (tmp_path / "var" / "incident-center.db").exists()
    checked = run(installed, tmp_path, "playbooks", "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def _belongs(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts
