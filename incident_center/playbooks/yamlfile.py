"""Read a YAML 1.2 file into plain data and keep the line of every key and list item.

Only maps, lists, texts and whole numbers: no tags, aliases or merge keys, so a file says what it seems to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

Path = tuple[str | int, ...]

_STR, _INT = "tag:yaml.org,2002:str", "tag:yaml.org,2002:int"
_MAP, _SEQ = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"
_WHOLE_NUMBER = re.compile(r"-?[0-9]+")


class Problem(NamedTuple):
    """What is wrong and where. `line` counts from 1; str() gives "file:line: message"."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


class ContentErrors(ValueError):
    """Content files that may not be used. `problems` holds all that was found, in order of file and line."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass
class Document:
    """One file: its data, the line of each path and the problems found so far."""

    file: str
    data: object = None
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """The line of `path`, or of the nearest thing around it that the file has."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def problem(self, path: Path, message: str) -> None:
        self.problems.append(Problem(self.file, self.line(path), message))


def read_document(path: FilePath, *, file: str) -> Document:
    """Read one file; whatever is wrong with it stands in `.problems`, under the name `file`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        return Document(file, problems=[Problem(file, 1, "the file is not UTF-8; save it as UTF-8")])
    except OSError as error:
        return Document(file, problems=[Problem(file, 1, f"the file cannot be read: {error.strerror}")])
    return parse_document(text, file=file)


def parse_document(text: str, *, file: str) -> Document:
    """The document of a YAML text; see `read_document`."""
    document = Document(file)
    try:
        node = YAML(typ="safe", pure=True).compose(text)
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        document.problems.append(Problem(file, line, "a character that YAML does not allow; remove it"))
    except MarkedYAMLError as error:
        document.problems.append(_syntax_problem(file, error))
    except YAMLError as error:
        document.problems.append(Problem(file, 1, f"not YAML: {error}"))
    except RecursionError:
        document.problems.append(Problem(file, 1, "maps and lists stand too deep in one another"))
    else:
        if node is None:
            document.problems.append(Problem(file, 1, "the file is empty"))
        else:
            document.lines[()] = node.start_mark.line + 1
            document.data = _Reader(document).value(node, ())
    return document


def _syntax_problem(file: str, error: MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    what = " ".join(str(part) for part in (error.context, error.problem) if part)
    return Problem(file, mark.line + 1 if mark else 1, f"not YAML: {what}")


class _Reader:
    """Turns nodes into data. A node met twice is an alias."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.seen: set[int] = set()

    def value(self, node: Node, path: Path) -> object:
        if id(node) in self.seen:
            self.document.problem(path, "aliases (*name) are not read here; write the text out")
            return None
        self.seen.add(id(node))
        if isinstance(node, MappingNode) and str(node.tag) == _MAP:
            return self._map(node, path)
        if isinstance(node, SequenceNode) and str(node.tag) == _SEQ:
            return [self._item(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        self.document.problem(path, f"the tag {node.tag} is not read here; remove it")
        return None

    def _item(self, node: Node, path: Path) -> object:
        self.document.lines[path] = node.start_mark.line + 1
        return self.value(node, path)

    def _map(self, node: MappingNode, path: Path) -> dict[str, object]:
        data: dict[str, object] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value
            if not isinstance(key_node, ScalarNode) or str(key_node.tag) != _STR:
                self._at(line, f"the key {_shown(key)} is not a text; put it in quotes")
            elif key in data:
                first = self.document.lines[(*path, key)]
                self._at(line, f"the key “{key}” stands here a second time; it is on line {first} already")
            else:
                self.document.lines[(*path, key)] = line
                data[key] = self.value(value_node, (*path, key))
        return data

    def _scalar(self, node: ScalarNode) -> object:
        tag, text = str(node.tag), str(node.value)
        if tag == _STR:
            return text
        if tag == _INT and _WHOLE_NUMBER.fullmatch(text):
            return int(text)
        if tag.endswith(":null"):
            return None
        self._at(
            node.start_mark.line + 1,
            f"“{text}” would be read as {tag.rpartition(':')[2]}; put it in quotes",
        )
        return None

    def _at(self, line: int, message: str) -> None:
        self.document.problems.append(Problem(self.document.file, line, message))


def _shown(key: object) -> str:
    return f"“{key}”" if isinstance(key, str) else "here"
