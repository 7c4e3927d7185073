"""What an agent says now, for the desktops and chat tools that agents already have."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

from flask import Response, jsonify, request
from sqlalchemy import select
from sqlalchemy.orm import Session

from incident_center import clock
from incident_center.delivery.composer import render
from incident_center.errors import Flaw, Refused
from incident_center.house import House
from incident_center.incidents import questions
from incident_center.incidents.rules import ENDING, is_overdue
from incident_center.integrations.api_v1 import answers
from incident_center.integrations.api_v1.api import Answered, api, center, roles
from incident_center.integrations.api_v1.bodies import SnippetsQuery, UnlessSeenHeader
from incident_center.integrations.api_v1.callers import VIEWER
from incident_center.integrations.api_v1.document import errors
from incident_center.models import Incident
from incident_center.playbooks import normalise_sms
from incident_center.states import ComponentStatus, Medium

TOLD_AFTER_THE_END = timedelta(hours=2)
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
    with center().database.reading() as session:
        items = [
            snippet
            for row in _to_tell_of(session, now=now)
            if (snippet := _snippet(session, house, row, query, now=now)) is not None
        ]
        quiet = None if items else _without_updates(session, house, query)
    items.sort(key=lambda item: (item.phase not in ENDING, item.as_of), reverse=True)
    return _unless_seen(_answer(query, items, quiet, now=now))


def _without_updates(session: Session, house: House, query: SnippetsQuery) -> tuple[str, str]:
    """State and text where no update speaks. "All is well" is said only when it is: an incident that was declared
    a minute ago has no words yet, and an agent must not deny it."""
    components = questions.components(session)
    unwell = {row.status for row in components} - {
        ComponentStatus.OPERATIONAL,
        ComponentStatus.UNDER_MAINTENANCE,
    }
    worked_on = [row for row in components if row.status is ComponentStatus.UNDER_MAINTENANCE]
    calm = "maintenance" if worked_on else "all_well"
    state = "checking" if unwell or questions.open_incidents(session) else calm
    names = (row.names.get(query.language) or row.names.get("en") or row.key for row in worked_on)
    text = house.catalogue.say(
        query.language,
        f"snippet.{state}.{query.channel}",
        company=house.company,
        components=", ".join(names),
        status_url=house.settings.public_url,
    )
    return state, normalise_sms(text) if query.channel == "sms" else text


def _to_tell_of(session: Session, *, now: datetime) -> list[Incident]:
    """Open ones, and those that have just ended: callers go on asking what became of their payout."""
    ended = select(Incident).where(
        Incident.phase.in_(ENDING), Incident.version > 0, Incident.resolved_at > now - TOLD_AFTER_THE_END
    )
    return [*questions.open_incidents(session, public=True), *session.scalars(ended)]


def _snippet(
    session: Session, house: House, row: Incident, query: SnippetsQuery, *, now: datetime
) -> answers.SnippetOut | None:
    update = questions.latest_update(session, row.id)
    if update is None:
        return None
    medium = Medium(query.channel)
    wording = questions.wording(session, update.id, medium=medium, language=query.language)
    said = render(house, wording, zone=house.zone, now_at=now)
    due = update.next_update_by
    return answers.SnippetOut(
        incident_id=row.id,
        ref=row.ref,
        update_id=update.id,
        number=update.number,
        phase=update.phase,
        subject=said.subject,
        text=said.text,
        as_of=update.published_at,
        next_update_by=due,
        late=due is not None and is_overdue(due, now=now),
        url=house.incident_url(row.id),
    )


def _answer(
    query: SnippetsQuery,
    items: list[answers.SnippetOut],
    quiet: tuple[str, str] | None,
    *,
    now: datetime,
) -> answers.SnippetsOut:
    over = all(item.phase in ENDING for item in items)
    state, text = quiet or ("resolved" if over else "incident", "\n\n".join(item.text for item in items))
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
