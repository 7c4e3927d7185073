"""Incidents: declare, read, publish, and who was written to."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import jsonify
from sqlalchemy import select
from sqlalchemy.orm import Session

from incident_center import clock
from incident_center.delivery.questions import deliveries_page
from incident_center.errors import Conflict, Refused
from incident_center.incidents import questions, verbs
from incident_center.incidents.inputs import Declaration
from incident_center.incidents.rules import ENDING
from incident_center.integrations.api_v1 import answers, tell
from incident_center.integrations.api_v1.api import Answered, api, caller, center, roles
from incident_center.integrations.api_v1.bodies import (
    DeliveriesQuery,
    FirstUpdateIn,
    IdempotencyHeader,
    IncidentIn,
    IncidentPath,
    IncidentsQuery,
    PublishHeader,
    UpdateIn,
)
from incident_center.integrations.api_v1.callers import LEAD, VIEWER
from incident_center.integrations.api_v1.document import errors
from incident_center.integrations.api_v1.idempotency import once
from incident_center.integrations.api_v1.paging import cursor_after, read_cursor, read_pair
from incident_center.integrations.api_v1.publishing import in_the_callers_words, publication_of, version_seen
from incident_center.models import Incident, Update

_TAG: list[Any] = [{"name": "incidents"}]


@api.post(
    "/incidents",
    tags=_TAG,
    summary="Declare an incident, with its first update if you like",
    responses={201: answers.IncidentOut, **errors(409, body=True)},
)
@roles(LEAD)
def declare(header: IdempotencyHeader, body: IncidentIn) -> Answered:
    """With `update`, both happen in one transaction: an update that is refused declares nothing."""

    def deed(session: Session, now: datetime) -> tuple[int, answers.IncidentOut]:
        house = center().house
        declaration = Declaration(
            playbook=body.playbook,
            component_ids=tuple(body.components),
            impact=body.impact,
            started_at=body.started_at,
            answers=body.answers,
        )
        made = verbs.declare(session, house=house, declaration=declaration, by=caller().by, now=now)
        if body.update is not None:
            _publish(session, made, body.update, seen_version=0, under="update", now=now)
        return 201, tell.incident(session, house, made, now=now)

    answer, status = once(header.key, deed)
    response = jsonify(answer)
    response.status_code = status
    response.headers["Location"] = f"{center().settings.public_url}/api/v1/incidents/{answer['id']}"
    return response


@api.get(
    "/incidents",
    tags=_TAG,
    summary="Incidents, newest first",
    responses={200: answers.IncidentsOut, **errors(422)},
)
@roles(VIEWER)
def list_incidents(query: IncidentsQuery) -> Answered:
    now, before = clock.now(), read_cursor(query.cursor)
    with center().database.reading() as session:
        wanted = select(Incident).order_by(Incident.id.desc()).limit(query.limit + 1)
        if query.state == "open":
            wanted = wanted.where(Incident.phase.not_in(ENDING))
        elif query.state == "ended":
            wanted = wanted.where(Incident.phase.in_(ENDING))
        if before is not None:
            wanted = wanted.where(Incident.id < before)
        rows = list(session.scalars(wanted))
        shown = rows[: query.limit]
        answer = answers.IncidentsOut(
            items=[
                tell.incident(session, center().house, row, counted=row.phase not in ENDING, now=now)
                for row in shown
            ],
            next=cursor_after(shown[-1].id) if len(rows) > query.limit else None,
        )
    return answer.model_dump(mode="json")


@api.get(
    "/incidents/<int:incident_id>",
    tags=_TAG,
    summary="One incident with its updates, promise and delivery counts",
    responses={200: answers.IncidentOut, **errors(404)},
)
@roles(VIEWER)
def one_incident(path: IncidentPath) -> Answered:
    """The ETag is the incident's version, as If-Match of an update takes it."""
    with center().database.reading() as session:
        row = questions.incident(session, path.incident_id)
        answer = tell.incident(session, center().house, row, now=clock.now())
    response = jsonify(answer.model_dump(mode="json"))
    response.set_etag(str(answer.version))
    return response


@api.post(
    "/incidents/<int:incident_id>/updates",
    tags=_TAG,
    summary="Publish an update or a correction",
    responses={201: answers.UpdateOut, **errors(404, 409, body=True)},
)
@roles(LEAD)
def publish(path: IncidentPath, header: PublishHeader, body: UpdateIn) -> Answered:
    """Of two publishers at once, one gets 201 and the other 409: nothing of theirs was sent, and they read first."""
    with center().database.reading() as session:
        seen = version_seen(
            session, path.incident_id
        )  # before the writing transaction: who comes second must lose
    expected = _expected_version(header, body)

    def deed(session: Session, now: datetime) -> tuple[int, answers.UpdateOut]:
        row = questions.incident(session, path.incident_id)
        made = _publish(session, row, body, seen_version=seen if expected is None else expected, now=now)
        return 201, tell.updates(session, center().house, [made], now=now)[0]

    return once(header.key, deed)


@api.get(
    "/incidents/<int:incident_id>/deliveries",
    tags=_TAG,
    summary="Who was written to, and what came of it",
    responses={200: answers.DeliveriesOut, **errors(404, 422)},
)
@roles(VIEWER)
def deliveries(path: IncidentPath, query: DeliveriesQuery) -> Answered:
    after = read_pair(query.cursor)
    with center().database.reading() as session:
        questions.incident(session, path.incident_id)
        rows = deliveries_page(
            session,
            path.incident_id,
            state=query.state,
            channel=query.channel,
            after=after,
            limit=query.limit + 1,
        )
        shown = rows[: query.limit]
        answer = answers.DeliveriesOut(
            items=[answers.DeliveryOut.model_validate(row, from_attributes=True) for row in shown],
            next=cursor_after(shown[-1].update_id, shown[-1].subscriber_id)
            if len(rows) > query.limit
            else None,
        )
    return answer.model_dump(mode="json")


def _publish(
    session: Session,
    row: Incident,
    asked: FirstUpdateIn,
    *,
    seen_version: int,
    under: str = "",
    now: datetime,
) -> Update:
    house = center().house
    try:
        publication = publication_of(session, house, row, asked, seen_version=seen_version)
        return verbs.publish_update(
            session, house=house, incident_id=row.id, publication=publication, by=caller().by, now=now
        )
    except Refused as refused:
        raise in_the_callers_words(refused, under=under) from refused


def _expected_version(header: PublishHeader, body: UpdateIn) -> int | None:
    """What the caller says that this update follows; None leaves it to what this request finds."""
    by_header = None if header.version is None else int(header.version.strip('"'))
    if by_header is not None and body.after_version is not None and by_header != body.after_version:
        raise Conflict("If-Match and after_version name different versions. Send one of them.")
    return body.after_version if by_header is None else by_header
