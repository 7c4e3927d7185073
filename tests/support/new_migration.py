"""Writes the migration that leads from the newest one to what the models say: `make migration m="why"`.

Types are written as plain SQLAlchemy: a migration must run unchanged for years, so it imports nothing of ours.
"""

import re
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.autogenerate.api import AutogenContext
from alembic.migration import MigrationContext
from sqlalchemy import JSON, BigInteger, Enum

import incident_center.models  # noqa: F401 (fills Base.metadata)
from incident_center import schema
from incident_center.config import asset_dir
from incident_center.db import Base, Database, UtcDateTime
from incident_center.models.delivery import Ids

PAGE = '''"""{why}.

Revision: {revision}
"""

import sqlalchemy as sa
from alembic import op
{more}
revision = "{revision}"
down_revision = {before}


def upgrade() -> None:
{body}
'''


def compare_options() -> dict[str, Any]:
    """How models and a database are compared; the tests compare in the same way."""
    return {"target_metadata": Base.metadata, "compare_type": True, "compare_server_default": True}


def write(why: str, folder: Path) -> Path | None:
    """The new file; None when the models say nothing new."""
    before = schema.latest(folder)
    with tempfile.TemporaryDirectory() as scratch:
        database = Database(f"sqlite:///{scratch}/schema.db")
        schema.upgrade(database, folder)
        body = _changes(database, batch=before is not None)
        database.dispose()
    if body is None:
        return None
    number = len(list(folder.glob("[0-9]*.py"))) + 1
    path = folder / f"{number:04}_{re.sub(r'[^a-z0-9]+', '_', why.lower()).strip('_')[:40]}.py"
    page = PAGE.format(
        why=why[:1].upper() + why[1:].rstrip("."),
        more="from sqlalchemy.dialects import postgresql\n" if "postgresql." in body else "",
        revision=f"{number:04}",
        before=f'"{before}"' if before else None,
        body=body,
    )
    path.write_text(page, encoding="utf-8")
    return path


def _changes(database: Database, *, batch: bool) -> str | None:
    """The body of upgrade(); in batches when tables exist already, because SQLite alters a table by copying."""
    with database.reading() as session:
        context = MigrationContext.configure(session.connection(), opts=compare_options())
        operations = produce_migrations(context, Base.metadata).upgrade_ops
        if operations is None or operations.is_empty():
            return None
        code = render_python_code(
            operations, render_as_batch=batch, render_item=_render_item, migration_context=context
        )
    return "\n".join(line for line in code.splitlines() if not line.strip().startswith("# ###"))


def _render_item(kind: str, item: Any, _: AutogenContext) -> str | Literal[False]:
    if kind == "type":
        if isinstance(item, UtcDateTime):
            return "sa.DateTime(timezone=True)"
        if isinstance(item, Enum):
            return f"sa.String(length={item.length})"
        if isinstance(item, Ids):
            return "sa.Text()"
        if isinstance(item, JSON):
            return 'sa.JSON().with_variant(postgresql.JSONB(), "postgresql")'
        if isinstance(item, BigInteger):
            return 'sa.BigInteger().with_variant(sa.Integer(), "sqlite")'
    return False


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1].strip():
        sys.exit('say why: make migration m="keep a subscriber\'s nickname"')
    written = write(sys.argv[1], asset_dir("migrations"))
    sys.stdout.write(f"{written}\n" if written else "the models say nothing that the migrations do not\n")
