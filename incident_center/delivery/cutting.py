"""Fan-outs are cut into chunks: a walk through the subscribers by key, some thousands a step.

The cursors are saved in the same transaction as the chunks, so that a crash neither forgets nor repeats anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import exists, func, or_, select, update
from sqlalchemy.orm import Session

from incident_center.db import Database
from incident_center.delivery.fanout import LIVE
from incident_center.delivery.people import audience, chunk_is_open, without_row
from incident_center.delivery.sql import FROZEN_LETS_GO, insert_all
from incident_center.models import Chunk, Fanout, Subscriber
from incident_center.states import Channel, ChunkState, FanoutState

CHUNK = 500  # people; one worker has one at a time
LONG = 4  # times a chunk, for e-mails beyond the first step: to take one and end it costs as much as six waves do
CHUNKS_A_STEP = 20  # people walked at once: 10,000, about 50 ms
_WALKS_ALONE = select(
    func.pg_try_advisory_xact_lock(0x696E6377),  # "incw": a number of our own, see schema.py
    func.set_config("jit", "off", True),  # compiling the walk takes ten times as long as the walk
    FROZEN_LETS_GO,
)
DONE = -1  # a channel's cursor when everybody has been walked


@dataclass(frozen=True)
class Step:
    """What a walk has found: the chunks of those who come after `since`, the last of whom is at `cursors`."""

    fanout_id: int
    since: dict[str, int]
    cursors: dict[str, int]
    chunks: Sequence[dict[str, object]]


def anything_to_cut(session: Session, *, now: datetime) -> bool:
    """A look that takes no lock: most rounds of a worker find nothing."""
    opened = exists(select(Fanout.id).where(Fanout.state == FanoutState.OPEN))
    ended = exists(
        select(Chunk.id)
        .join(Fanout, Fanout.id == Chunk.fanout_id)
        .where(chunk_is_open(), (Fanout.state.not_in(LIVE)) | (Fanout.expires_at <= now))
    )
    return bool(session.scalar(select(or_(opened, ended))))


def to_cut(session: Session) -> Sequence[int]:
    """The open fan-outs, oldest first: a second incident does not wait for the whole first one."""
    return session.scalars(
        select(Fanout.id).where(Fanout.state == FanoutState.OPEN).order_by(Fanout.id)
    ).all()


def cut_some(database: Database, fanout_id: int, *, now: datetime) -> bool:
    """Cuts the next chunks of one fan-out; answers whether it has. Who was too slow on SQLite rests for a round, or two
    workers would walk every step twice.

    Nobody who writes waits for the walk. On SQLite, which has one writer at a time, it is over before the transaction
    begins. On PostgreSQL it holds a lock that only walkers ask for, so that one of them at a time goes through the
    audience. Each fan-out has a transaction of its own.
    """
    if database.is_sqlite:
        with database.reading() as session:
            step = next_step(session, fanout_id)
        if step is None:
            return False
        with database.transaction() as session:
            return keep(session, step, now=now)
    with database.transaction() as session:
        step = next_step(session, fanout_id) if session.scalar(_WALKS_ALONE) else None
        return step is not None and keep(session, step, now=now)


def next_step(session: Session, fanout_id: int) -> Step | None:
    """Walks on through each channel; None when the fan-out is not open."""
    fanout = session.get(Fanout, fanout_id)
    if fanout is None or fanout.state != FanoutState.OPEN:
        return None
    cursors: dict[str, int] = dict(fanout.cursors)
    found: list[dict[str, object]] = []
    for channel in Channel:
        after = cursors.get(channel.value, 0)
        if after != DONE:
            ids = _next_ids(session, fanout, channel, after=after)
            is_full = len(ids) == CHUNK * CHUNKS_A_STEP
            is_long = is_full and after > 0 and channel is Channel.EMAIL
            found += _chunks(fanout, channel, ids, CHUNK * LONG if is_long else CHUNK)
            cursors[channel.value] = ids[-1] if is_full else DONE
    return Step(fanout_id, dict(fanout.cursors), cursors, found)


def keep(session: Session, step: Step, *, now: datetime) -> bool:
    """Writes a step down; nothing, and False, when somebody has superseded or stopped the fan-out since the walk, or
    when another worker was quicker with the same step."""
    its = (Fanout.id == step.fanout_id, Fanout.state == FanoutState.OPEN)
    if session.scalar(select(Fanout.cursors).where(*its).with_for_update()) != step.since:
        return False
    is_cut = all(cursor == DONE for cursor in step.cursors.values())
    values: dict[str, Any] = {"state": FanoutState.CUT, "cut_at": now} if is_cut else {}
    session.execute(update(Fanout).where(*its).values(cursors=step.cursors, **values))
    insert_all(session, Chunk, step.chunks)
    return True


def _next_ids(session: Session, fanout: Fanout, channel: Channel, *, after: int) -> Sequence[int]:
    return session.scalars(
        select(Subscriber.id)
        .where(
            Subscriber.id > after,
            audience(fanout.incident_id, channel),
            without_row(fanout.update_id),
        )
        .order_by(Subscriber.id)
        .limit(CHUNK * CHUNKS_A_STEP)
    ).all()


def _chunks(fanout: Fanout, channel: Channel, ids: Sequence[int], size: int) -> list[dict[str, object]]:
    pieces = [ids[start : start + size] for start in range(0, len(ids), size)]
    return [
        {
            "fanout_id": fanout.id,
            "update_id": fanout.update_id,
            "incident_id": fanout.incident_id,
            "channel": channel,
            "first_id": piece[0],
            "last_id": piece[-1],
            "size": len(piece),
            "state": ChunkState.OPEN,
            "fence": 0,
            "batch": [],
            "left": 0,
        }
        for piece in pieces
    ]
