"""What an agent says now, from the same rows that customers' messages and pages come from."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from incident_center.delivery.composer import render
from incident_center.delivery.texts import FrozenWording
from incident_center.house import House
from incident_center.incidents import questions
from incident_center.incidents.questions import PromiseView
from incident_center.incidents.rules import ENDING
from incident_center.models import Component, Incident, Update, Wording
from incident_center.playbooks import normalise_sms, salutation
from incident_center.states import ComponentStatus, Medium, UpdateKind

CHANNELS = (Medium.CHAT, Medium.PHONE, Medium.EMAIL, Medium.SMS)
TOLD_AFTER_THE_END = timedelta(hours=2)  # callers go on asking what became of their payout
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
    """One incident as an agent tells it: open, or ended a short while ago."""

    incident: Incident
    update: Update
    promise: PromiseView | None
    fixed: bool
    standing: Update | None  # under a holding update or a correction: the update whose facts still hold

    @property
    def over(self) -> bool:
        return self.incident.phase in ENDING


def situations(session: Session, *, now: datetime) -> list[Situation]:
    """Open ones first, then those that have just ended; the newest words first in each."""
    ended = select(Incident).where(
        Incident.phase.in_(ENDING), Incident.version > 0, Incident.resolved_at > now - TOLD_AFTER_THE_END
    )
    told = [*questions.open_incidents(session, public=True), *session.scalars(ended)]
    found = [situation for row in told if (situation := _situation(session, row, now=now)) is not None]
    newest_first = sorted(found, key=lambda one: one.update.published_at, reverse=True)
    return sorted(newest_first, key=lambda one: one.over)


def _situation(session: Session, incident: Incident, *, now: datetime) -> Situation | None:
    update = questions.latest_update(session, incident.id)
    if update is None:
        return None
    return Situation(
        incident=incident,
        update=update,
        promise=questions.promise_view(session, update.promise, now=now),
        fixed=bool(questions.fixes(session, [update.id])),
        standing=None
        if update.kind is UpdateKind.UPDATE
        else questions.latest_update(session, incident.id, told=True),
    )


def snippet(
    session: Session,
    *,
    house: House,
    update: Update,
    channel: Medium,
    language: str,
    now: datetime,
    promised: datetime | None = None,
) -> Snippet:
    """One update for one channel and language.

    An e-mail that an agent writes by hand is the chat's words with a greeting: the newsletter's own text ends with
    links to a reader's settings, which an agent's customer may not have. `promised` is the next update's time that
    holds now, when a newer update has moved it: nobody copies a promise that has passed.
    """
    spoken = Medium.CHAT if channel is Medium.EMAIL else channel
    wording = _today(questions.wording(session, update.id, medium=spoken, language=language), promised)
    text = render(house, wording, zone=house.zone, now_at=now).text
    if channel is not Medium.EMAIL:
        return Snippet(channel, language, text)
    letter = _today(questions.wording(session, update.id, medium=Medium.EMAIL, language=language), promised)
    subject = render(house, letter, zone=house.zone, now_at=now).subject
    greeting = salutation(house.catalogue, language=language, name=None, form=None)
    return Snippet(channel, language, f"{greeting}\n\n{text}", subject)


def _today(wording: Wording, promised: datetime | None) -> FrozenWording:
    moved = {"next_update_by": promised.isoformat()} if promised else {}
    values = wording.values | moved
    return FrozenWording(wording.medium, wording.language, wording.content, values, wording.published_at)


@dataclass(frozen=True)
class Quiet:
    """What is said where no update speaks. state: all_well, maintenance, checking."""

    state: str
    worked_on: Sequence[Component]

    def snippet(self, house: House, *, channel: Medium, language: str) -> Snippet:
        text = house.catalogue.say(
            language,
            f"snippet.{self.state}.{channel}",
            company=house.company,
            components=", ".join(
                row.names.get(language) or row.names.get("en") or row.key for row in self.worked_on
            ),
            status_url=house.settings.public_url,
        )
        return Snippet(channel, language, normalise_sms(text) if channel is Medium.SMS else text)


def quiet(session: Session) -> Quiet:
    """ "All is well" is said only when it is: an incident that was declared a minute ago has no words yet, and an
    agent must not deny it."""
    components = questions.components(session)
    worked_on = [row for row in components if row.status is ComponentStatus.UNDER_MAINTENANCE]
    if questions.open_incidents(session) or any(row.status not in _FINE for row in components):
        return Quiet("checking", worked_on)
    return Quiet("maintenance" if worked_on else "all_well", worked_on)
