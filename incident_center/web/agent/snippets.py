"""What an agent says now, from the same rows that customers' messages and pages come from."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from incident_center.delivery.composer import render
from incident_center.house import House
from incident_center.incidents import questions
from incident_center.incidents.questions import PromiseView
from incident_center.models import Incident, Update
from incident_center.playbooks import normalise_sms, salutation
from incident_center.states import ComponentStatus, Medium

CHANNELS = (Medium.CHAT, Medium.PHONE, Medium.EMAIL, Medium.SMS)
_FINE = frozenset({ComponentStatus.OPERATIONAL, ComponentStatus.UNDER_MAINTENANCE})


@dataclass(frozen=True)
class Snippet:
    """What is copied: `text` for one channel in one language; `subject` for e-mail only."""

    channel: Medium
    language: str
    text: str
    subject: str | None = None


@dataclass(frozen=True)
class Situation:
    """One open incident as the agent tells it."""

    incident: Incident
    update: Update
    promise: PromiseView | None
    fixed: bool
    snippets: list[Snippet]


@dataclass(frozen=True)
class Words:
    """All that the page shows. `version` changes with every word of it, and with nothing else."""

    situations: list[Situation]
    quiet: list[Snippet]
    state: str  # incident, checking, maintenance, all_well
    version: str
    as_of: datetime


def current_words(session: Session, *, house: House, now: datetime) -> Words:
    told = questions.open_incidents(session, public=True)
    situations = [found for row in told if (found := _situation(session, house, row, now)) is not None]
    state, quiet = ("incident", []) if situations else _quiet(session, house)
    spoken = [snippet for situation in situations for snippet in situation.snippets] + quiet
    return Words(
        situations=situations,
        quiet=quiet,
        state=state,
        version=_version(spoken),
        as_of=max((situation.update.published_at for situation in situations), default=now),
    )


def _situation(session: Session, house: House, incident: Incident, now: datetime) -> Situation | None:
    update = questions.latest_update(session, incident.id)
    if update is None:
        return None
    return Situation(
        incident=incident,
        update=update,
        promise=questions.promise_view(session, update.promise, now=now),
        fixed=bool(questions.fixes(session, [update.id])),
        snippets=[
            _snippet(session, house, update, channel, language, now)
            for channel in CHANNELS
            for language in house.languages
        ],
    )


def _snippet(
    session: Session, house: House, update: Update, channel: Medium, language: str, now: datetime
) -> Snippet:
    """An e-mail that an agent writes by hand is the chat's words with a greeting: the newsletter's own text ends
    with links to a reader's settings, which an agent's customer may not have."""
    spoken = Medium.CHAT if channel is Medium.EMAIL else channel
    wording = questions.wording(session, update.id, medium=spoken, language=language)
    text = render(house, wording, zone=house.zone, now_at=now).text
    if channel is not Medium.EMAIL:
        return Snippet(channel, language, text)
    letter = questions.wording(session, update.id, medium=Medium.EMAIL, language=language)
    subject = render(house, letter, zone=house.zone, now_at=now).subject
    greeting = salutation(house.catalogue, language=language, name=None, form=None)
    return Snippet(channel, language, f"{greeting}\n\n{text}", subject)


def _quiet(session: Session, house: House) -> tuple[str, list[Snippet]]:
    """Where no update speaks. "All is well" is said only when it is: an incident that was declared a minute ago
    has no words yet, and an agent must not deny it."""
    components = questions.components(session)
    worked_on = [row for row in components if row.status is ComponentStatus.UNDER_MAINTENANCE]
    if questions.open_incidents(session) or any(row.status not in _FINE for row in components):
        state = "checking"
    else:
        state = "maintenance" if worked_on else "all_well"
    snippets = []
    for channel in CHANNELS:
        for language in house.languages:
            text = house.catalogue.say(
                language,
                f"snippet.{state}.{channel}",
                company=house.company,
                components=", ".join(row.names.get(language) or row.key for row in worked_on),
                status_url=house.settings.public_url,
            )
            snippets.append(
                Snippet(channel, language, normalise_sms(text) if channel is Medium.SMS else text)
            )
    return state, snippets


def _version(snippets: list[Snippet]) -> str:
    spoken = "\n".join(f"{s.channel} {s.language} {s.subject} {s.text}" for s in snippets)
    return hashlib.sha256(spoken.encode("utf-8")).hexdigest()[:16]
