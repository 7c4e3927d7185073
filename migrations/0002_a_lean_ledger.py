"""A lean ledger: deliveries are found by update and subscriber, and carry no foreign keys; providers become rows.

Revision: 0002
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "installations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("marker", sa.String(length=32), nullable=True),
        sa.Column("marked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("seen_fingerprint", sa.String(length=64), nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confirmed_by", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installations")),
    )
    op.create_table(
        "providers",
        sa.Column("id", sa.SmallInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("channel", sa.String(length=24), nullable=True),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("rest_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rests", sa.SmallInteger(), nullable=False),
        sa.Column("probed_by", sa.String(length=80), nullable=True),
        sa.Column("probed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paced_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_ok_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_trouble_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_code", sa.String(length=24), nullable=True),
        sa.Column("last_words", sa.String(length=300), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_providers")),
        sa.UniqueConstraint("name", name=op.f("uq_providers_name")),
    )
    op.create_table(
        "receipts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("source", sa.String(length=24), nullable=False),
        sa.Column("event_key", sa.String(length=64), nullable=False),
        sa.Column("channel", sa.String(length=24), nullable=False),
        sa.Column("update_id", sa.Integer(), nullable=True),
        sa.Column("subscriber_id", sa.Integer(), nullable=True),
        sa.Column("message_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("provider_ref", sa.String(length=200), nullable=True),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("permanent", sa.Boolean(), nullable=False),
        sa.Column("code", sa.String(length=24), nullable=True),
        sa.Column("detail", sa.String(length=300), nullable=True),
        sa.Column("happened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("applied_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_receipts")),
        sa.UniqueConstraint("source", "event_key", name=op.f("uq_receipts_source_event_key")),
    )
    with op.batch_alter_table("receipts", schema=None) as batch_op:
        batch_op.create_index("ix_receipts_delivery", ["update_id", "subscriber_id"], unique=False)
        batch_op.create_index(
            "ix_receipts_open",
            ["received_at"],
            unique=False,
            sqlite_where=sa.text("applied_at IS NULL"),
            postgresql_where=sa.text("applied_at IS NULL"),
        )

    op.create_table(
        "provider_slots",
        sa.Column("provider_id", sa.SmallInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("owner", sa.String(length=80), nullable=True),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["provider_id"], ["providers.id"], name=op.f("fk_provider_slots_provider_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("provider_id", "number", name=op.f("pk_provider_slots")),
    )
    _known_providers()
    _deliveries()
    _attempts()
    _chunks()
    with op.batch_alter_table("confirmations", schema=None) as batch_op:
        batch_op.add_column(sa.Column("as_fallback", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("confirmations", schema=None) as batch_op:
        batch_op.alter_column("as_fallback", existing_type=sa.Boolean(), server_default=None)
    with op.batch_alter_table("subscribers", schema=None) as batch_op:
        batch_op.add_column(sa.Column("fallback_since", sa.DateTime(timezone=True), nullable=True))
    with op.batch_alter_table("worker_beats", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("channels", sa.String(length=40), nullable=False, server_default=sa.text("''"))
        )


def _known_providers() -> None:
    op.execute(
        "INSERT INTO providers (name, channel, state, rests)"
        " SELECT provider, MIN(channel), 'well', 0 FROM deliveries WHERE provider IS NOT NULL GROUP BY provider"
    )


def _deliveries() -> None:
    """Made anew and copied: the key, the foreign keys and the columns' order all change.

    Old rows were not counted by their chunks, so each is counted apart.
    """
    for name in ("ix_deliveries_subscriber", "ix_deliveries_update_state", "ix_deliveries_waiting"):
        op.drop_index(name, "deliveries")
    op.rename_table("deliveries", "deliveries_0001")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER INDEX pk_deliveries RENAME TO pk_deliveries_0001")
    op.create_table(
        "deliveries",
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("update_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("subscriber_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("wording_id", sa.Integer(), nullable=True),
        sa.Column("provider_id", sa.SmallInteger(), nullable=True),
        sa.Column("attempts", sa.SmallInteger(), nullable=False),
        sa.Column("fence", sa.SmallInteger(), nullable=False),
        sa.Column("possibly_twice", sa.Boolean(), nullable=False),
        sa.Column("apart", sa.Boolean(), nullable=False),
        sa.Column("channel", sa.String(length=24), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("owner", sa.String(length=80), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("provider_ref", sa.String(length=200), nullable=True),
        sa.Column("code", sa.String(length=24), nullable=True),
        sa.Column("detail", sa.String(length=300), nullable=True),
        sa.PrimaryKeyConstraint("update_id", "subscriber_id", name="pk_deliveries"),
        sqlite_with_rowid=False,
    )
    columns = (
        "at, update_id, subscriber_id, wording_id, attempts, possibly_twice, channel, state, not_before, owner,"
        " lease_until, provider_ref, code, detail"
    )
    op.execute(
        f"INSERT INTO deliveries ({columns}, provider_id, fence, apart, since)"
        f" SELECT {columns}, (SELECT p.id FROM providers p WHERE p.name = provider), 0, TRUE, created_at"
        " FROM deliveries_0001"
    )
    _indexes()


def _attempts() -> None:
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("update_id", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("subscriber_id", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("channel", sa.String(length=24), nullable=True))
    for column in ("update_id", "subscriber_id", "channel"):
        op.execute(
            f"UPDATE attempts SET {column} = "
            f"(SELECT d.{column} FROM deliveries_0001 d WHERE d.id = attempts.delivery_id)"
            " WHERE delivery_id IS NOT NULL"
        )
    op.execute(
        "UPDATE attempts SET channel = (SELECT m.channel FROM messages m WHERE m.id = attempts.message_id)"
        " WHERE message_id IS NOT NULL"
    )
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_attempts_delivery_id"))
        batch_op.drop_constraint(batch_op.f("fk_attempts_delivery_id"), type_="foreignkey")
        batch_op.drop_column("delivery_id")
        batch_op.create_index("ix_attempts_delivery", ["update_id", "subscriber_id"], unique=False)
    op.drop_table("deliveries_0001")


def _indexes() -> None:
    has_number = "channel = 'sms' AND provider_ref IS NOT NULL"
    for table, name, columns, where in (
        ("deliveries", "ix_deliveries_waiting", ["channel", "not_before"], "not_before IS NOT NULL"),
        (
            "deliveries",
            "ix_deliveries_apart",
            ["update_id", "channel", "state"],
            "state <> 'accepted' OR apart OR possibly_twice",
        ),
        ("deliveries", "ix_deliveries_reference", ["provider_ref"], has_number),
        ("messages", "ix_messages_reference", ["provider_ref"], has_number),
    ):
        op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _chunks() -> None:
    """Batches become text. Those that are on the wire while this runs are carried over."""
    bind = op.get_bind()
    flying = bind.execute(sa.text("SELECT id, batch FROM chunks WHERE batch_at IS NOT NULL")).all()
    with op.batch_alter_table("chunks", schema=None) as batch_op:
        batch_op.add_column(sa.Column("written", sa.Integer(), nullable=False, server_default="0"))
        batch_op.drop_column("batch")
    with op.batch_alter_table("chunks", schema=None) as batch_op:
        batch_op.add_column(sa.Column("batch", sa.Text(), nullable=False, server_default=""))
    for row in flying:
        ids = sorted(json.loads(row.batch) if isinstance(row.batch, str) else row.batch)
        steps = [one - before for before, one in zip([0, *ids], ids, strict=False)]
        bind.execute(
            sa.text("UPDATE chunks SET batch = :batch WHERE id = :id"),
            {"batch": ",".join(map(str, steps)), "id": row.id},
        )
    op.drop_index("ix_chunks_claim", "chunks")
    is_open = sa.text("state = 'open'")
    op.create_index("ix_chunks_update_id", "chunks", ["update_id"])
    op.create_index(
        "ix_chunks_open",
        "chunks",
        ["channel", "fanout_id", "id"],
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
    if bind.dialect.name == "postgresql":
        op.execute("ALTER TABLE chunks SET (fillfactor = 40)")
    with op.batch_alter_table("chunks", schema=None) as batch_op:
        batch_op.alter_column("written", existing_type=sa.Integer(), server_default=None)
        batch_op.alter_column("batch", existing_type=sa.Text(), server_default=None)
