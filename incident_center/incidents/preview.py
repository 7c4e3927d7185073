"""What an update would look like in each medium, while the lead is typing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.orm import Session

from incident_center.delivery.composer import freeze, render, render_page
from incident_center.delivery.texts import FrozenWording, PageText
from incident_center.errors import Flaw
from incident_center.house import House
from incident_center.incidents.inputs import Publication
from incident_center.incidents.publish import publication_flaws
from incident_center.incidents.scripts import early_values, time_slots
from incident_center.models import Incident, Update
from incident_center.playbooks import SmsCount, count_sms
from incident_center.states import Medium


@dataclass(frozen=True)
class Preview:
    """texts: medium -> plain text (e-mail: the text part). Empty while `flaws` keep this language from being filled."""

    language: str
    flaws: tuple[Flaw, ...]
    subject: str = ""
    texts: Mapping[Medium, str] = field(default_factory=dict)
    html: str = ""
    page: PageText | None = None
    sms: SmsCount | None = None


def preview(
    session: Session,
    *,
    house: House,
    incident: Incident,
    publication: Publication,
    language: str,
    zone: str,
    now: datetime,
) -> Preview:
    """One language of the update as a reader in `zone` would get it, with everything that is still wrong."""
    flaws = tuple(
        publication_flaws(session, house=house, incident=incident, publication=publication, now=now)
    )
    mine = tuple(flaw for flaw in flaws if _blocks(flaw, language))
    if language not in publication.words or mine:
        return Preview(language=language, flaws=flaws)
    corrected = (
        session.get(Update, publication.corrects_update_id) if publication.corrects_update_id else None
    )
    frozen = freeze(
        house,
        words={language: publication.words[language]},
        early={language: early_values(house, incident, language, publication.answers)},
        instants=time_slots(incident, next_update_by=publication.next_update_by, last_update_at=now),
        kind=publication.kind,
        phase=publication.phase,
        now=now,
        correction_of=corrected.published_at if corrected else None,
    )
    return _rendered(house, frozen, language=language, flaws=flaws, zone=zone)


_UNFILLABLE = frozenset({"missing", "placeholder", "characters", "unanswered"})


def _blocks(flaw: Flaw, language: str) -> bool:
    """Whether this flaw keeps the words of `language` from being shown: no text, or no time to put into it."""
    mine = flaw.field.startswith(f"words.{language}") and flaw.code in _UNFILLABLE
    return mine or flaw.field == "next_update_by"


def _rendered(
    house: House,
    frozen: list[FrozenWording],
    *,
    language: str,
    flaws: tuple[Flaw, ...],
    zone: str,
) -> Preview:
    by_medium = {wording.medium: wording for wording in frozen}
    shown = {m: render(house, w, zone=zone) for m, w in by_medium.items() if m is not Medium.PAGE}
    sms = shown[Medium.SMS].text
    return Preview(
        language=language,
        flaws=flaws,
        subject=shown[Medium.EMAIL].subject or "",
        texts={medium: rendered.text for medium, rendered in shown.items()},
        html=shown[Medium.EMAIL].html or "",
        page=render_page(house, by_medium[Medium.PAGE], zone=zone),
        sms=count_sms(sms),
    )
