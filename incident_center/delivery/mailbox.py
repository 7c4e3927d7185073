"""The demo's mailbox: what would have been sent, in a small SQLite file of its own.

Nothing leaves the machine. A page shows each message as it arrives; it lives in the data folder.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_TABLE = """
CREATE TABLE IF NOT EXISTS mailbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, channel TEXT NOT NULL, recipient TEXT NOT NULL,
    subject TEXT NOT NULL, raw BLOB NOT NULL, text TEXT NOT NULL, html TEXT NOT NULL
)"""
_COLUMNS = "id, at, channel, recipient, subject, raw, text, html"


@dataclass(frozen=True)
class Mail:
    """One message: `channel` is "email", "sms" or "staff"; `raw` an e-mail's source, else empty."""

    id: int
    at: datetime
    channel: str
    to: str
    subject: str
    raw: bytes
    text: str
    html: str


class MailboxStore:
    """Messages in the SQLite file `path`; made when it is not there. Any number of processes may use it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(self._connect()) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(_TABLE)

    def add(
        self,
        *,
        channel: str,
        to: str,
        subject: str = "",
        raw: bytes = b"",
        text: str = "",
        html: str = "",
        at: datetime,
    ) -> int:
        """Keeps one message; answers its number. Numbers only grow."""
        row = (at.astimezone(UTC).isoformat(), channel, to, subject, raw, text, html)
        statement = f"INSERT INTO mailbox ({_COLUMNS}) VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 (constant)
        with closing(self._connect()) as connection:
            return int(connection.execute(statement, row).lastrowid or 0)

    def list(self, after_id: int = 0, limit: int = 100) -> list[Mail]:
        """The newest messages whose number is above `after_id`, newest first."""
        query = f"SELECT {_COLUMNS} FROM mailbox WHERE id > ? ORDER BY id DESC LIMIT ?"  # noqa: S608 (constant)
        with closing(self._connect()) as connection:
            return [_mail(row) for row in connection.execute(query, (after_id, limit))]

    def get(self, mail_id: int) -> Mail | None:
        query = f"SELECT {_COLUMNS} FROM mailbox WHERE id = ?"  # noqa: S608 (constant)
        with closing(self._connect()) as connection:
            row = connection.execute(query, (mail_id,)).fetchone()
        return None if row is None else _mail(row)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=20, isolation_level=None)


def mailbox_path(data_dir: Path) -> Path:
    return data_dir / "mailbox" / "mailbox.db"


def _mail(row: tuple[int, str, str, str, str, bytes, str, str]) -> Mail:
    number, at, channel, to, subject, raw, text, html = row
    return Mail(number, datetime.fromisoformat(at), channel, to, subject, raw, text, html)
