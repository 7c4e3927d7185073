"""Taking over subscribers from a CSV file, and handing them out as one."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import BinaryIO

from sqlalchemy import select
from sqlalchemy.orm import Session

from incident_center.audience import confirmations, people
from incident_center.audience.csv_files import Line, open_csv
from incident_center.audience.requests import (
    Contact,
    Flaws,
    Preferences,
    read_channel,
    read_contact,
    read_form,
    read_preferences,
)
from incident_center.db import Database
from incident_center.delivery import suppress
from incident_center.delivery.second import second_address
from incident_center.errors import Flaw, Refused
from incident_center.house import House
from incident_center.models import Component, Subscriber, SubscriberComponent, Suppression
from incident_center.staff import audit
from incident_center.states import Channel, SubscriberState

BATCH = 500
SOURCE = "import"


@dataclass(frozen=True)
class BadLine:
    """A line that was left out: its number in the file, the column and what to do, in English for staff."""

    number: int
    field: str
    reason: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.field}: {self.reason}"


@dataclass
class ImportReport:
    """taken: new ones. known: there already, their own settings stay. suppressed: left us before and are not
    brought back. bad: left out."""

    taken: int = 0
    known: int = 0
    suppressed: int = 0
    bad: list[BadLine] = field(default_factory=list)

    def add(self, other: "ImportReport") -> None:
        self.taken += other.taken
        self.known += other.known
        self.suppressed += other.suppressed
        self.bad.extend(other.bad)


@dataclass(frozen=True)
class _Row:
    contacts: tuple[Contact, ...]  # the preferred one first
    wanted: Preferences
    fallback: bool  # the other contact may be used when the preferred one fails


def import_csv(
    database: Database,
    *,
    house: House,
    stream: BinaryIO,
    confirmed: bool,
    by: str,
    clock: Callable[[], datetime],
) -> ImportReport:
    """A whole file, five hundred lines to a transaction, so that publishing never waits for an import.

    What was taken stays taken when a later batch fails; running the file again skips it as known.
    Refuses the codes of csv_files.open_csv.
    """
    report = ImportReport()
    lines = open_csv(stream)
    while batch := list(islice(lines, BATCH)):
        with database.transaction() as session:
            report.add(
                import_rows(session, house=house, lines=batch, confirmed=confirmed, by=by, now=clock())
            )
    return report


def import_rows(
    session: Session, *, house: House, lines: Sequence[Line], confirmed: bool, by: str, now: datetime
) -> ImportReport:
    """One batch. With `confirmed` the company vouches that these people agreed, and they are subscribed at once;
    without, each is asked by e-mail (SMS codes run out in minutes, so numbers need `confirmed`)."""
    report = ImportReport()
    components = {component.key: component.id for component in session.scalars(select(Component))}
    rows = []
    for line in lines:
        try:
            rows.append(_read(session, house, line, components, confirmed=confirmed))
        except Refused as refused:
            report.bad.extend(BadLine(line.number, flaw.field, flaw.message) for flaw in refused.flaws)
    taken = _without_known(session, house, rows, report)
    people_taken = [_store(session, row, confirmed=confirmed, now=now) for row in taken]
    session.flush()
    for person, row in zip(people_taken, taken, strict=True):
        for component_id in sorted(row.wanted.component_ids or ()):
            session.add(SubscriberComponent(subscriber_id=person.id, component_id=component_id))
        if not confirmed:
            confirmations.ask(session, house=house, person=person, contact=row.contacts[0], now=now)
    report.taken += len(taken)
    if taken:
        _note(session, people_taken, confirmed=confirmed, by=by, now=now)
    session.flush()
    return report


def export_rows(session: Session, *, include_left: bool = False) -> Iterator[dict[str, str]]:
    """Subscribers as rows for csv_files.write_csv, oldest first, read in pages. Erased ones are never there."""
    keys = {component.id: component.key for component in session.scalars(select(Component))}
    last = 0
    while page := _page(session, after_id=last, include_left=include_left):
        chosen: dict[int, list[str]] = {}
        ids = [person.id for person in page]
        pairs = select(SubscriberComponent).where(SubscriberComponent.subscriber_id.in_(ids))
        for pair in session.scalars(pairs.order_by(SubscriberComponent.component_id)):
            chosen.setdefault(pair.subscriber_id, []).append(keys[pair.component_id])
        for person in page:
            yield _exported(person, "" if person.all_components else " ".join(chosen.get(person.id, [])))
        last = ids[-1]
        session.expunge_all()


def _page(session: Session, *, after_id: int, include_left: bool) -> list[Subscriber]:
    wanted = select(Subscriber).where(Subscriber.id > after_id).order_by(Subscriber.id).limit(BATCH)
    if not include_left:
        wanted = wanted.where(Subscriber.state == SubscriberState.CONFIRMED)
    return list(session.scalars(wanted.where(Subscriber.email.is_not(None) | Subscriber.phone.is_not(None))))


def _exported(person: Subscriber, components: str) -> dict[str, str]:
    return {
        "email": person.email or "",
        "phone": person.phone or "",
        "channel": person.channel.value,
        "fallback": "yes" if second_address(person) else "",
        "language": person.language,
        "zone": person.zone,
        "name": person.name or "",
        "form": person.form.value if person.form else "",
        "components": components,
    }


def _read(session: Session, house: House, line: Line, components: dict[str, int], *, confirmed: bool) -> _Row:
    if line.flaw is not None:
        raise Refused(line.flaw)
    cells, flaws = line.cells, Flaws()
    contacts = flaws.collect(lambda: _contacts(house, cells, confirmed=confirmed)) or ()
    fallback = flaws.collect(lambda: _fallback(cells))
    form = flaws.collect(lambda: read_form(cells.get("form", "").lower()))
    chosen = flaws.collect(lambda: _component_ids(cells.get("components", ""), components))
    wanted = Preferences(
        language=cells.get("language", "").lower() or house.languages[0],
        zone=cells.get("zone") or house.zone,
        name=cells.get("name") or None,
        form=form,
    )
    # Components are left out here: their keys were found above, a question for each line would cost too much.
    tidy = flaws.collect(lambda: read_preferences(session, house=house, wanted=wanted))
    flaws.refuse()
    if tidy is None:
        raise Refused(*flaws.found)
    # Without `confirmed` there is one contact, and so nothing to fall back to.
    return _Row(
        contacts,
        Preferences(**{**vars(tidy), "component_ids": chosen}),
        fallback=bool(fallback) and len(contacts) > 1,
    )


def _contacts(house: House, cells: dict[str, str], *, confirmed: bool) -> tuple[Contact, ...]:
    typed = {Channel.EMAIL: cells.get("email", ""), Channel.SMS: cells.get("phone", "")}
    given = [channel for channel in Channel if typed[channel]]
    if not given:
        raise Refused(Flaw("email", "email.empty", "neither an email nor a phone is there"))
    preferred = read_channel(cells["channel"].lower()) if cells.get("channel") else given[0]
    if preferred not in given:
        raise Refused(Flaw("channel", "channel.no_address", f"is {preferred} but that address is missing"))
    if preferred is Channel.SMS and not confirmed:
        message = "cannot confirm by itself; import numbers as confirmed or let people subscribe"
        raise Refused(Flaw("phone", "phone.unconfirmed", message))
    given.sort(key=lambda channel: channel is not preferred)
    read = tuple(read_contact(house, channel, typed[channel]) for channel in given)
    return read if confirmed else read[:1]  # an address that nobody vouches for is asked first


def _fallback(cells: dict[str, str]) -> bool:
    said = cells.get("fallback", "").lower()
    if said not in {"", "yes", "no"}:
        raise Refused(Flaw("fallback", "fallback.unknown", "must be yes, no or empty"))
    if said == "yes" and not (cells.get("email") and cells.get("phone")):
        raise Refused(Flaw("fallback", "fallback.no_address", "is yes but there is one address only"))
    return said == "yes"


def _component_ids(text: str, components: dict[str, int]) -> frozenset[int] | None:
    keys = text.replace("|", " ").replace(",", " ").split()
    if not keys or keys == ["all"]:
        return None
    unknown = [key for key in keys if key not in components]
    if unknown:
        raise Refused(Flaw("components", "components.unknown", f"there is no component {unknown[0][:60]!r}"))
    return frozenset(components[key] for key in keys)


def _without_known(session: Session, house: House, rows: list[_Row], report: ImportReport) -> list[_Row]:
    """Those who are new; an address that is known, repeated or suppressed keeps its whole row out."""
    seen = _known_keys(session, rows)
    gone = _suppressed_hashes(session, house, rows)
    new = []
    for row in rows:
        keys = {(contact.channel, contact.key) for contact in row.contacts}
        if any(suppress.address_hash(house, c.channel, c.address) in gone for c in row.contacts):
            report.suppressed += 1
        elif keys & seen:
            report.known += 1
        else:
            new.append(row)
        seen |= keys
    return new


def _known_keys(session: Session, rows: Iterable[_Row]) -> set[tuple[Channel, str]]:
    keys = {
        channel: [c.key for row in rows for c in row.contacts if c.channel is channel] for channel in Channel
    }
    emails = session.scalars(
        select(Subscriber.email_key).where(Subscriber.email_key.in_(keys[Channel.EMAIL]))
    )
    phones = session.scalars(select(Subscriber.phone).where(Subscriber.phone.in_(keys[Channel.SMS])))
    return {(Channel.EMAIL, key) for key in emails if key} | {(Channel.SMS, key) for key in phones if key}


def _suppressed_hashes(session: Session, house: House, rows: Iterable[_Row]) -> set[str]:
    hashes = [suppress.address_hash(house, c.channel, c.address) for row in rows for c in row.contacts]
    found = select(Suppression.address_hash).where(Suppression.address_hash.in_(hashes))
    return set(session.scalars(found))


def _store(session: Session, row: _Row, *, confirmed: bool, now: datetime) -> Subscriber:
    person = people.new_person(row.contacts[0], row.wanted, source=SOURCE, by=None, now=now)
    for contact in reversed(row.contacts):  # the preferred one last: it sets the channel
        people.put_address(person, contact)
    if row.fallback:
        person.fallback_since = now
    if confirmed:
        person.state, person.confirmed_at = SubscriberState.CONFIRMED, now
    session.add(person)
    return person


def _note(session: Session, taken: list[Subscriber], *, confirmed: bool, by: str, now: datetime) -> None:
    """One entry for a batch: an entry for each of a million people would drown the trail."""
    ids = [person.id for person in taken]
    audit.record(
        session,
        by=by,
        action="subscribers.imported",
        subject=f"subscribers {min(ids)} to {max(ids)}",
        detail={"taken": len(ids), "confirmed": confirmed},
        now=now,
    )
