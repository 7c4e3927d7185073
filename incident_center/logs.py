"""Logs: one JSON line an event, without addresses, bodies or secrets.

Paths are logged as their rule ("/m/<token>"), because a path may carry a customer's key.
"""

import logging
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import structlog


def configure_logging(*, quiet: bool = False) -> None:
    """JSON lines to standard error from INFO up; `quiet` keeps only errors (tests)."""
    level = logging.ERROR if quiet else logging.INFO
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(_without_words),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # One write a line: several processes share a terminal or a pipe, and print() writes the line's end by itself.
        # The stream is looked up for each line: one that stood there at the start may have been closed since.
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _without_words(exc_info: Any) -> str:
    return "\n".join(_places(exc_info[1]))


def _places(error: BaseException | None) -> Iterator[str]:
    """The error and what led to it, by kind and place. Its words stay out: a database's repeat a customer's address,
    a parser's the text that it could not read."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield type(error).__name__
        for frame, line in traceback.walk_tb(error.__traceback__):
            yield f"  {frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
