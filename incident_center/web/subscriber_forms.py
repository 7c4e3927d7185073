"""What stands in a subscriber's forms, as typed, so that a refused form comes back complete."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from zoneinfo import ZoneInfo

from babel.core import get_global
from babel.dates import get_timezone_location
from markupsafe import Markup
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from incident_center.audience import people
from incident_center.audience.requests import Flaws, Preferences, known_zones, read_channel, read_form
from incident_center.errors import Flaw, Refused
from incident_center.house import House
from incident_center.incidents import questions
from incident_center.models import Subscriber
from incident_center.states import Channel
from incident_center.web.language import language_name, locale_of, say
from incident_center.web.public_cards import in_language

ALL, SOME = "all", "some"
_SOFT_HYPHEN = "\u00ad"
# The continents as CLDR numbers them (UN M.49), so that their names need no words of ours.
_CONTINENTS = {
    "Africa": "002",
    "America": "019",
    "Asia": "142",
    "Europe": "150",
    "Australia": "009",
    "Pacific": "009",
}


@dataclass
class AddressForm:
    """Where to write to: both fields are kept, whichever channel is chosen."""

    channel: str = Channel.EMAIL.value
    email: str = ""
    phone: str = ""

    @classmethod
    def typed(cls, form: MultiDict[str, str]) -> "AddressForm":
        return cls(
            channel=form.get("channel", Channel.EMAIL.value),
            email=form.get("email", ""),
            phone=form.get("phone", ""),
        )

    def read_channel(self, house: House) -> Channel:
        """Refuses with channel.unknown, also for one that the house does not offer."""
        channel = read_channel(self.channel)
        if channel not in channels_offered(house):
            raise Refused(Flaw("channel", "channel.unknown", "is not offered here"))
        return channel

    @property
    def address(self) -> str:
        return self.phone if self.channel == Channel.SMS else self.email


@dataclass
class PreferenceForm:
    """What to write and how. `scope` is all or some; `components` are the ticked ids as text."""

    language: str
    zone: str
    scope: str = ALL
    components: list[str] = field(default_factory=list)
    name: str = ""
    form: str = ""

    @classmethod
    def typed(cls, form: MultiDict[str, str], *, language: str, zone: str) -> "PreferenceForm":
        """As posted; `language` and `zone` stand in for fields that are missing altogether."""
        return cls(
            language=form.get("language", language),
            zone=form.get("zone", zone),
            scope=form.get("scope", ALL),
            components=form.getlist("components"),
            name=form.get("name", ""),
            form=form.get("form", ""),
        )

    @classmethod
    def of(cls, session: Session, person: Subscriber) -> "PreferenceForm":
        chosen = people.component_ids(session, person)
        return cls(
            language=person.language,
            zone=person.zone,
            scope=ALL if chosen is None else SOME,
            components=[str(number) for number in sorted(chosen or ())],
            name=person.name or "",
            form=person.form.value if person.form else "",
        )

    def preferences(self) -> Preferences:
        """Refuses with form.unknown and components.unknown; the verbs check the rest."""
        flaws = Flaws()
        form = flaws.collect(lambda: read_form(self.form))
        chosen = flaws.collect(self._component_ids)
        flaws.refuse()
        return Preferences(
            language=self.language, zone=self.zone, name=self.name, form=form, component_ids=chosen
        )

    def _component_ids(self) -> frozenset[int] | None:
        if self.scope != SOME:
            return None
        if not all(
            number.isascii() and number.isdecimal() and len(number) < 10 for number in self.components
        ):
            raise Refused(Flaw("components", "components.unknown", "there is no such component"))
        return frozenset(map(int, self.components))


@dataclass(frozen=True)
class Choice:
    value: str
    label: str


def channels_offered(house: House) -> tuple[Channel, ...]:
    """SMS only where somebody carries it: a code that never comes helps nobody."""
    return tuple(Channel) if house.settings.sms_urls or house.settings.demo else (Channel.EMAIL,)


def said_flaws(flaws: Iterable[Flaw]) -> dict[str, list[Markup]]:
    """Field → what is wrong with it, in the page's language."""
    said: dict[str, list[Markup]] = {}
    for flaw in flaws:
        said.setdefault(flaw.field, []).append(say(f"subscriber.errors.{flaw.code.replace('.', '_')}"))
    return said


def component_choices(session: Session, language: str) -> list[Choice]:
    return [Choice(str(c.id), in_language(c.names, language)) for c in questions.components(session)]


def language_choices(house: House) -> list[Choice]:
    return sorted(
        (Choice(language, language_name(language)) for language in house.languages),
        key=lambda choice: choice.label,
    )


@lru_cache(maxsize=16)
def zone_choices(language: str, other: str) -> list[tuple[str, list[Choice]]]:
    """(continent, its zones by city) in `language`; zones of no continent stand under `other`, last."""
    locale = locale_of(language)
    groups: dict[str, list[Choice]] = {}
    for zone in known_zones() & set(get_global("zone_territories")):
        area = zone.partition("/")[0]
        if area == "Etc":  # fixed distances with the sign the wrong way round
            continue
        continent = _CONTINENTS.get(area)
        group = locale.territories[continent] if continent else other
        city = get_timezone_location(ZoneInfo(zone), locale=locale, return_city=True)
        groups.setdefault(group, []).append(Choice(zone, city.replace(_SOFT_HYPHEN, "")))
    groups.setdefault(other, []).append(Choice("UTC", "UTC"))
    for choices in groups.values():
        choices.sort(key=lambda choice: (choice.label, choice.value))
    return sorted(groups.items(), key=lambda group: (group[0] == other, group[0]))
