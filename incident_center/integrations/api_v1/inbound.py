"""What customers text to our number: STOP, START and HELP, in every language of the word catalogue.

An SMS gateway's webhook calls this (or a few lines that turn its own format into ours do).
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from incident_center.audience.addresses import parse_phone, region_of
from incident_center.audience.leave import stop
from incident_center.audience.restart import restart
from incident_center.errors import Flaw, Refused
from incident_center.house import House
from incident_center.integrations.api_v1 import answers
from incident_center.integrations.api_v1.api import Answered, api, center, roles
from incident_center.integrations.api_v1.bodies import IdempotencyHeader, InboundSmsIn
from incident_center.integrations.api_v1.callers import INBOUND
from incident_center.integrations.api_v1.document import errors
from incident_center.integrations.api_v1.idempotency import once
from incident_center.models import Subscriber
from incident_center.playbooks import Catalogue, normalise_sms

STOP, START, HELP, NONE = "stop", "start", "help", "none"
_TAG: list[Any] = [{"name": "inbound"}]
_BETWEEN_DIGITS = re.compile(r"[\s()./+-]+")
_E164 = re.compile(r"[1-9][0-9]{6,14}")
_NOT_A_LETTER = re.compile(r"[\W_]+")


@api.post(
    "/inbound/sms",
    tags=_TAG,
    summary="A customer's text to our number",
    responses={200: answers.InboundOut, **errors(409, body=True)},
)
@roles(INBOUND)
def inbound_sms(header: IdempotencyHeader, body: InboundSmsIn) -> Answered:
    """STOP ends SMS at once, also for a number that we do not know. START brings back who was subscribed before.
    `reply` is what the gateway may send back."""

    def deed(session: Session, now: datetime) -> tuple[int, answers.InboundOut]:
        return 200, answer_text(session, center().house, body.sender, body.text, now=now)

    return once(header.key, deed)


def answer_text(
    session: Session, house: House, sender: str, text: str, *, now: datetime
) -> answers.InboundOut:
    """Does what the text asks for. Raises Refused when `sender` is no mobile number."""
    phone = _phone(house, sender)
    action = wanted_action(house.catalogue, text)
    person = session.scalar(select(Subscriber).where(Subscriber.phone == phone))
    language = person.language if person else _language_of(house.catalogue, text)
    reply = HELP
    if action == STOP:
        stop(session, house=house, phone=phone, now=now)
        reply = STOP
    elif action == START:
        reply = START if restart(session, house=house, phone=phone, now=now) else "unknown_number"
    said = house.catalogue.say(
        language, f"inbound.reply.{reply}", company=house.company, status_url=house.settings.public_url
    )
    return answers.InboundOut(action=action, reply=normalise_sms(said))


def wanted_action(catalogue: Catalogue, text: str) -> str:
    """stop, start, help, or none. The whole text must be the word: "end of June?" asks for no end."""
    word = _word(text)
    for action in (STOP, START, HELP):
        for language in catalogue.languages:
            if word in _keywords(catalogue, language, action):
                return action
    return NONE


def _language_of(catalogue: Catalogue, text: str) -> str:
    """The language whose word it is; the fallback for a word of all of them."""
    word = _word(text)
    for language in catalogue.languages:
        if any(word in _keywords(catalogue, language, action) for action in (STOP, START, HELP)):
            return language
    return catalogue.languages[0]


def _keywords(catalogue: Catalogue, language: str, action: str) -> list[str]:
    return catalogue.say(language, f"inbound.keywords.{action}").split()


def _word(text: str) -> str:
    return _NOT_A_LETTER.sub(" ", text).strip().casefold()


def _phone(house: House, sender: str) -> str:
    """The sender as E.164. Many gateways leave the plus out; and a network that carried the text knows better than
    our tables which numbers exist: whoever says STOP is not asked for another number."""
    try:
        return parse_phone(sender, region_of(house.zone))
    except Refused as refused:
        digits = _BETWEEN_DIGITS.sub("", sender).removeprefix("00")
        if not _E164.fullmatch(digits):
            raise Refused(*(Flaw("from", f.code, f.message) for f in refused.flaws)) from refused
        return f"+{digits}"
