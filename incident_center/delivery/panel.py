"""What a lead asks while an update goes out: how fast, what hangs, how the providers are, who fails and why.

Everything that is plainly accepted is counted by its chunk; the questions here look at the other rows alone,
which stand in an index of their own. They cost the same with a million people reached as with none.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, String, func, select, type_coerce
from sqlalchemy.orm import Session

from incident_center.config import Settings
from incident_center.delivery.apart import apart
from incident_center.delivery.questions import Progress
from incident_center.models import Chunk, Delivery, Provider
from incident_center.states import Channel, DeliveryState, ProviderState

# What a lead wants explained.
TROUBLE = (
    DeliveryState.FAILED,
    DeliveryState.BOUNCED,
    DeliveryState.COMPLAINED,
    DeliveryState.UNKNOWN,
    DeliveryState.QUARANTINED,
    DeliveryState.RETRY,
)
# A message of these people was on the wire; what a rate counts.
_HANDED_OVER = (
    DeliveryState.ACCEPTED,
    DeliveryState.DELIVERED,
    DeliveryState.BOUNCED,
    DeliveryState.COMPLAINED,
    DeliveryState.FAILED,
    DeliveryState.UNKNOWN,
)
_LATER = (DeliveryState.RETRY, DeliveryState.UNKNOWN)
REASONS = 30  # shown; a lead reads no more
_SPELLINGS = 500  # of one reason, by which its first people are found
_ROWS_AT_ONCE = 1_000
PEOPLE = 50
# Queue numbers, message ids: letters and digits mixed, or long numbers.
_OWN_NUMBER = re.compile(r"\b(?=\w*\d)(?=\w*[A-Za-z])\w{8,}\b|\b\d{5,}\b")


@dataclass(frozen=True)
class Wire:
    """What is on the wire now, since when the oldest of it, and what waits for a second try."""

    number: int
    oldest: datetime | None
    next_try: datetime | None
    to_be_resent: int  # unknown ones that are sent once more by themselves


@dataclass(frozen=True)
class Reason:
    """People of one channel and state to whom the same was said; `words` as the provider wrote them once."""

    key: str
    channel: Channel
    state: DeliveryState
    code: str | None
    words: str | None
    spellings: tuple[str | None, ...]
    number: int
    first: datetime
    last: datetime


@dataclass(frozen=True)
class Health:
    """A configured provider. `state` is None when it has not been asked since it was configured."""

    name: str
    channel: Channel
    state: ProviderState | None
    rest_until: datetime | None
    last_ok_at: datetime | None
    last_trouble_at: datetime | None
    code: str | None
    words: str | None


def handed_over(progress: Progress) -> int:
    """People whose message has been on the wire: what a rate is measured with."""
    return sum(states.get(one, 0) for states in progress.by_channel.values() for one in _HANDED_OVER)


def total(progress: Progress, *wanted: DeliveryState) -> int:
    return sum(states.get(state, 0) for states in progress.by_channel.values() for state in wanted)


def wire(session: Session, update_id: int, progress: Progress) -> Wire:
    marked = session.scalar(select(func.min(Chunk.batch_at)).where(Chunk.update_id == update_id))
    rows = session.execute(
        select(
            Delivery.state,
            func.min(Delivery.at).label("since"),
            func.min(Delivery.not_before).label("next_try"),
            func.count().label("number"),
        )
        .where(apart(update_id, (DeliveryState.SENDING, *_LATER)), Delivery.not_before.is_not(None))
        .group_by(Delivery.channel, Delivery.state)
    ).all()
    flying = [row.since for row in rows if row.state is DeliveryState.SENDING]
    return Wire(
        number=total(progress, DeliveryState.SENDING),
        oldest=min([*flying, marked] if marked else flying, default=None),
        next_try=min((row.next_try for row in rows if row.state in _LATER), default=None),
        to_be_resent=sum(row.number for row in rows if row.state is DeliveryState.UNKNOWN),
    )


def reasons(session: Session, update_id: int) -> list[Reason]:
    """At most REASONS, those that are final first, then the largest.

    Words that differ in a provider's own numbers alone are one reason.
    """
    merged: dict[tuple[Any, ...], _Merging] = {}
    for row in session.execute(reasons_query(update_id).execution_options(yield_per=_ROWS_AT_ONCE)):
        said = (row.channel, row.state, row.code, _OWN_NUMBER.sub("…", row.detail or ""))
        merged.setdefault(said, _Merging(row)).add(row)
    found = [one.reason(said) for said, one in merged.items()]
    later = DeliveryState.RETRY  # these may still come right
    return sorted(found, key=lambda one: (one.state is later, -one.number, one.key))[:REASONS]


def reasons_query(update_id: int) -> Select[*tuple[Any, ...]]:
    return (
        select(
            Delivery.channel,
            Delivery.state,
            Delivery.code,
            Delivery.detail,
            func.count().label("number"),
            func.min(Delivery.at).label("first"),
            func.max(Delivery.at).label("last"),
        )
        .where(apart(update_id, TROUBLE))
        .group_by(Delivery.channel, Delivery.state, Delivery.code, Delivery.detail)
    )


class _Merging:
    """A reason while its spellings are read: with a number of the provider's own in each there may be as many as
    people, so only some are kept."""

    def __init__(self, row: Any) -> None:
        self.often, self.number = row, 0
        self.first, self.last = row.first, row.last
        self.spellings: list[str | None] = []

    def add(self, row: Any) -> None:
        self.number += row.number
        self.first, self.last = min(self.first, row.first), max(self.last, row.last)
        if row.number > self.often.number:
            self.often = row
        if len(self.spellings) < _SPELLINGS:
            self.spellings.append(row.detail)

    def reason(self, said: tuple[Any, ...]) -> Reason:
        channel, state, code, words = said
        told = f"{channel.value}|{state.value}|{code}|{words}"
        return Reason(
            key=hashlib.sha256(told.encode()).hexdigest()[:12],
            channel=channel,
            state=state,
            code=code,
            words=self.often.detail,
            spellings=tuple(self.spellings),
            number=self.number,
            first=self.first,
            last=self.last,
        )


def people(session: Session, update_id: int, reason: Reason) -> list[tuple[int, datetime]]:
    """The first PEOPLE subscribers of a reason, by id, with the time of their last change."""
    spelled = [words for words in reason.spellings if words is not None]
    said = Delivery.detail.in_(spelled)
    # One text, compared: two constants would leave only the subscriber to order by, which the key has as well.
    place = type_coerce(Delivery.channel, String).concat(" ").concat(type_coerce(Delivery.state, String))
    query = select(Delivery.subscriber_id, Delivery.at).where(
        apart(update_id, TROUBLE),
        place == f"{reason.channel.value} {reason.state.value}",
        Delivery.code == reason.code if reason.code is not None else Delivery.code.is_(None),
        said | Delivery.detail.is_(None) if None in reason.spellings else said,
    )
    return [
        (row.subscriber_id, row.at)
        for row in session.execute(
            query.order_by(Delivery.channel, Delivery.state, Delivery.subscriber_id).limit(PEOPLE)
        )
    ]


def health(session: Session, settings: Settings, channels: Iterable[Channel]) -> list[Health]:
    """The configured providers of these channels, first preferred; those of earlier settings are left out."""
    names = {
        name: channel
        for channel, urls in ((Channel.EMAIL, settings.email_urls), (Channel.SMS, settings.sms_urls))
        if channel in set(channels)
        for name in _names(channel, urls)
    }
    rows = {row.name: row for row in session.scalars(select(Provider).where(Provider.name.in_(names)))}
    return [_health(name, channel, rows.get(name)) for name, channel in names.items()]


def _names(channel: Channel, urls: Iterable[str]) -> list[str]:
    """As providers.py names them: channel, place in the settings, kind."""
    kinds = [url.partition("://")[0].rpartition("=")[2].lower() for url in urls]
    return [f"{channel.value} {place} {kind}" for place, kind in enumerate(kinds, start=1)]


def _health(name: str, channel: Channel, row: Provider | None) -> Health:
    return Health(
        name=name,
        channel=channel,
        state=row.state if row else None,
        rest_until=row.rest_until if row else None,
        last_ok_at=row.last_ok_at if row else None,
        last_trouble_at=row.last_trouble_at if row else None,
        code=row.last_code if row else None,
        words=row.last_words if row else None,
    )
