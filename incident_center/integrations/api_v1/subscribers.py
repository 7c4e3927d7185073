"""Subscribers: enrol, confirm by a code read out, change, erase."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from flask import Response, jsonify
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session

from incident_center import clock
from incident_center.audience import people
from incident_center.audience.confirm import confirm_by_code
from incident_center.audience.leave import erase
from incident_center.audience.prefer import change_address, change_preferences
from incident_center.audience.requests import SubscribeRequest
from incident_center.audience.second import add_second, remove_second
from incident_center.audience.subscribe import subscribe
from incident_center.delivery.second import second_address
from incident_center.errors import Flaw, NotThere, Refused
from incident_center.integrations.api_v1 import answers, problems
from incident_center.integrations.api_v1.api import Answered, api, caller, center, roles
from incident_center.integrations.api_v1.bodies import (
    CodeIn,
    IdempotencyHeader,
    SubscriberChangeIn,
    SubscriberIn,
    SubscriberPath,
)
from incident_center.integrations.api_v1.callers import AGENT
from incident_center.integrations.api_v1.document import errors
from incident_center.integrations.api_v1.idempotency import once
from incident_center.models import Confirmation, Subscriber
from incident_center.states import Channel, SubscriberState

_TAG: list[Any] = [{"name": "subscribers"}]
_OUR_NAMES = {"zone": "time_zone", "email": "address", "phone": "address", "sms": "address"}


@api.post(
    "/subscribers",
    tags=_TAG,
    summary="Enrol a customer",
    responses={201: answers.SubscriberOut, **errors(409, body=True)},
)
@roles(AGENT)
def enrol(header: IdempotencyHeader, body: SubscriberIn) -> Answered:
    """They are asked to confirm. Somebody who is subscribed already keeps their settings and is told so."""

    def deed(session: Session, now: datetime) -> tuple[int, answers.SubscriberOut]:
        wish = SubscribeRequest(
            channel=body.channel,
            address=body.address,
            language=body.language,
            zone=body.time_zone,
            name=body.name,
            form=body.form,
            component_ids=None if body.components is None else frozenset(body.components),
        )
        house = center().house
        try:
            done = subscribe(session, house=house, request=wish, source="api", by=caller().by, now=now)
        except Refused as refused:
            raise _in_our_words(refused) from refused
        person = people.subscriber(session, done.subscriber_id)
        if body.fallback is not None and person.state is SubscriberState.PENDING:
            _ask_second(session, person.id, body.fallback, now=now)
        return 201, _told(session, person, now=now)

    answer, status = once(header.key, deed, retell=_retold)
    response = jsonify(answer)
    response.status_code = status
    response.headers["Location"] = f"{center().settings.public_url}/api/v1/subscribers/{answer['id']}"
    return response


@api.get(
    "/subscribers/<int:subscriber_id>",
    tags=_TAG,
    summary="One subscriber",
    responses={200: answers.SubscriberOut, **errors(404)},
)
@roles(AGENT)
def one_subscriber(path: SubscriberPath) -> Answered:
    """Whoever was erased is not there any more."""
    with center().database.reading() as session:
        person = people.subscriber(session, path.subscriber_id)
        return _told(session, person, now=clock.now()).model_dump(mode="json")


@api.patch(
    "/subscribers/<int:subscriber_id>",
    tags=_TAG,
    summary="Change how a customer is written to",
    responses={200: answers.SubscriberOut, **errors(404, body=True)},
)
@roles(AGENT)
def change(path: SubscriberPath, body: SubscriberChangeIn) -> Answered:
    """A new address is asked first: until its owner confirms, everything goes where it went before."""
    now, house = clock.now(), center().house
    with center().database.transaction() as session:
        person = people.subscriber(session, path.subscriber_id, lock=True)
        try:
            change_preferences(
                session,
                house=house,
                subscriber_id=person.id,
                preferences=replace(people.preferences_of(session, person), **_wanted(body)),
                by=caller().by,
                now=now,
            )
            if body.channel is not None or body.address is not None:
                channel, address = _new_address(person, body)
                change_address(
                    session,
                    house=house,
                    subscriber_id=person.id,
                    channel=channel,
                    address=address,
                    by=caller().by,
                    now=now,
                )
        except Refused as refused:
            raise _in_our_words(refused) from refused
        if body.fallback is not None:
            _ask_second(session, person.id, body.fallback, now=now)
        elif "fallback" in body.model_fields_set:
            remove_second(session, subscriber_id=person.id, by=caller().by, now=now)
        return _told(session, person, now=now).model_dump(mode="json")


@api.delete(
    "/subscribers/<int:subscriber_id>",
    tags=_TAG,
    summary="Erase a customer",
    responses={204: {"description": "Erased. Nothing is kept but a number and a keyed hash."}, **errors(404)},
)
@roles(AGENT)
def remove(path: SubscriberPath) -> Answered:
    with center().database.transaction() as session:
        erase(
            session, house=center().house, subscriber_id=path.subscriber_id, by=caller().by, now=clock.now()
        )
    return Response(status=204)


@api.post(
    "/subscribers/<int:subscriber_id>/confirm",
    tags=_TAG,
    summary="Confirm by the code that the customer reads out",
    responses={200: answers.SubscriberOut, **errors(404, 409, body=True)},
)
@roles(AGENT)
def confirm(path: SubscriberPath, header: IdempotencyHeader, body: CodeIn) -> Answered:
    """Five tries within 15 minutes. They get the current status at once."""

    def deed(session: Session, now: datetime) -> tuple[int, BaseModel]:
        waiting = _waiting(session, path.subscriber_id)
        done = confirm_by_code(
            session, house=center().house, confirmation_id=waiting, code=body.code, now=now
        )
        if (
            done.subscriber is None
        ):  # answered, not raised: a wrong try must be committed, or tries would be free
            return 422, problems.body(422, flaws=[done.flaw] if done.flaw else [])
        return 200, _told(session, done.subscriber, now=now)

    answer, status = once(header.key, deed, retell=_retold)
    return problems.respond(answer) if status == 422 else answer


def _ask_second(session: Session, subscriber_id: int, address: str, *, now: datetime) -> None:
    try:
        add_second(
            session,
            house=center().house,
            subscriber_id=subscriber_id,
            address=address,
            by=caller().by,
            now=now,
        )
    except Refused as refused:
        raise Refused(*(Flaw("fallback", flaw.code, flaw.message) for flaw in refused.flaws)) from refused


def _told(session: Session, person: Subscriber, *, now: datetime) -> answers.SubscriberOut:
    chosen = people.component_ids(session, person)
    open_question = session.scalar(
        select(Confirmation.id)
        .where(
            Confirmation.subscriber_id == person.id,
            Confirmation.used_at.is_(None),
            Confirmation.expires_at > now,
        )
        .limit(1)
    )
    return answers.SubscriberOut(
        id=person.id,
        channel=person.channel,
        address=person.address,
        language=person.language,
        time_zone=person.zone,
        name=person.name,
        form=person.form,
        components=None if chosen is None else sorted(chosen),
        fallback=second_address(person),
        state=person.state,
        source=person.source,
        confirmation_open=open_question is not None,
        created_at=person.created_at,
        confirmed_at=person.confirmed_at,
        ended_at=person.ended_at,
    )


def _retold(session: Session, subscriber_id: int, now: datetime) -> answers.SubscriberOut:
    return _told(session, people.subscriber(session, subscriber_id), now=now)


def _wanted(body: SubscriberChangeIn) -> dict[str, Any]:
    """The preferences that the caller named; null is a value for name, form and components."""
    given = body.model_fields_set
    flaws = [
        Flaw(name, "null", "This cannot be empty. Give a value or leave the field out.")
        for name in ("channel", "address", "language", "time_zone")
        if name in given and getattr(body, name) is None
    ]
    if flaws:
        raise Refused(*flaws)
    wanted: dict[str, Any] = {
        name: getattr(body, name) for name in ("language", "name", "form") if name in given
    }
    if "time_zone" in given:
        wanted["zone"] = body.time_zone
    if "components" in given:
        wanted["component_ids"] = None if body.components is None else frozenset(body.components)
    return wanted


def _new_address(person: Subscriber, body: SubscriberChangeIn) -> tuple[Channel, str]:
    channel = body.channel or person.channel
    address = body.address
    if address is None:  # only the channel: an address that they gave before
        address = person.email if channel is Channel.EMAIL else person.phone
    if address is None:
        raise Refused(Flaw("address", "missing", f"We have no address for {channel.value} yet. Give one."))
    return channel, address


def _waiting(session: Session, subscriber_id: int) -> int:
    """The latest question that a code answers. Raises NotThere."""
    people.subscriber(session, subscriber_id)
    found = session.scalar(
        select(Confirmation.id)
        .where(Confirmation.subscriber_id == subscriber_id, Confirmation.channel == Channel.SMS)
        .order_by(Confirmation.id.desc())
        .limit(1)
    )
    if found is None:
        raise NotThere("No code was sent to this subscriber. Enrol them again, or change their address.")
    return found


def _in_our_words(refused: Refused) -> Refused:
    """The audience room says zone and email; this API's fields are time_zone and address."""
    return Refused(*(Flaw(_OUR_NAMES.get(f.field, f.field), f.code, f.message) for f in refused.flaws))
