"""The audit trail: who did what, when. Written in the transaction of the deed."""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from incident_center.models import AuditEntry


def record(
    session: Session,
    *,
    by: str,
    action: str,
    incident_id: int | None = None,
    subject: str = "",
    detail: dict[str, Any] | None = None,
    now: datetime,
) -> AuditEntry:
    """Note a deed. It stands or falls with the caller's transaction.

    by: "lead@example.com", "token ops-bot", "promise keeper", "subscriber 12", "command line".
    subject: what it was done to, "subscriber 12"; never an address, because entries outlive an erasure.
    """
    entry = AuditEntry(
        at=now,
        by=by[:200],
        action=action,
        incident_id=incident_id,
        subject=subject[:120],
        detail=detail or {},
    )
    session.add(entry)
    return entry
