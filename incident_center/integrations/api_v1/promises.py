"""Promises: open and past, kept or late."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from incident_center import clock
from incident_center.incidents import questions
from incident_center.integrations.api_v1 import answers, tell
from incident_center.integrations.api_v1.api import Answered, api, center, roles
from incident_center.integrations.api_v1.bodies import PromisesQuery
from incident_center.integrations.api_v1.callers import VIEWER
from incident_center.integrations.api_v1.document import errors
from incident_center.integrations.api_v1.paging import cursor_after, read_cursor
from incident_center.models import Promise

_TAG: list[Any] = [{"name": "promises"}]


@api.get(
    "/promises",
    tags=_TAG,
    summary="Promises, newest first, and how many were kept",
    responses={200: answers.PromisesOut, **errors(422)},
)
@roles(VIEWER)
def list_promises(query: PromisesQuery) -> Answered:
    """`state=open` includes those that are overdue."""
    before = read_cursor(query.cursor)
    with center().database.reading() as session:
        wanted = select(Promise).order_by(Promise.id.desc()).limit(query.limit + 1)
        if query.state is not None:
            wanted = wanted.where(Promise.state == query.state)
        if before is not None:
            wanted = wanted.where(Promise.id < before)
        rows = list(session.scalars(wanted))
        shown = rows[: query.limit]
        rate = questions.kept_rate(session)
        answer = answers.PromisesOut(
            items=tell.promises(session, shown, now=clock.now()),
            rate=answers.KeptRateOut.model_validate(rate, from_attributes=True),
            next=cursor_after(shown[-1].id) if len(rows) > query.limit else None,
        )
    return answer.model_dump(mode="json")
