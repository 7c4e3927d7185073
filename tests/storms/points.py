"""Named points inside a worker at which it kills itself: it has no chance to tidy up, as when power fails.

Only functions at the borders of the engine's transactions are wrapped; what they do stays the product's own.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import wraps
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.orm import Session

from incident_center.db import Database
from incident_center.delivery import chunks, cutting, rows
from incident_center.delivery.mailer import Mailer
from incident_center.incidents import publish


class Point(StrEnum):
    """The twelve. Those on the wire are the servers' to hit (WIRE)."""

    BEFORE_LEASE = "before the lease"
    AFTER_LEASE = "after the lease"
    MARKED = "after the batch is marked"
    COMPOSING = "composing"
    CONNECTING = "connecting"
    RCPT = "RCPT"
    IN_DATA = "in DATA"
    AFTER_DOT = "after the final dot"
    BEFORE_OUTCOME = "after 250, before the outcome is stored"
    AFTER_OUTCOME = "after the outcome is stored"
    CUTTING = "while chunks are cut"
    PUBLISHING = "in the publish transaction"


WIRE = frozenset({Point.CONNECTING, Point.RCPT, Point.IN_DATA, Point.AFTER_DOT})
# How often a point is passed at least while a hundred people are written to, so that a kill there happens.
PASSED = {
    Point.BEFORE_LEASE: 2,
    Point.AFTER_LEASE: 2,
    Point.MARKED: 2,
    Point.COMPOSING: 80,
    Point.CONNECTING: 1,
    Point.RCPT: 80,
    Point.IN_DATA: 80,
    Point.AFTER_DOT: 80,
    Point.BEFORE_OUTCOME: 3,
    Point.AFTER_OUTCOME: 3,
    Point.CUTTING: 1,
    Point.PUBLISHING: 1,
}


class Trap:
    """Kills this process when `point` is passed for the nth time."""

    def __init__(self, point: Point, nth: int) -> None:
        self._point, self._left = point, nth
        self._in_transaction = threading.local()

    def set(self) -> None:
        """Wraps what has to be wrapped for this point, in this process."""
        match self._point:
            case Point.BEFORE_LEASE:
                self._wrap(chunks, "claim", before=True)
                self._wrap(rows, "claim", before=True)
            case Point.AFTER_LEASE:
                self._after_commit_of(chunks, "claim", if_answer=_leased)
                self._after_commit_of(rows, "claim", if_answer=_leased)
            case Point.MARKED:
                self._after_commit_of(chunks, "settle", if_answer=bool)
            case Point.COMPOSING:
                self._wrap(Mailer, "_letter")
            case Point.BEFORE_OUTCOME:
                self._wrap(chunks, "settle", before=True)
                self._wrap(rows, "settle", before=True)
            case Point.AFTER_OUTCOME:
                self._after_commit_of(chunks, "settle")
                self._after_commit_of(rows, "settle")
            case Point.CUTTING:
                self._wrap(cutting, "keep")
            case Point.PUBLISHING:
                self._wrap(publish, "open_fanout")
            case _:
                raise ValueError(f"{self._point} is on the wire")

    def _passed(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def _wrap(
        self,
        owner: Any,
        name: str,
        *,
        before: bool = False,
        if_answer: Callable[[Any], bool] = lambda _: True,
    ) -> None:
        original = getattr(owner, name)

        @wraps(original)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if before:
                self._passed()
            answer = original(*args, **kwargs)
            if not before and if_answer(answer):
                self._passed()
            return answer

        setattr(owner, name, wrapped)

    def _after_commit_of(
        self, owner: Any, name: str, *, if_answer: Callable[[Any], bool] = lambda _: True
    ) -> None:
        original = getattr(owner, name)

        @wraps(original)
        def noted(*args: Any, **kwargs: Any) -> Any:
            answer = original(*args, **kwargs)
            if if_answer(answer):
                self._in_transaction.due = True
            return answer

        setattr(owner, name, noted)
        if not hasattr(Database, "before_the_trap"):
            Database.before_the_trap = Database.transaction  # type: ignore[attr-defined]  # this process is thrown away
            Database.transaction = self._committing(Database.transaction)  # type: ignore[method-assign]  # see above

    def _committing(self, original: Callable[[Database, Connection | None], Any]) -> Any:
        @contextmanager
        def transaction(database: Database, connection: Connection | None = None) -> Iterator[Session]:
            self._in_transaction.due = False
            with original(database, connection) as session:
                yield session
            if self._in_transaction.due:
                self._passed()

        return transaction


def _leased(answer: Any) -> bool:
    """Claims answer (a batch or None, whether anything was found); rows an empty batch when nobody is due."""
    batch = answer[0]
    return batch is not None and bool(batch.people)
