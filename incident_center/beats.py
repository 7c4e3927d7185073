"""Workers' signs of life: how doctor, the board and the other workers know who is there, and what for."""

import socket
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from incident_center.models import WorkerBeat

AWAKE = timedelta(seconds=30)
FORGOTTEN_AFTER = timedelta(days=1)


def sign_of_life(
    session: Session, *, owner: str, channels: str, note: str, started_at: datetime, now: datetime
) -> None:
    beat = session.get(WorkerBeat, owner)
    if beat is not None:
        beat.beat_at, beat.note = now, note[:200]
        return
    session.execute(delete(WorkerBeat).where(WorkerBeat.beat_at < now - FORGOTTEN_AFTER))
    session.add(
        WorkerBeat(
            owner=owner,
            host=socket.gethostname()[:120],
            channels=channels,
            started_at=started_at,
            beat_at=now,
            note=note[:200],
        )
    )


def awake(session: Session, *, now: datetime) -> int:
    """How many workers have lately given a sign of life."""
    return session.scalar(select(func.count()).where(WorkerBeat.beat_at > now - AWAKE)) or 0
