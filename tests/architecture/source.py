"""The package's source as trees: what each file imports, calls and defines."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGE = "incident_center"
TOP_LEVEL = PACKAGE + "."


@dataclass(frozen=True)
class Import:
    """`name` is the whole dotted name that is reached: a module, or something in one."""

    name: str
    line: int

    @property
    def library(self) -> str:
        return self.name.partition(".")[0]


@dataclass(frozen=True)
class Source:
    path: Path

    @property
    def where(self) -> str:
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, str(self.path))

    @cached_property
    def module(self) -> str:
        """Dotted name below the package: "delivery.composer", "db", "" for the package itself."""
        parts = self.path.relative_to(ROOT / PACKAGE).with_suffix("").parts
        return ".".join(part for part in parts if part != "__init__")

    @property
    def room(self) -> str:
        """The first part of the name: "delivery", "db"."""
        return self.module.partition(".")[0]

    @cached_property
    def imports(self) -> list[Import]:
        return list(self._imports())

    def calls(self) -> Iterator[tuple[str, int]]:
        """Dotted names that are called, with their lines: ("session.commit", 12)."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield dotted(node.func), node.lineno

    def names(self) -> Iterator[tuple[str, int]]:
        """Dotted names that are read anywhere, called or not."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute | ast.Name):
                yield dotted(node), node.lineno

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node

    def _imports(self) -> Iterator[Import]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(alias.name, node.lineno)
            elif isinstance(node, ast.ImportFrom):
                origin = self._origin(node)
                for alias in node.names:
                    yield Import(f"{origin}.{alias.name}", node.lineno)

    def _origin(self, node: ast.ImportFrom) -> str:
        """The module of a `from … import`, with the dots of a relative one resolved."""
        if not node.level:
            return node.module or ""
        package = [PACKAGE, *self.path.relative_to(ROOT / PACKAGE).parent.parts]
        above = package[: len(package) - node.level + 1]
        return ".".join([*above, *([node.module] if node.module else [])])


def dotted(node: ast.expr) -> str:
    """`a.b.c` as text; what is not a plain name becomes "…", as in "….commit"."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return "…"


def package_sources() -> list[Source]:
    return [Source(path) for path in sorted((ROOT / PACKAGE).rglob("*.py"))]
