"""What a lead may do while an update goes out: stop it, send it again to whom it missed, take the call list."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Response
from sqlalchemy.orm import Session

from incident_center import clock
from incident_center.delivery.call_list import call_list
from incident_center.delivery.not_reached import not_reached
from incident_center.errors import Flaw, Refused
from incident_center.incidents import verbs
from incident_center.integrations.api_v1 import answers
from incident_center.integrations.api_v1.api import Answered, api, caller, center, roles
from incident_center.integrations.api_v1.bodies import IdempotencyHeader, NothingIn, SendAgainIn, UpdatePath
from incident_center.integrations.api_v1.callers import LEAD
from incident_center.integrations.api_v1.document import errors
from incident_center.integrations.api_v1.idempotency import once
from incident_center.states import DeliveryState

_TAG: list[Any] = [{"name": "delivery"}]
_CSV = {"description": "One line a person.", "content": {"text/csv": {"schema": {"type": "string"}}}}


@api.post(
    "/updates/<int:update_id>/stop",
    tags=_TAG,
    summary="Stop sending an update",
    responses={200: answers.StoppedOut, **errors(404, 409, body=True)},
)
@roles(LEAD)
def stop_sending(path: UpdatePath, header: IdempotencyHeader, body: NothingIn) -> Answered:  # noqa: ARG001 (body: an object without a name in it)
    """Whoever has not been written to does not get it. 409 when nobody waits for it any more."""

    def deed(session: Session, now: datetime) -> tuple[int, answers.StoppedOut]:
        number = verbs.stop_sending(session, update_id=path.update_id, by=caller().by, now=now)
        return 200, answers.StoppedOut(update_id=path.update_id, not_written_to=number)

    return once(header.key, deed)


@api.post(
    "/updates/<int:update_id>/send-again",
    tags=_TAG,
    summary="Send an update again to whom it missed",
    responses={200: answers.SentAgainOut, **errors(404, 409, body=True)},
)
@roles(LEAD)
def send_again(path: UpdatePath, header: IdempotencyHeader, body: SendAgainIn) -> Answered:
    """409 when a newer update was published, or this one was stopped or is too old: older news would mislead."""
    if "unknown" in body.states and body.as_of is None and header.key is None:
        raise Refused(
            Flaw(
                "as_of",
                "missing",
                "Say when you read the numbers, or send an Idempotency-Key. People who may have the message "
                "would get it once more each time this request is repeated.",
            )
        )

    def deed(session: Session, now: datetime) -> tuple[int, answers.SentAgainOut]:
        if body.as_of is not None and body.as_of > now:
            raise Refused(
                Flaw("as_of", "in_the_future", "This time is still to come. Say when you read the numbers.")
            )
        number = verbs.send_again(
            session,
            update_id=path.update_id,
            states={DeliveryState(state) for state in body.states},
            as_of=body.as_of or now,
            by=caller().by,
            now=now,
        )
        return 200, answers.SentAgainOut(update_id=path.update_id, people=number)

    return once(header.key, deed)


@api.post(
    "/updates/<int:update_id>/call-list",
    tags=_TAG,
    summary="Whom to call, because an update has not reached them",
    responses={200: _CSV, **errors(404, body=True)},
)
@roles(LEAD)
def take_call_list(path: UpdatePath, body: NothingIn) -> Response:  # noqa: ARG001 (body: an object without a name in it)
    """Names, numbers and addresses as CSV, as the console gives it. A POST, because each taking is noted."""
    here, now = center(), clock.now()
    with here.database.transaction() as session:
        verbs.note_call_list(session, update_id=path.update_id, by=caller().by, now=now)
    people = not_reached(here.database, path.update_id, now=now)
    response = Response(call_list(people, zone=here.house.zone), content_type="text/csv; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    return response
