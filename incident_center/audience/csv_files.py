"""Subscribers as CSV: read line by line, so that a file may be larger than memory, and written the same way.

Columns: email, phone, channel, fallback, language, zone, name, form, components. The first line names them, in any
order; comma, semicolon or tab separate. Components are keys separated by blanks; empty means all of them. `fallback`
is yes where the channel that is not preferred may be used when the preferred one fails.
"""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from incident_center.errors import Flaw, Refused

COLUMNS = ("email", "phone", "channel", "fallback", "language", "zone", "name", "form", "components")
_CELL_MAX = 1000
_FORMULA = "=+-@"  # a spreadsheet would run what begins like this


@dataclass(frozen=True)
class Line:
    """One line of the file, 1 being the first. `cells` is empty where the line itself could not be read."""

    number: int
    cells: dict[str, str]
    flaw: Flaw | None = None


def open_csv(stream: BinaryIO) -> Iterator[Line]:
    """Lines of a UTF-8 file. Refuses a file whose first line does not name the columns: file.empty,
    file.no_address_column, file.unknown_column, file.repeated_column."""
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    first = text.readline()
    delimiter = max(",;\t", key=first.count)
    names = [name.strip().lower() for name in next(csv.reader([first], delimiter=delimiter), [])]
    _check_names(names)
    return _lines(text, names, delimiter)


def write_csv(rows: Iterable[dict[str, str]]) -> Iterator[str]:
    """The file's lines, the first with the columns' names."""
    yield _written(COLUMNS)
    for row in rows:
        yield _written([_defused(name, row.get(name, "")) for name in COLUMNS])


def _lines(text: io.TextIOWrapper, names: list[str], delimiter: str) -> Iterator[Line]:
    reader = csv.reader(text, delimiter=delimiter)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Line(reader.line_num + 1, {}, Flaw("line", "line.unreadable", f"cannot be read: {error}"))
            continue
        if any(cell.strip() for cell in cells):
            yield _line(reader.line_num + 1, names, cells)


def _line(number: int, names: list[str], cells: list[str]) -> Line:
    if len(cells) != len(names):
        message = f"has {len(cells)} cells where the first line names {len(names)}"
        return Line(number, {}, Flaw("line", "line.cells", message))
    if any(len(cell) > _CELL_MAX for cell in cells):
        return Line(number, {}, Flaw("line", "line.too_long", "has a cell that is far too long"))
    if any("\udc80" <= letter <= "\udcff" for cell in cells for letter in cell):
        return Line(number, {}, Flaw("line", "line.encoding", "is not UTF-8; save the file as UTF-8"))
    return Line(number, {name: _fused(cell.strip()) for name, cell in zip(names, cells, strict=True)})


def _check_names(names: list[str]) -> None:
    if not any(names):
        raise Refused(Flaw("file", "file.empty", "is empty; its first line must name the columns"))
    unknown = [name for name in names if name not in COLUMNS]
    if unknown:
        known = ", ".join(COLUMNS)
        message = f"names an unknown column {unknown[0][:40]!r}; known are: {known}"
        raise Refused(Flaw("file", "file.unknown_column", message))
    if len(set(names)) != len(names):
        raise Refused(Flaw("file", "file.repeated_column", "names a column twice"))
    if not {"email", "phone"} & set(names):
        raise Refused(Flaw("file", "file.no_address_column", "names neither an email nor a phone column"))


def _written(cells: Iterable[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue()


def _defused(name: str, cell: str) -> str:
    return f"'{cell}" if name != "phone" and cell.startswith(tuple(_FORMULA)) else cell


def _fused(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(tuple(_FORMULA)) else cell
