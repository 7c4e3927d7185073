"""What an agent says now, for the desktops and chat tools that agents already have."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from flask import Response, jsonify, request
from sqlalchemy.orm import Session

from incident_center import clock
from incident_center.errors import Flaw, Refused
from incident_center.house import House
from incident_center.incidents import questions
from incident_center.incidents import snippets as speak
from incident_center.incidents.rules import ENDING
from incident_center.integrations.api_v1 import answers
from incident_center.integrations.api_v1.api import Answered, api, center, roles
from incident_center.integrations.api_v1.bodies import SnippetsQuery, UnlessSeenHeader
from incident_center.integrations.api_v1.callers import VIEWER
from incident_center.integrations.api_v1.document import errors
from incident_center.states import Medium

_TAG: list[Any] = [{"name": "snippets"}]


@api.get(
    "/snippets",
    tags=_TAG,
    summary="What an agent says now",
    responses={200: answers.SnippetsOut, 304: {"description": "You have it already."}, **errors()},
)
@roles(VIEWER)
def snippets(header: UnlessSeenHeader, query: SnippetsQuery) -> Answered:  # noqa: ARG001 (header: for the document; werkzeug compares it)
    """Poll it with If-None-Match: 304 as long as nothing changed. Ask again before you say a time aloud."""
    house, now = center().house, clock.now()
    if query.language not in house.languages:
        raise Refused(Flaw("language", "unknown", f"We write in: {', '.join(house.languages)}."))
    channel = Medium(query.channel)
    with center().database.reading() as session:
        items = [
            _item(session, house, situation, channel, query.language, now=now)
            for situation in speak.situations(session, now=now)
        ]
        quiet = None if items else speak.quiet(session)
    said = quiet.snippet(house, channel=channel, language=query.language).text if quiet else ""
    return _unless_seen(_answer(query, items, quiet.state if quiet else None, said, now=now))


def _item(
    session: Session,
    house: House,
    situation: speak.Situation,
    channel: Medium,
    language: str,
    *,
    now: datetime,
) -> answers.SnippetOut:
    row, update, promise = situation.incident, situation.update, situation.promise
    said = speak.snippet(session, house=house, update=update, channel=channel, language=language, now=now)
    return answers.SnippetOut(
        incident_id=row.id,
        ref=row.ref,
        update_id=update.id,
        number=update.number,
        phase=update.phase,
        subject=said.subject,
        text=said.text,
        as_of=update.published_at,
        next_update_by=update.next_update_by,
        late=promise is not None and promise.state == questions.OVERDUE,
        url=house.incident_url(row.id),
    )


def _answer(
    query: SnippetsQuery,
    items: list[answers.SnippetOut],
    quiet_state: str | None,
    quiet_text: str,
    *,
    now: datetime,
) -> answers.SnippetsOut:
    over = all(item.phase in ENDING for item in items)
    state = quiet_state or ("resolved" if over else "incident")
    text = quiet_text or "\n\n".join(item.text for item in items)
    promised = [item.next_update_by for item in items if item.next_update_by is not None]
    return answers.SnippetsOut(
        channel=query.channel,
        language=query.language,
        state=state,
        text=text,
        version=_version(text, items),
        as_of=max((item.as_of for item in items), default=now),
        next_update_by=min(promised, default=None),
        items=items,
    )


def _version(text: str, items: list[answers.SnippetOut]) -> str:
    seen = [text, *(f"{item.update_id} {item.late}" for item in items)]
    return hashlib.sha256("\n".join(seen).encode()).hexdigest()[:16]


def _unless_seen(answer: answers.SnippetsOut) -> Response:
    response = jsonify(answer.model_dump(mode="json"))
    response.set_etag(answer.version)
    response.headers["Cache-Control"] = "private, no-cache"  # keep it, but ask before you use it
    return response.make_conditional(request)  # type: ignore[return-value]  # werkzeug answers the same response
