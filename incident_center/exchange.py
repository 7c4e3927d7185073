"""PostgreSQL without the steps that psycopg takes for each statement: for what runs with every 25 e-mails.

This talks to libpq itself (`psycopg.pq`): several statements in one round trip, each prepared once, and rows by COPY.
While the server works, `meanwhile` is called, so that whoever has something else on its way goes on with that.
docs/decisions/0024-the-wire-goes-on-while-the-database-works.md
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

# Returns once something can be read from that socket (a file descriptor); until then it may do something else.
Meanwhile = Callable[[int], None]


@dataclass(frozen=True)
class Statement:
    """`text` with $1, $2, … in it; `name` is what the server knows it by once it is prepared, and no other one's."""

    name: bytes
    text: bytes


@dataclass(frozen=True)
class Answer:
    """`rows` as psycopg reads them, `changed` as the server counts them."""

    rows: list[tuple[Any, ...]]
    changed: int


Asked = tuple[Statement, Sequence[bytes | None]]  # with its values, as `value` writes them


def wait_for(socket: int) -> None:
    """Until something can be read from it."""
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    poll.poll()


def value(plain: object) -> bytes | None:
    """A plain value as the server reads it."""
    return None if plain is None else str(plain).encode()


class Exchange:
    """A psycopg connection, for statements whose every microsecond counts; not for several threads.

    `prepared` holds the names that the server knows on this connection, and gets those that are prepared here; None
    prepares none. Begins a transaction where none is open. Raises psycopg's errors; what `meanwhile` raises leaves
    the connection in the middle of something: nobody may use it any more.
    """

    def __init__(
        self, driver: Any, *, prepared: set[bytes] | None = None, meanwhile: Meanwhile = wait_for
    ) -> None:
        from psycopg import adapt, capabilities, errors, pq  # noqa: PLC0415 (only who uses PostgreSQL has it)

        self.driver, self._server = driver, driver.pgconn
        self._prepared, self._meanwhile = prepared, meanwhile
        self._status, self._idle = pq.ExecStatus, pq.TransactionStatus.IDLE
        self._as_error, self._failed_before = errors.error_from_result, errors.InFailedSqlTransaction
        self._fit, self._away = pq.ConnStatus.OK, errors.OperationalError
        self._transformer = adapt.Transformer
        self._can_close = capabilities.has_send_close_prepared()

    def ask(self, *asked: Asked) -> list[Answer]:
        """All in one round trip, one after the other. The first that the server refuses is raised, and those after it
        have not been run."""
        self._server.enter_pipeline_mode()
        wanted = list(self._sent(asked))
        self._server.pipeline_sync()
        results = self._until(self._status.PIPELINE_SYNC)
        self._server.exit_pipeline_mode()
        self._refuse_failures(results)
        if self._prepared is not None:
            self._prepared.update(statement.name for statement, _ in asked)
        return [self._read(result) for result, is_wanted in zip(results, wanted, strict=True) if is_wanted]

    def copy(self, statement: str, rows: str) -> None:
        """`rows` as COPY … FROM STDIN wants them."""
        if self._server.transaction_status == self._idle:
            self.ask()
        self._server.send_query(statement.encode())
        self._flush()
        results = [self._next()]
        if results[0].status == self._status.COPY_IN:
            while not self._server.put_copy_data(rows.encode()):
                self._flush()
            self._server.put_copy_end(None)
        self._refuse_failures(self._until(None))
        self._refuse_failures(results)

    def commit(self) -> None:
        """Does nothing where no transaction is open."""
        if self._server.transaction_status == self._idle:
            return
        self._server.send_query(b"COMMIT")
        results = self._until(None)
        self._refuse_failures(results)
        # It says ROLLBACK when a failure before it was not heeded.
        if results[0].command_status != b"COMMIT":
            raise self._failed_before("the transaction had failed, nothing of it was committed")

    def forget(self) -> None:
        """What is prepared, before others use the connection: with a ROLLBACK psycopg makes the server forget every
        statement, and nobody would tell us."""
        if not self._prepared:
            return
        self._server.enter_pipeline_mode()
        for name in self._prepared:
            if self._can_close:
                self._server.send_close_prepared(name)
            else:
                self._server.send_query_params(b"DEALLOCATE " + name, None)
        self._server.pipeline_sync()
        results = self._until(self._status.PIPELINE_SYNC)
        self._server.exit_pipeline_mode()
        self._refuse_failures(results)
        self._prepared.clear()

    def _sent(self, asked: Sequence[Asked]) -> Iterator[bool]:
        """For each thing that is sent, whether its answer is wanted."""
        if self._server.transaction_status == self._idle:
            self._server.send_query_params(b"BEGIN", None)
            yield False
        prepared = None if self._prepared is None else set(self._prepared)
        for statement, values in asked:
            if prepared is None:
                self._server.send_query_params(statement.text, values)
            else:
                if statement.name not in prepared:
                    prepared.add(statement.name)
                    self._server.send_prepare(statement.name, statement.text)
                    yield False
                self._server.send_query_prepared(statement.name, values)
            yield True

    def _until(self, end: Any) -> list[Any]:
        """Sends what is to be sent; the results up to the one with this status, or up to the last one for None."""
        self._flush()
        results: list[Any] = []
        while True:
            result = self._next()
            if result is None:  # in a pipeline it ends each statement's results
                if end is None:
                    return results
            elif result.status == end:
                return results
            else:
                results.append(result)

    def _next(self) -> Any:
        while self._server.is_busy():
            self._meanwhile(self._server.socket)
            self._server.consume_input()
        result = self._server.get_result()
        if self._server.status != self._fit:  # libpq has no code for it, and says "nothing more" for ever
            raise self._away(self._server.get_error_message())
        return result

    def _flush(self) -> None:
        while self._server.flush():
            poll = select.poll()
            poll.register(self._server.socket, select.POLLIN | select.POLLOUT)
            poll.poll()
            self._server.consume_input()

    def _refuse_failures(self, results: Sequence[Any]) -> None:
        for result in results:
            if result.status == self._status.FATAL_ERROR:
                raise self._as_error(result, encoding=self.driver.info.encoding)

    def _read(self, result: Any) -> Answer:
        if result.status != self._status.TUPLES_OK:
            return Answer([], result.command_tuples or 0)
        reader = self._transformer(self.driver)
        reader.set_pgresult(result)
        return Answer(reader.load_rows(0, result.ntuples, tuple), result.ntuples)
