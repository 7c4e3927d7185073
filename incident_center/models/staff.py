"""People who sign in, programs with tokens, the audit trail, and the workers' signs of life."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from incident_center.db import Base, Json


class Role(Base):
    __tablename__ = "roles"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(24), unique=True)  # a value of states.Role


class StaffRole(Base):
    __tablename__ = "staff_roles"

    staff_id: Mapped[int] = mapped_column(ForeignKey("staff.id", ondelete="CASCADE"), primary_key=True)
    role_id: Mapped[int] = mapped_column(ForeignKey("roles.id"), primary_key=True)


class Staff(Base):
    """A person who signs in. Column names that Flask-Security reads: email, password, active, fs_uniquifier."""

    __tablename__ = "staff"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(320), unique=True)  # lower case
    name: Mapped[str] = mapped_column(String(120))
    password: Mapped[str] = mapped_column(String(255))
    active: Mapped[bool] = mapped_column(default=True)
    fs_uniquifier: Mapped[str] = mapped_column(String(64), unique=True)
    language: Mapped[str] = mapped_column(String(8), default="en")
    created_at: Mapped[datetime]

    roles: Mapped[list[Role]] = relationship(secondary="staff_roles", lazy="selectin")


class ApiToken(Base):
    """A program's key; only its hash is kept."""

    __tablename__ = "api_tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[str] = mapped_column(String(24))  # lead publishes, agent enrols and reads, viewer reads
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class IdempotencyKey(Base):
    """The answer that a token's key got, so that a repeated request gets it again."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (UniqueConstraint("token_id", "key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    token_id: Mapped[int] = mapped_column(ForeignKey("api_tokens.id"))
    key: Mapped[str] = mapped_column(String(200))
    body_hash: Mapped[str] = mapped_column(String(64))
    status: Mapped[int]
    answer: Mapped[dict[str, Any]] = mapped_column(Json)
    created_at: Mapped[datetime]


class AuditEntry(Base):
    """Who did what, when. Written in the transaction of the deed; never changed."""

    __tablename__ = "audit_entries"
    __table_args__ = (Index("ix_audit_entries_incident_id_at", "incident_id", "at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(String(200))
    action: Mapped[str] = mapped_column(String(60))
    incident_id: Mapped[int | None] = mapped_column(ForeignKey("incidents.id"))
    subject: Mapped[str] = mapped_column(String(120), default="")  # "subscriber 12", "update 3"
    detail: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)


class WorkerBeat(Base):
    """A worker's sign of life; how doctor and the board know that somebody keeps the promises."""

    __tablename__ = "worker_beats"

    owner: Mapped[str] = mapped_column(String(80), primary_key=True)
    host: Mapped[str] = mapped_column(String(120))
    # Those that it sends on ("email sms"). The database's default is for workers from before an upgrade.
    channels: Mapped[str] = mapped_column(String(40), default="", server_default=text("''"))
    started_at: Mapped[datetime]
    beat_at: Mapped[datetime]
    note: Mapped[str] = mapped_column(String(200), default="")  # what keeps it from its work
