"""Puts each reader's own parts into the frozen wordings; keeps what readers share, so that a letter costs
joins."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from incident_center.delivery.composer import reader_values
from incident_center.delivery.ledger import Due
from incident_center.delivery.letters import (
    PreparedEmail,
    PreparedSms,
    ReaderParts,
    header,
    message_id,
    quoted,
    raw_email,
)
from incident_center.delivery.links import manage_url, unsubscribe_url
from incident_center.delivery.outcome import Letter
from incident_center.delivery.postbox import Single
from incident_center.delivery.texts import Reader
from incident_center.house import House
from incident_center.models import Wording
from incident_center.playbooks import find_zone
from incident_center.states import Channel, Medium

_KEPT = 256  # wordings by zone: 24 zones in four languages of two updates
_MEDIA = {Channel.EMAIL: Medium.EMAIL, Channel.SMS: Medium.SMS}
Value = TypeVar("Value")


@dataclass(frozen=True)
class Loaded:
    """One wording without its row's session."""

    id: int
    update_id: int
    language: str
    content: dict[str, Any]
    values: dict[str, str]
    published_at: datetime


class Mailer:
    """Composes letters for one worker. `load` reads what a batch needs; `letter` touches no database."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._wordings: OrderedDict[Hashable, Loaded] = OrderedDict()
        self._prepared: OrderedDict[Hashable, Any] = OrderedDict()
        self._newest: dict[tuple[int, Channel], dict[str, int]] = {}

    def load(self, session: Session, updates: Collection[int], channel: Channel) -> None:
        """Reads the newest revision of each language; a silent fix reaches whoever still waits."""
        self._newest = {(update_id, channel): {} for update_id in updates}
        rows = session.execute(
            select(Wording.id, Wording.update_id, Wording.language)
            .where(Wording.update_id.in_(list(updates)), Wording.medium == _MEDIA[channel])
            .order_by(Wording.revision)
        ).all()
        for row in rows:
            self._newest[row.update_id, channel][row.language] = row.id
        for languages in self._newest.values():
            for wording_id in languages.values():
                if wording_id not in self._wordings:
                    _keep(self._wordings, wording_id, partial(_loaded, session, wording_id))

    def letter(self, due: Due, *, raw: bool, now: datetime) -> tuple[Letter, int]:
        """The letter for one person, and the wording that it says.

        Raises ValueError or KeyError when it cannot be composed for them.
        """
        wording = self._wording(due)
        zone = self._zone(due.zone)
        own = self._reader_parts(due, wording.language)
        identity = message_id(
            self._house.settings.public_url,
            kind="update",
            about=due.update_id,
            reader=due.subscriber_id,
            at=wording.published_at,
        )
        if due.channel is Channel.SMS:
            sms = self._prepare(wording, zone, lambda: PreparedSms(wording, zone=zone))
            text = sms.text(own)
            letter = Letter(
                key=due.subscriber_id, channel=due.channel, to=due.address, message_id=identity, text=text
            )
            return letter, wording.id
        return self._email(due, wording, zone, own, identity, raw=raw, now=now), wording.id

    def single(self, message: Single, *, raw: bool) -> Letter:
        """The letter of a single message. Raises ValueError when it cannot be composed."""
        if message.channel is None:
            raise ValueError("a note to the team is no letter")
        identity = message_id(
            self._house.settings.public_url,
            kind=message.kind.value,
            about=message.id,
            reader=0,
            at=message.created_at,
        )
        return Letter(
            key=message.id,
            channel=message.channel,
            to=message.address,
            message_id=identity,
            subject=message.subject,
            text=message.text,
            html=message.html,
            headers=message.headers,
            raw=self._raw_single(message, identity) if raw and message.channel is Channel.EMAIL else b"",
        )

    def _raw_single(self, message: Single, identity: str) -> bytes:
        return raw_email(
            to=message.address,
            subject=header("Subject", message.subject),
            message_id=identity,
            date=message.created_at,
            headers=message.headers,
            text=quoted(message.text),
            html=None if message.html is None else quoted(message.html),
        )

    def _email(
        self,
        due: Due,
        wording: Loaded,
        zone: str,
        own: ReaderParts,
        identity: str,
        *,
        raw: bool,
        now: datetime,
    ) -> Letter:
        thread = message_id(
            self._house.settings.public_url, kind="incident", about=due.incident_id, reader=0, at=_EPOCH
        )
        email = self._prepare(wording, zone, lambda: PreparedEmail(wording, zone=zone, thread=thread))
        return Letter(
            key=due.subscriber_id,
            channel=due.channel,
            to=due.address,
            message_id=identity,
            subject=email.subject(own),
            text="" if raw else email.text(own),
            html=None if raw else email.html(own),
            raw=email.raw(own, to=due.address, message_id=identity, date=now) if raw else b"",
        )

    def _wording(self, due: Due) -> Loaded:
        """In the reader's language, its base, the house's first, or whatever there is."""
        languages = self._newest.get((due.update_id, due.channel), {})
        for language in (due.language, due.language.partition("-")[0], "en", *languages):
            if language in languages:
                return self._wordings[languages[language]]
        raise ValueError("the update has no words for this channel")

    def _zone(self, zone: str) -> str:
        """A zone that the IANA database no longer has must not keep anybody in the dark."""
        try:
            find_zone(zone)
        except ValueError:
            return self._house.zone
        return zone

    def _reader_parts(self, due: Due, language: str) -> ReaderParts:
        reader = Reader(
            language=language,
            name=due.name,
            form=due.form,
            manage_url=manage_url(self._house, due.subscriber_id),
            unsubscribe_url=unsubscribe_url(self._house, due.subscriber_id),
        )
        return ReaderParts(**reader_values(self._house, language, reader))

    def _prepare(self, wording: Loaded, zone: str, make: Callable[[], Value]) -> Value:
        made: Value = _keep(self._prepared, (wording.id, zone), make)
        return made


def _loaded(session: Session, wording_id: int) -> Loaded:
    row = session.get_one(Wording, wording_id)
    return Loaded(row.id, row.update_id, row.language, row.content, row.values, row.published_at)


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def _keep(kept: OrderedDict[Hashable, Any], key: Hashable, make: Callable[[], Value]) -> Value:
    """The value under `key`, made once; the longest unused goes when there are too many."""
    if key in kept:
        kept.move_to_end(key)
    else:
        kept[key] = make()
        if len(kept) > _KEPT:
            kept.popitem(last=False)
    value: Value = kept[key]
    return value
