"""What the doctor is told of delivery: who holds it up, what waits for a worker, whether a commit survives a crash."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from incident_center.delivery import installation
from incident_center.delivery.fanout import LIVE
from incident_center.delivery.sql import is_postgres
from incident_center.models import Fanout, Message, Promise
from incident_center.states import PromiseState


def look(session: Session) -> Iterator[tuple[str, str, str]]:
    """(level, what is the matter, what to do), as `doctor.Finding` takes them."""
    if installation.is_held(session):
        yield (
            "problem",
            "This database was restored or copied; nothing is sent.",
            "A lead confirms on the console's board that this installation writes to customers.",
        )
    if is_postgres(session):
        yield from _durable(session)


def _durable(session: Session) -> Iterator[tuple[str, str, str]]:
    """An intent that a crash takes back is as good as none."""
    database = session.scalar(select(func.quote_ident(func.current_database())))
    for name, what_to_do in (
        (
            "synchronous_commit",
            f"Run: ALTER DATABASE {database} SET synchronous_commit = on; then restart us.",
        ),
        ("fsync", "Set fsync = on in postgresql.conf and reload the server."),
    ):
        if session.scalar(select(func.current_setting(name))) == "off":
            what = f"Commits are not durable ({name} = off): after a crash of the database"
            yield "problem", f"{what} customers may be told twice without a mark.", what_to_do


def waits_for_a_worker(session: Session, *, now: datetime) -> str:
    """What is left undone while no worker runs, in words; empty when nothing is."""
    fanouts = select(Fanout.id).where(Fanout.state.in_(LIVE), Fanout.expires_at > now)
    messages = select(Message.id).where(Message.not_before <= now)
    promises = select(Promise.id).where(Promise.state == PromiseState.OPEN)
    counted = {
        name: session.scalar(select(func.count()).select_from(query.subquery())) or 0
        for name, query in (
            ("open promise(s)", promises),
            ("update(s) on the way to customers", fanouts),
            ("single message(s)", messages),
        )
    }
    return ", ".join(f"{number} {name}" for name, number in counted.items() if number)
