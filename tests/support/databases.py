"""A fresh database with the whole schema for each test, copied from a template that is built once.

On PostgreSQL a copy and its end cost a fifth of a second. So one that has been used is emptied for the next test,
unless more than its rows has changed.
"""

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import incident_center.models  # noqa: F401 (fills Base.metadata)
from incident_center.db import Base, Database
from tests.support.postgres import PostgresServer, Shape

_numbers = itertools.count()


class Templates:
    """Where a test's database comes from; one for each process: a template must be at rest when copied."""

    def __init__(self, folder: Path, server: PostgresServer) -> None:
        self.folder = folder
        self.server = server
        self._sqlite: Path | None = None
        self._postgres: str | None = None
        self._as_new: Shape | None = None
        self._free: list[str] = []

    @contextmanager
    def url(self, kind: str, folder: Path, *, empty: bool = False) -> Iterator[str]:
        """URL of a new database of kind sqlite or postgres; without tables when `empty`."""
        if kind == "sqlite":
            path = folder / "incident-center.db"
            if not empty:
                shutil.copyfile(self._sqlite_template(), path)
            yield f"sqlite:///{path}"
            return
        name = self._free.pop() if self._free and not empty else self._new(empty=empty)
        try:
            yield self.server.url(name)
        finally:
            self._take_back(name, again=not empty)

    def close(self) -> None:
        for name in (*self._free, *([self._postgres] if self._postgres else [])):
            self.server.drop(name)

    def _take_back(self, name: str, *, again: bool) -> None:
        """Under another name: a thread that the test has left behind must not find the next one's database."""
        fresh = _name()
        if again and self.server.emptied(name, self._as_new) and self.server.renamed(name, fresh):
            self._free.append(fresh)
        else:
            self.server.drop(name)

    def _new(self, *, empty: bool) -> str:
        name = _name()
        self.server.create(name, template="template1" if empty else self._postgres_template())
        if not empty and self._as_new is None:
            self._as_new = self.server.shape(name)
        return name

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


def _name() -> str:
    return f"ic_{os.getpid()}_{next(_numbers)}"


def _create_all(url: str) -> None:
    database = Database(url)
    Base.metadata.create_all(database.engine)
    database.dispose()
