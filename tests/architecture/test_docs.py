"""What the documents tell people to do can be done: commands, targets, settings and links exist."""

import re
from pathlib import Path

import click
import pytest

from incident_center.cli import cli
from incident_center.config import NAMES, PREFIX
from tests.architecture.source import ROOT, package_sources

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=_id)
def test_every_command_exists(document: Path) -> None:
    for words in _written(document, r"(?<![\w/-])incident-center((?: [a-z-]+)*)"):
        command: click.Command = cli
        for word in words.split():
            if word.startswith("-") or not isinstance(command, click.Group):
                break  # options and arguments
            assert word in command.commands, f"{_id(document)}: there is no `incident-center{words}`"
            command = command.commands[word]


@pytest.mark.parametrize("document", DOCUMENTS, ids=_id)
def test_every_option_exists(document: Path) -> None:
    for line in _written(document, r"(?<![\w/-])incident-center( [a-z-]+[^\n`#|&]*)"):
        command: click.Command = cli
        for word in line.split():
            if isinstance(command, click.Group) and word in command.commands:
                command = command.commands[word]
            elif word.startswith("--"):
                known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
                assert word.partition("=")[0] in known, f"{_id(document)}: incident-center{line}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=_id)
def test_every_make_target_exists(document: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for target in _written(document, r"(?<![\w-])make ([a-z]+)"):
        assert target in targets, f"{_id(document)}: there is no `make {target}`"


@pytest.mark.parametrize("document", DOCUMENTS, ids=_id)
def test_every_setting_exists(document: Path) -> None:
    for name in set(re.findall(PREFIX + r"([A-Z_]+[A-Z])", document.read_text(encoding="utf-8"))):
        known = name.removesuffix("_FILE") in NAMES or name.startswith("TEST_") or PREFIX + name == PREFIX
        assert known, f"{_id(document)}: there is no setting {PREFIX}{name}"


def test_every_setting_is_described() -> None:
    described = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    missing = [PREFIX + name for name in NAMES if PREFIX + name not in described]
    assert not missing, f"docs/settings.md does not say what {missing} mean"


@pytest.mark.parametrize("document", DOCUMENTS, ids=_id)
def test_every_link_to_a_file_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", CODE.sub("", document.read_text(encoding="utf-8"))):
        path = target.partition("#")[0]
        if path and "://" not in target and not target.startswith("mailto:"):
            assert (document.parent / path).exists(), f"{_id(document)} links to {target}"


def test_every_document_that_the_source_names_exists() -> None:
    lost = [
        f"{source.where} names {name}"
        for source in package_sources()
        for name in re.findall(r"docs/[a-z0-9/_-]+\.md", source.text)
        if not (ROOT / name).exists()
    ]
    assert not lost, "\n".join(lost)


def _written(document: Path, pattern: str) -> list[str]:
    """What stands in code blocks and in `code`."""
    return [
        found
        for code in CODE.findall(document.read_text(encoding="utf-8"))
        for found in re.findall(pattern, code)
    ]
