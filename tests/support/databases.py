"""A fresh database with the whole schema for each test, copied from a template that is built once."""

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import incident_center.models  # noqa: F401 (fills Base.metadata)
from incident_center.db import Base, Database
from tests.support.postgres import PostgresServer

_numbers = itertools.count()


class Templates:
    """Where a test's database comes from; one for each process: a template must be at rest when copied."""

    def __init__(self, folder: Path, server: PostgresServer) -> None:
        self.folder = folder
        self.server = server
        self._sqlite: Path | None = None
        self._postgres: str | None = None

    @contextmanager
    def url(self, kind: str, folder: Path, *, empty: bool = False) -> Iterator[str]:
        """URL of a new database of kind sqlite or postgres; without tables when `empty`."""
        if kind == "sqlite":
            path = folder / "incident-center.db"
            if not empty:
                shutil.copyfile(self._sqlite_template(), path)
            yield f"sqlite:///{path}"
            return
        name = f"ic_{os.getpid()}_{next(_numbers)}"
        url = self.server.create(name, template="template1" if empty else self._postgres_template())
        try:
            yield url
        finally:
            self.server.drop(name)

    def close(self) -> None:
        if self._postgres:
            self.server.drop(self._postgres)

    def _sqlite_template(self) -> Path:
        if self._sqlite is None:
            path = self.folder / "template.db"
            _create_all(f"sqlite:///{path}")
            self._sqlite = path
        return self._sqlite

    def _postgres_template(self) -> str:
        if self._postgres is None:
            name = f"ic_{os.getpid()}_template"
            _create_all(self.server.create(name))
            self._postgres = name
        return self._postgres


def _create_all(url: str) -> None:
    database = Database(url)
    Base.metadata.create_all(database.engine)
    database.dispose()
