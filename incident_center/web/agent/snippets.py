"""All that the agent's page shows at once, and the version by which it knows that it is out of date."""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from incident_center.house import House
from incident_center.incidents import snippets
from incident_center.incidents.snippets import CHANNELS, Situation, Snippet
from incident_center.models import Update


@dataclass(frozen=True)
class Told:
    """One incident with everything that can be copied of it."""

    situation: Situation
    snippets: list[Snippet]
    standing: list[Snippet]  # the facts under a holding update or a correction


@dataclass(frozen=True)
class Words:
    """`version` changes with every word of it, and with nothing else."""

    situations: list[Told]
    quiet: list[Snippet]
    state: str  # incident, resolved, checking, maintenance, all_well
    version: str
    as_of: datetime


def current_words(session: Session, *, house: House, now: datetime) -> Words:
    told = [
        Told(
            situation,
            _snippets(session, house, situation.update, None, now),
            _snippets(session, house, situation.standing, situation.update.next_update_by, now),
        )
        for situation in snippets.situations(session, now=now)
    ]
    over = all(one.situation.over for one in told)
    told_state: tuple[str, list[Snippet]] = ("resolved" if over else "incident", [])
    state, quiet = told_state if told else _quiet(session, house)
    return Words(
        situations=told,
        quiet=quiet,
        state=state,
        version=_version([snippet for one in told for snippet in one.snippets + one.standing] + quiet),
        as_of=max((one.situation.update.published_at for one in told), default=now),
    )


def _snippets(
    session: Session, house: House, update: Update | None, promised: datetime | None, now: datetime
) -> list[Snippet]:
    if update is None:
        return []
    return [
        snippets.snippet(
            session,
            house=house,
            update=update,
            channel=channel,
            language=language,
            now=now,
            promised=promised,
        )
        for channel in CHANNELS
        for language in house.languages
    ]


def _quiet(session: Session, house: House) -> tuple[str, list[Snippet]]:
    quiet = snippets.quiet(session)
    spoken = [
        quiet.snippet(house, channel=channel, language=language)
        for channel in CHANNELS
        for language in house.languages
    ]
    return quiet.state, spoken


def _version(spoken: list[Snippet]) -> str:
    text = "\n".join(f"{s.channel} {s.language} {s.subject} {s.text}" for s in spoken)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]
