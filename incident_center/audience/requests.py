"""What people ask for, and how it is checked: every flaw is told at once, each by its field and code."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TypeVar
from zoneinfo import available_timezones

from sqlalchemy import select
from sqlalchemy.orm import Session

from incident_center.audience.addresses import Email, parse_email, parse_phone, region_of
from incident_center.audience.names import parse_name
from incident_center.errors import Flaw, Refused
from incident_center.house import House
from incident_center.models import Component
from incident_center.states import Channel, FormOfAddress

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Preferences:
    """How somebody wants to be written to. `component_ids` None means everything, now and later."""

    language: str
    zone: str
    name: str | None = None
    form: FormOfAddress | None = None
    component_ids: frozenset[int] | None = None


@dataclass(frozen=True, kw_only=True)
class SubscribeRequest(Preferences):
    """A wish to be written to. `address` is as typed: an e-mail address or a mobile number."""

    channel: Channel
    address: str


@dataclass(frozen=True)
class Contact:
    """An address that was read: `address` is written to, `key` finds it again (the number itself for SMS)."""

    channel: Channel
    address: str
    key: str


def read_contact(house: House, channel: Channel, text: str) -> Contact:
    """Refuses with the codes of addresses.py. Numbers without a country are read as the house's country's."""
    if channel is Channel.EMAIL:
        email: Email = parse_email(text)
        return Contact(channel, email.address, email.key)
    number = parse_phone(text, region_of(house.zone))
    return Contact(channel, number, number)


def read_channel(text: str) -> Channel:
    """Refuses with channel.unknown."""
    if text not in set(Channel):
        raise Refused(Flaw("channel", "channel.unknown", f"must be one of: {', '.join(Channel)}"))
    return Channel(text)


def read_form(text: str) -> FormOfAddress | None:
    """An empty text is no form; refuses with form.unknown."""
    if not text:
        return None
    if text not in set(FormOfAddress):
        raise Refused(Flaw("form", "form.unknown", f"must be empty or one of: {', '.join(FormOfAddress)}"))
    return FormOfAddress(text)


def read_preferences(session: Session, *, house: House, wanted: Preferences) -> Preferences:
    """The same with a tidy name. Refuses with language.unknown, zone.unknown, components.empty,
    components.unknown and the codes of names.py, all together."""
    flaws = Flaws()
    name = flaws.collect(lambda: parse_name(wanted.name or ""))
    flaws.collect(lambda: _check_language(house, wanted.language))
    flaws.collect(lambda: _check_zone(wanted.zone))
    flaws.collect(lambda: _check_components(session, wanted.component_ids))
    flaws.refuse()
    return Preferences(
        language=wanted.language,
        zone=wanted.zone,
        name=name,
        form=wanted.form,
        component_ids=wanted.component_ids,
    )


class Flaws:
    """Gathers refusals, so that a person mends a form once and not field by field."""

    def __init__(self) -> None:
        self.found: list[Flaw] = []

    def collect(self, read: Callable[[], Result]) -> Result | None:
        try:
            return read()
        except Refused as refused:
            self.found.extend(refused.flaws)
            return None

    def refuse(self) -> None:
        """Raises Refused when anything was found."""
        if self.found:
            raise Refused(*self.found)


@cache
def known_zones() -> frozenset[str]:
    """Names such as Europe/Berlin; aliases too, because browsers report them."""
    return frozenset(available_timezones())


def _check_language(house: House, language: str) -> None:
    if language not in house.languages:
        known = ", ".join(house.languages)
        raise Refused(Flaw("language", "language.unknown", f"must be one of: {known}"))


def _check_zone(zone: str) -> None:
    if zone not in known_zones():
        raise Refused(Flaw("zone", "zone.unknown", "must be a time zone such as Europe/Berlin"))


def _check_components(session: Session, component_ids: frozenset[int] | None) -> None:
    if component_ids is None:
        return
    if not component_ids:
        raise Refused(Flaw("components", "components.empty", "choose at least one, or all"))
    there = set(session.scalars(select(Component.id).where(Component.id.in_(component_ids))))
    if there != component_ids:
        missing = ", ".join(map(str, sorted(component_ids - there)))
        raise Refused(Flaw("components", "components.unknown", f"there is no component {missing}"))
