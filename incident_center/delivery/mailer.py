"""Puts each reader's own parts into the frozen wordings; keeps what readers share, so that a letter costs
joins."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, TypeVar

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from incident_center.delivery.composer import times_said
from incident_center.delivery.ledger import Due
from incident_center.delivery.letters import (
    date_text,
    header,
    message_id,
    message_ids,
    quoted,
    raw_email,
    wire_address,
)
from incident_center.delivery.links import LinkTokens, manage_base, unsubscribe_base
from incident_center.delivery.outcome import Letter
from incident_center.delivery.postbox import Single
from incident_center.delivery.prepared import (
    Greeting,
    LinkBases,
    PreparedEmail,
    PreparedSms,
    ReaderParts,
    greeting,
)
from incident_center.house import House
from incident_center.models import Wording
from incident_center.playbooks import Catalogue, find_zone, salutation
from incident_center.states import Channel, Medium

# Bounds on memory; whatever falls out is made again.
_WORDINGS_KEPT = 256
_PREPARED_KEPT = 256  # about 25 kB each: zones that say a time alike share one
_TIMES_KEPT = 4096  # 500 zones in four languages of two updates
_GREETINGS_KEPT = 2048
_MEDIA = {Channel.EMAIL: Medium.EMAIL, Channel.SMS: Medium.SMS}
_UPDATES_KEPT = 8  # two waves may be of two updates
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_SMS = Channel.SMS
Value = TypeVar("Value")

# Asked before every batch. Written once and past the ORM it costs a quarter of what it did: 50 µs.
_REVISIONS = (
    select(Wording.id, Wording.update_id, Wording.language)
    .where(Wording.update_id.in_(bindparam("updates", expanding=True)), Wording.medium == bindparam("medium"))
    .order_by(Wording.revision)
)


@dataclass(frozen=True)
class Loaded:
    """One wording without its row's session."""

    id: int
    update_id: int
    language: str
    content: dict[str, Any]
    values: dict[str, str]
    published_at: datetime


@dataclass(slots=True)
class _Shared:
    """What people who read the same words with the same times have in common; one of the two bodies is there."""

    wording_id: int
    language: str
    message_id: Callable[[int], str]
    email: PreparedEmail | None
    sms: PreparedSms | None


class _Moment:
    """What all letters of one batch have in common: when they are made, and in what form."""

    __slots__ = ("date", "raw", "tokens")

    def __init__(self, house: House, *, now: datetime, raw: bool) -> None:
        self.tokens = LinkTokens(house, at=now)
        self.date = date_text(now)
        self.raw = raw


