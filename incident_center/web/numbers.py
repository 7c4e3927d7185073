"""Numbers of rows as browsers send them. What no database could hold is no row's number: 404, not a crash."""

from collections.abc import Iterable

from flask import Flask
from werkzeug.routing import IntegerConverter

LARGEST = (
    2**31 - 1
)  # our keys; PostgreSQL refuses to compare an INTEGER with more, SQLite with more than 2**63


class RowNumber(IntegerConverter):
    """`<int:…>` in our addresses: larger numbers read as the largest, which no table reaches, and so answer 404.

    A converter that refuses a number makes werkzeug answer 405 where the address takes other methods too.
    """

    regex = r"[0-9]{1,19}"

    def to_python(self, value: str) -> int:
        return min(int(value), LARGEST)


def row_number(text: str) -> int:
    """For `request.args.get(…, type=row_number)`. Raises ValueError, which reads as "not given"."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= LARGEST):
        raise ValueError("not a row's number")
    return int(text)


def row_numbers(texts: Iterable[str]) -> set[int]:
    """Those of a form's ticked values that are row numbers; people do not type these."""
    found = set()
    for text in texts:
        try:
            found.add(row_number(text))
        except ValueError:
            continue
    return found


def install(app: Flask) -> None:
    """Before any blueprint: an address is compiled when it is registered."""
    app.url_map.converters["int"] = RowNumber
