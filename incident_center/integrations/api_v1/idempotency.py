"""Once per key: the answer is stored in the transaction of the deed, so both stand or neither does.

The key's row is inserted first. A duplicate that comes while the first is in flight waits at the unique index
(PostgreSQL) or at BEGIN IMMEDIATE (SQLite), finds the first one's answer and gives the same. When the first one
fails, its row vanishes with everything else, and the duplicate does the deed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from flask import request
from pydantic import BaseModel
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from incident_center import clock
from incident_center.errors import Conflict, Flaw, Refused
from incident_center.integrations.api_v1.api import caller, center
from incident_center.models import IdempotencyKey

IN_FLIGHT = 0  # stands only inside a transaction; nobody else ever reads it
_OTHER_BODY = Flaw(
    "Idempotency-Key", "reused", "This key was used for another request. Take a new key for a new deed."
)

KEPT = timedelta(days=30)
SWEEP_EVERY = 100  # keys; a sweep costs a look through the table

Deed = Callable[[Session, datetime], tuple[int, BaseModel]]
Retell = Callable[[Session, int, datetime], BaseModel]


def once(key: str | None, deed: Deed, *, retell: Retell | None = None) -> tuple[dict[str, Any], int]:
    """What the deed answers, as JSON and status; with a key that was seen before, what it answered then.

    `deed` works in the transaction that it is given. With `retell`, only the id of a good answer is kept and a
    repetition tells how things stand: answers about people must not outlive their erasure here. Raises what the
    deed raises, and Refused for a key that came with another body.
    """
    if key is None:
        with center().database.transaction() as session:
            status, answer = deed(session, clock.now())
            return answer.model_dump(mode="json", by_alias=True), status
    for _ in range(2):  # the second round reads what the winner of the unique key has stored
        try:
            return _once(key, deed, retell)
        except _TakenMeanwhile:
            continue
    raise Conflict("A request with this Idempotency-Key is still being worked on. Send it again in a moment.")


class _TakenMeanwhile(Exception):
    """Another request with the same key was faster."""


def _once(key: str, deed: Deed, retell: Retell | None) -> tuple[dict[str, Any], int]:
    now, fingerprint, token_id = clock.now(), _fingerprint(), caller().token_id
    with center().database.transaction() as session:
        row = session.scalar(
            select(IdempotencyKey).where(IdempotencyKey.token_id == token_id, IdempotencyKey.key == key)
        )
        if row is not None:
            if row.body_hash != fingerprint:
                raise Refused(_OTHER_BODY)
            if retell is not None and row.status < 400:
                return retell(session, row.answer["id"], now).model_dump(
                    mode="json", by_alias=True
                ), row.status
            return row.answer, row.status
        row = IdempotencyKey(
            token_id=token_id, key=key, body_hash=fingerprint, status=IN_FLIGHT, answer={}, created_at=now
        )
        _claim(session, row)
        status, answer = deed(session, now)
        told = answer.model_dump(mode="json", by_alias=True)
        row.status, row.answer = status, {"id": told["id"]} if retell is not None and status < 400 else told
        return told, status


def _claim(session: Session, row: IdempotencyKey) -> None:
    session.add(row)
    try:
        session.flush()
    except IntegrityError as error:
        raise _TakenMeanwhile from error
    if row.id % SWEEP_EVERY == 0:
        session.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < row.created_at - KEPT))


def _fingerprint() -> str:
    """Of what was asked for: method, address, version asked for and the body, however it is formatted.

    Keyed, because a body may hold nothing but a phone number, and all of those can be tried.
    """
    body = json.dumps(request.get_json(), sort_keys=True, separators=(",", ":"))
    asked = "\n".join((request.method, request.path, request.headers.get("If-Match", ""), body))
    secret = center().settings.secret_key.encode()
    return hmac.new(secret, asked.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