class Mailer:
    """Composes letters for one worker. `load` reads what a batch needs; `batch` touches no database."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._links = LinkBases(manage_base(house), unsubscribe_base(house))
        self._wordings: OrderedDict[Hashable, Loaded] = OrderedDict()
        self._times: OrderedDict[Hashable, dict[str, str]] = OrderedDict()
        self._prepared: OrderedDict[Hashable, _Shared] = OrderedDict()
        self._newest: dict[tuple[int, Channel], dict[str, Loaded]] = {}
        self._greeting = lru_cache(maxsize=_GREETINGS_KEPT)(partial(_greeting, house.catalogue))

    def load(self, session: Session, updates: Collection[int], channel: Channel) -> None:
        """Reads the newest revision of each language; a silent fix reaches whoever still waits."""
        asked = {"updates": list(updates), "medium": _MEDIA[channel]}
        newest = {
            (row.update_id, row.language): row.id for row in session.connection().execute(_REVISIONS, asked)
        }
        found: dict[tuple[int, Channel], dict[str, Loaded]] = {
            (update_id, channel): {} for update_id in updates
        }
        for (update_id, language), wording_id in newest.items():
            found[update_id, channel][language] = _keep(
                self._wordings, wording_id, partial(_loaded, session, wording_id), _WORDINGS_KEPT
            )
        others = [kept for kept in self._newest.items() if kept[0] not in found]
        self._newest = dict(others[max(0, len(others) + len(found) - _UPDATES_KEPT) :]) | found

    def batch(
        self, people: Sequence[Due], *, raw: bool, now: datetime
    ) -> list[tuple[Letter, int] | Exception]:
        """For each person, in their order, their letter and the wording that it says, or why there is none:
        one who cannot be written to stops nobody else."""
        moment = _Moment(self._house, now=now, raw=raw)
        known: dict[Hashable, _Shared] = {}
        made: list[tuple[Letter, int] | Exception] = []
        for due in people:
            try:
                who = (due.update_id, due.channel is _SMS, due.language, due.zone)
                shared = known.get(who)
                if shared is None:
                    shared = known[who] = self._shared(due)
                made.append((self._letter(due, shared, moment), shared.wording_id))
            except Exception as error:  # noqa: BLE001 (whatever it is, it must not stop the others)
                made.append(error.with_traceback(None))  # a traceback would keep the whole batch alive
        return made

    def letter(self, due: Due, *, raw: bool, now: datetime) -> tuple[Letter, int]:
        """`batch` for one person. Raises what it would answer."""
        (made,) = self.batch([due], raw=raw, now=now)
        if isinstance(made, Exception):
            raise made
        return made

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

    def _letter(self, due: Due, shared: _Shared, moment: _Moment) -> Letter:
        person = due.subscriber_id
        identity = shared.message_id(person)
        if shared.email is None:
            text = self._sms_text(due, shared, moment)
            return Letter(key=person, channel=due.channel, to=due.address, message_id=identity, text=text)
        own = self._own(due, shared, moment)
        email, subject = shared.email, shared.email.subject(own)
        if not moment.raw:
            return Letter(
                key=person,
                channel=due.channel,
                to=due.address,
                message_id=identity,
                subject=subject,
                text=email.text(own),
                html=email.html(own),
            )
        to = wire_address(due.address).encode()
        return Letter(
            key=person,
            channel=due.channel,
            to=due.address,
            message_id=identity,
            subject=subject,
            raw=email.raw(own, to=to, message_id=identity.encode(), date=moment.date),
            dotless=True,
        )

    def _sms_text(self, due: Due, shared: _Shared, moment: _Moment) -> str:
        if shared.sms is None:
            raise ValueError("the update has no words for this channel")
        same = shared.sms.same
        return shared.sms.text(self._own(due, shared, moment)) if same is None else same

    def _own(self, due: Due, shared: _Shared, moment: _Moment) -> ReaderParts:
        person, tokens = due.subscriber_id, moment.tokens
        return ReaderParts(
            self._greeting(shared.language, due.name, due.form),
            tokens.manage(person),
            tokens.unsubscribe(person),
        )

    def _shared(self, due: Due) -> _Shared:
        wording = self._wording(due)
        said = partial(self._said, wording, due)
        times = _keep(self._times, (wording.id, due.zone), said, _TIMES_KEPT)
        prepare = partial(self._prepare, wording, due, times)
        return _keep(self._prepared, (wording.id, *times.items()), prepare, _PREPARED_KEPT)

    def _wording(self, due: Due) -> Loaded:
        """In the reader's language, its base, the house's first, or whatever there is."""
        languages = self._newest.get((due.update_id, due.channel), {})
        for language in (due.language, due.language.partition("-")[0], "en", *languages):
            if language in languages:
                return languages[language]
        raise ValueError("the update has no words for this channel")

    def _said(self, wording: Loaded, due: Due) -> dict[str, str]:
        """A zone that the IANA database no longer has must not keep anybody in the dark."""
        try:
            find_zone(due.zone)
            zone = due.zone
        except ValueError:
            zone = self._house.zone
        return times_said(wording, zone=zone, short=due.channel is _SMS)

    def _prepare(self, wording: Loaded, due: Due, times: dict[str, str]) -> _Shared:
        url, links = self._house.settings.public_url, self._links
        identities = message_ids(url, kind="update", about=due.update_id, at=wording.published_at)
        if due.channel is _SMS:
            sms = PreparedSms(wording, times=times, links=links)
            return _Shared(wording.id, wording.language, identities, None, sms)
        thread = message_id(url, kind="incident", about=due.incident_id, reader=0, at=_EPOCH)
        email = PreparedEmail(wording, times=times, thread=thread, links=links)
        return _Shared(wording.id, wording.language, identities, email, None)


def _loaded(session: Session, wording_id: int) -> Loaded:
    row = session.get_one(Wording, wording_id)
    return Loaded(row.id, row.update_id, row.language, row.content, row.values, row.published_at)


def _greeting(catalogue: Catalogue, language: str, name: str | None, form: str | None) -> Greeting:
    return greeting(salutation(catalogue, language=language, name=name, form=form))


def _keep(kept: OrderedDict[Hashable, Value], key: Hashable, make: Callable[[], Value], most: int) -> Value:
    """The value under `key`, made once; the longest unused goes when there are too many."""
    if key in kept:
        kept.move_to_end(key)
        return kept[key]
    value = kept[key] = make()
    if len(kept) > most:
        kept.popitem(last=False)
    return value
