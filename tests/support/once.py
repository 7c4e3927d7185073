"""Thousands of tests build hundreds of applications and as many engines in one process. What is the same in all of them
is made once: a page's template, what werkzeug makes of a URL's rule, the SQL of a statement. More than a quarter of the
suite's processor time went there and into looking through what stays for what could go."""

from __future__ import annotations

import gc
from typing import Any

from flask import Flask
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from sqlalchemy import Connection, Engine, event
from sqlalchemy.orm import Mapper
from werkzeug.routing import Rule

_OBJECTS_BETWEEN_LOOKS = 20_000  # Python's own 700 is for programs with little in memory


class _Pages(BytecodeCache):
    """Jinja asks it with a template's name and its source's checksum."""

    def __init__(self) -> None:
        self._compiled: dict[tuple[str, str], bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        compiled = self._compiled.get((bucket.key, bucket.checksum))
        if compiled is not None:
            bucket.bytecode_from_string(compiled)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._compiled[bucket.key, bucket.checksum] = bucket.bytecode_to_string()


class _Rule(Rule):
    """What writes a rule's URLs is a function that werkzeug compiles, and that asks its rule for everything else."""

    _written: dict[object, Any] = {}  # noqa: RUF012 (all of them share it)

    def _compile_builder(self, append_unknown: bool = True) -> Any:
        if self.defaults:
            return super()._compile_builder(append_unknown)
        key = (self.rule, tuple(self._trace), append_unknown)
        if key not in self._written:
            self._written[key] = super()._compile_builder(append_unknown)
        return self._written[key]


class _Statements(dict[Any, Any]):
    """SQLAlchemy's cache of compiled statements, for all engines of a kind; it asks with an engine's own dialect."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_of_its_kind(key), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(_of_its_kind(key), value)


def _of_its_kind(key: Any) -> Any:
    dialect, *rest = key
    return (dialect.name, dialect.paramstyle, *rest)


def make_once() -> None:
    """For all that this process builds from now on."""
    Flask.jinja_options = {**Flask.jinja_options, "bytecode_cache": _Pages()}
    Flask.url_rule_class = _Rule
    statements = _Statements()
    Mapper._compiled_cache = statements  # type: ignore[assignment]  # what a flush uses

    @event.listens_for(Engine, "engine_connect")
    def share(connection: Connection) -> None:
        connection.execution_options(compiled_cache=statements)


def keep_what_is_loaded() -> None:
    """Modules and collected tests stay to the end: nobody need look through them for garbage."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_LOOKS, 20, 100)
