"""How a database finds rows, asked of the database itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import event
from sqlalchemy.orm import Session

from incident_center.db import Database


def plans_of(
    database: Database, session: Session, ask: Callable[[], object], *, table: str = "deliveries"
) -> list[str]:
    """How the database finds the rows that `ask` asks for: each statement is sent once more with EXPLAIN."""
    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, given: Any, _context: Any, _many: bool) -> None:
        asked.append((statement, given))

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        ask()
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
    explain = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
    connection = session.connection()
    return [
        "\n".join(str(tuple(row)) for row in connection.exec_driver_sql(explain + statement, given))
        for statement, given in asked
        if f" {table}" in statement
    ]
