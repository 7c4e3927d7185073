"""Conventions that a reader relies on: one clock, one committer, one reader of the environment, short files."""

import re
from collections.abc import Callable

import pytest

from tests.architecture.source import Source, package_sources

FILE_LINES = 300
FUNCTION_LINES = 50
SOURCES = package_sources()


def _ends(*endings: str) -> Callable[[str], bool]:
    return lambda name: any(name == ending or name.endswith("." + ending) for ending in endings)


@pytest.mark.parametrize(
    ("calls", "home", "instead"),
    [
        (_ends("commit"), "db", "open Database.transaction() at the edge; verbs never commit"),
        (
            _ends("datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time"),
            "clock",
            "take now= from the caller, or clock.now() at the edge",
        ),
        (
            _ends("func.now", "func.current_timestamp", "func.localtimestamp"),
            "db",
            "pass now=: tests stop the clock, and databases have zones of their own",
        ),
        (_ends("getenv"), "config", "add a setting to config.py"),
    ],
    ids=["commit", "clock", "database clock", "environment"],
)
def test_a_call_stands_in_its_one_place(calls: Callable[[str], bool], home: str, instead: str) -> None:
    wrong = [
        f"{source.where}:{line}: {name}(): {instead}"
        for source in SOURCES
        if source.module != home
        for name, line in source.calls()
        if calls(name)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_environment_is_read_in_one_place() -> None:
    wrong = [
        f"{source.where}:{line}: {name}: add a setting to config.py"
        for source in SOURCES
        if source.module != "config"
        for name, line in source.names()
        if name in {"os.environ", "environ", "os.environb"}
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.where)
def test_files_are_short(source: Source) -> None:
    lines = source.text.count("\n")
    assert lines <= FILE_LINES, f"{source.where} has {lines} lines; split it by nouns (at most {FILE_LINES})"


def test_functions_are_short() -> None:
    wrong = [
        f"{source.where}:{function.lineno}: {function.name} has {length} lines (at most {FUNCTION_LINES})"
        for source in SOURCES
        for function in source.functions()
        if (length := (function.end_lineno or 0) - function.lineno + 1) > FUNCTION_LINES
    ]
    assert not wrong, "\n".join(wrong)


def test_every_exception_from_the_linters_gives_its_reason() -> None:
    silent = re.compile(r"#\s*(noqa(:\s*[A-Z0-9, ]+)?|type:\s*ignore(\[[a-z-, ]+\])?)\s*$")
    wrong = [
        f"{source.where}:{number}: say why behind it: {line.strip()[-60:]}"
        for source in SOURCES
        for number, line in enumerate(source.text.splitlines(), start=1)
        if silent.search(line)
    ]
    assert not wrong, "\n".join(wrong)


def test_long_argument_lists_after_the_session_are_keywords() -> None:
    """publish_update(session, *, …): a swapped argument is an error, not a wrong incident."""
    wrong = [
        f"{source.where}:{function.lineno}: {function.name}: write `session, *, …`"
        for source in SOURCES
        if source.room in {"incidents", "audience", "staff", "insights"}
        for function in source.functions()
        if not function.name.startswith("_")
        and len(function.args.args) > 3
        and function.args.args[0].arg == "session"
    ]
    assert not wrong, "\n".join(wrong)


def test_no_work_is_left_as_a_note() -> None:
    note = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    wrong = [
        f"{source.where}:{number}: {line.strip()}"
        for source in SOURCES
        for number, line in enumerate(source.text.splitlines(), start=1)
        if note.search(line)
    ]
    assert not wrong, "\n".join(wrong)
