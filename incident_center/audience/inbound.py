"""What customers text to our number: STOP, START and HELP, in every language of the word catalogue.

However a text reaches us (a provider's webhook, an SMPP session, a program with a token), it comes through here.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from incident_center.audience.addresses import parse_phone, region_of
from incident_center.audience.leave import stop
from incident_center.audience.restart import restart
from incident_center.delivery.receipts import first_time
from incident_center.delivery.singles import queue_message
from incident_center.delivery.suppress import address_hash
from incident_center.errors import Flaw, Refused
from incident_center.house import House
from incident_center.models import Subscriber
from incident_center.playbooks import Catalogue, normalise_sms
from incident_center.states import Channel, MessageKind, SubscriberState

STOP, START, HELP, NONE = "stop", "start", "help", "none"
_REPLY_LASTS = timedelta(hours=1)
_BETWEEN_DIGITS = re.compile(r"[\s()./+-]+")
_E164 = re.compile(r"[1-9][0-9]{6,14}")
_NOT_A_LETTER = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class TextAnswer:
    """What a text asked for (`action`) and what may be said to it. `told`: a reply would be one too many, because a
    message of ours says so already, or because the same number was told today what texts we know. Two robots would
    write to each other for ever."""

    action: str
    reply: str
    told: bool


def answer_text(session: Session, *, house: House, sender: str, text: str, now: datetime) -> TextAnswer:
    """Does what the text asks for. Raises Refused when `sender` is no mobile number."""
    phone = _phone(house, sender)
    answer, _ = _answered(session, house, phone, text, now)
    return answer


def answer_by_message(session: Session, *, house: House, sender: str, text: str, now: datetime) -> TextAnswer:
    """Does what the text asks for, and replies by a single message: for ways in that carry no answer back. Raises
    Refused when `sender` is no mobile number."""
    phone = _phone(house, sender)
    answer, person = _answered(session, house, phone, text, now)
    if not answer.told:
        queue_message(
            session,
            kind=MessageKind.REPLY,
            channel=Channel.SMS,
            address=phone,
            language=person.language if person else _language_of(house.catalogue, text),
            subscriber_id=person.id if person else None,
            subject=None,
            text=answer.reply,
            key=f"reply {answer.action} {now.date()} {address_hash(house, Channel.SMS, phone)}",
            now=now,
            lifetime=_REPLY_LASTS,
        )
    return answer


def _answered(
    session: Session, house: House, phone: str, text: str, now: datetime
) -> tuple[TextAnswer, Subscriber | None]:
    action = wanted_action(house.catalogue, text)
    person = session.scalar(select(Subscriber).where(Subscriber.phone == phone))
    language = person.language if person else _language_of(house.catalogue, text)
    before = person.state if person and person.channel is Channel.SMS else None
    reply, told = HELP, False
    if action == STOP:
        stop(session, house=house, phone=phone, now=now)
        reply, told = STOP, before not in {None, SubscriberState.UNSUBSCRIBED}
    elif action == START:
        known = restart(session, house=house, phone=phone, now=now)
        reply = START if known else "unknown_number"
        told = known and before is not SubscriberState.CONFIRMED
    elif action == NONE:
        today = f"{address_hash(house, Channel.SMS, phone)} {now.date()}"
        told = not first_time(session, source="inbound", event=today, now=now)
    said = house.catalogue.say(
        language, f"inbound.reply.{reply}", company=house.company, status_url=house.settings.public_url
    )
    return TextAnswer(action, normalise_sms(said), told), person


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
