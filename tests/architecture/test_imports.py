"""The layout's rules, read from the source: imports go down only, and each border is crossed in one place.

DESIGN: web, integrations, cli, worker → incidents, audience, staff, insights → delivery → models → db → clock, config.
"""

from collections import defaultdict

import pytest

from tests.architecture.source import PACKAGE, TOP_LEVEL, Source, package_sources

# Lowest first. A file may import its own layer and those below it.
LAYERS = (
    ("pure", {"clock", "states", "errors", "playbooks"}),
    ("configuration", {"config", "house", "logs"}),
    ("database", {"exchange", "drivers", "db"}),
    ("tables", {"models", "schema", "center"}),
    ("delivery", {"delivery"}),
    ("rooms", {"incidents", "audience", "staff", "insights"}),
    ("borders", {"web", "integrations", "worker", "beats", "spread", "doctor"}),
    (
        "entrances",
        {
            "",
            "application",
            "serving",
            "demo",
            "cli",
            "cli_bounces",
            "cli_subscribers",
            "cli_tokens",
            "cli_workers",
            "__main__",
        },
    ),
)
RANK = defaultdict(
    lambda: len(LAYERS) - 1, {room: rank for rank, (_, rooms) in enumerate(LAYERS) for room in rooms}
)
MAY_IMPORT_WEB = {"application"}  # the only wiring
PURE = {"clock", "states", "errors", "playbooks"}
FRAMEWORKS = {"flask", "sqlalchemy", "werkzeug", "apprise", "celery"}
SOURCES = package_sources()


def test_every_room_has_its_layer() -> None:
    unknown = sorted({source.room for source in SOURCES} - RANK.keys())
    assert not unknown, f"say in LAYERS where {unknown} belongs"


def test_imports_go_down_only() -> None:
    wrong = [
        f"{source.where}:{line}: {source.room or PACKAGE} ({_layer(source.room)}) may not import"
        f" {room} ({_layer(room)}), which lies above it"
        for source in SOURCES
        for room, line in _own_imports(source)
        if RANK[room] > RANK[source.room] and not _lazy_factory(source, room)
    ]
    assert not wrong, "\n".join(wrong)


def test_nobody_imports_web() -> None:
    wrong = [
        f"{source.where}:{line}: pages stand at the very top; move what you need into a room"
        for source in SOURCES
        for room, line in _own_imports(source)
        if room == "web" and source.room not in MAY_IMPORT_WEB | {"web"}
    ]
    assert not wrong, "\n".join(wrong)


def test_pure_files_know_no_framework() -> None:
    wrong = [
        f"{source.where}:{item.line}: imports {item.name}; rules take plain values and `now`"
        for source in SOURCES
        if source.room in PURE or source.path.name == "rules.py"
        for item in source.imports
        if item.library in FRAMEWORKS or item.name.startswith((TOP_LEVEL + "db", TOP_LEVEL + "models"))
    ]
    assert not wrong, "\n".join(wrong)


def test_tables_know_no_rules() -> None:
    allowed = {"db", "states", "models"}
    wrong = [
        f"{source.where}:{line}: tables only; {room} does not belong here"
        for source in SOURCES
        if source.room == "models"
        for room, line in _own_imports(source)
        if room not in allowed
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("libraries", "rooms", "reason"),
    [
        ({"apprise"}, {"delivery"}, "the courier is the only door to the providers"),
        ({"dotenv"}, {"config"}, "config.py is the only reader of the environment"),
        (
            {"celery", "kombu"},
            {"spread"},
            "the broker only wakes and spreads; the ledger knows nothing of it",
        ),
        ({"alembic"}, {"schema"}, "schema.py is the only place that migrates"),
        ({"ruamel"}, {"playbooks", "demo"}, "content files are read strictly, with their lines"),
        ({"smtplib", "requests", "http.client", "urllib.request"}, {"delivery"}, "only delivery goes out"),
        ({"incident_center.demo"}, {"demo", "cli"}, "the demo is a guest in its own house"),
    ],
)
def test_a_library_is_imported_in_its_room_alone(libraries: set[str], rooms: set[str], reason: str) -> None:
    wrong = [
        f"{source.where}:{item.line}: imports {item.name}: {reason}"
        for source in SOURCES
        if source.room not in rooms
        for item in source.imports
        if any(item.name == library or item.name.startswith(library + ".") for library in libraries)
    ]
    assert not wrong, "\n".join(wrong)


def _own_imports(source: Source) -> list[tuple[str, int]]:
    """Rooms of our own package that the file imports, with the line."""
    found = []
    for item in source.imports:
        if item.library == PACKAGE:
            room = item.name.removeprefix(PACKAGE).removeprefix(".").partition(".")[0]
            found.append((room if room in RANK else "", item.line))
    return found


def _lazy_factory(source: Source, room: str) -> bool:
    """`create_app` reaches for the application when it is called, not when the package is imported."""
    return source.module == "" and room == "application"


def _layer(room: str) -> str:
    return LAYERS[RANK[room]][0]
