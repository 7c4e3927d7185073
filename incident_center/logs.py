"""Logs: one JSON line an event, without addresses, bodies or secrets.

Paths are logged as their rule ("/m/<token>"), because a path may carry a customer's key.
"""

import logging
import sys

import structlog


def configure_logging(*, quiet: bool = False) -> None:
    """JSON lines to standard error from INFO up; `quiet` keeps only errors (tests)."""
    level = logging.ERROR if quiet else logging.INFO
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
