"""From a request to a Publication: the script's words, and what the caller wants said instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from incident_center.errors import Flaw, NotThere, Refused
from incident_center.house import House
from incident_center.incidents.inputs import Publication
from incident_center.incidents.scripts import correction_script, phase_script, script_for
from incident_center.integrations.api_v1.bodies import FirstUpdateIn, UpdateIn
from incident_center.integrations.api_v1.sentences import flaws_of
from incident_center.models import Component, Incident
from incident_center.playbooks import Words
from incident_center.states import ComponentStatus, Phase, UpdateKind

_OWN_PLACE = {"sms", "phone"}  # fields of Words that stand beside `facts` in a request


def publication_of(
    session: Session, house: House, incident: Incident, asked: FirstUpdateIn, *, seen_version: int
) -> Publication:
    """What is to be published. Raises Refused with the request's own field names."""
    kind = UpdateKind(asked.kind) if isinstance(asked, UpdateIn) else UpdateKind.UPDATE
    correcting = kind is UpdateKind.CORRECTION
    phase = _phase(incident, asked, correcting)
    script = correction_script(house) if correcting else script_for(house, incident, phase)
    flaws: list[Flaw] = []
    words = _words(house.languages, script, asked, flaws)
    confirmed = _confirmed(house, incident, phase, asked, flaws)
    status = _component_status(session, asked, flaws)
    if isinstance(asked, UpdateIn) and not correcting:
        flaws += _only_for_corrections(asked)
    if flaws:
        raise Refused(*flaws)
    return Publication(
        phase=phase,
        words=words,
        next_update_by=asked.next_update_by,
        confirmed=confirmed,
        component_status=status,
        kind=kind,
        corrects_update_id=asked.corrects if isinstance(asked, UpdateIn) else None,
        answers=asked.answers if isinstance(asked, UpdateIn) else {},
        seen_version=seen_version,
    )


def in_the_callers_words(refused: Refused, *, under: str = "") -> Refused:
    """The same refusal with the paths of the request: words.de.known.0 is facts.de.known.0, words.de.sms is sms.de."""
    prefix = f"{under}." if under else ""
    return Refused(*(Flaw(prefix + _path(flaw.field), flaw.code, flaw.message) for flaw in refused.flaws))


def _path(field: str) -> str:
    match field.split("."):
        case ["words", language, name] if name in _OWN_PLACE:
            return f"{name}.{language}"
        case ["words", *rest]:
            return ".".join(["facts", *rest])
        case _:
            return field


def _phase(incident: Incident, asked: FirstUpdateIn, correcting: bool) -> Phase:
    wanted: Phase | None = asked.phase
    if wanted is not None:
        return wanted
    if correcting:
        return incident.phase
    raise Refused(Flaw("phase", "missing", "Say which phase the incident is in with this update."))


def _only_for_corrections(asked: UpdateIn) -> Iterable[Flaw]:
    if asked.corrects is not None:
        yield Flaw(
            "corrects", "not_a_correction", "Only an update of kind 'correction' corrects another one."
        )
    if asked.answers:
        yield Flaw("answers", "not_a_correction", "These belong to the declaration, or to a correction.")


def _words(
    languages: Iterable[str], script: Mapping[str, Words], asked: FirstUpdateIn, flaws: list[Flaw]
) -> dict[str, Words]:
    words: dict[str, Words] = {}
    known = tuple(languages)
    for place, given in (("facts", asked.facts), ("sms", asked.sms), ("phone", asked.phone)):
        flaws += (
            Flaw(f"{place}.{language}", "unknown", f"We write in: {', '.join(known)}. Leave this one out.")
            for language in given
            if language not in known
        )
    for language in known:
        raw = _overlaid(script.get(language), asked, language)
        try:
            words[language] = Words.model_validate(raw)
        except ValidationError as error:
            flaws += (
                Flaw(_path(flaw.field), flaw.code, flaw.message)
                for flaw in flaws_of(error, under=f"words.{language}")
            )
    return words


def _overlaid(script: Words | None, asked: FirstUpdateIn, language: str) -> dict[str, Any]:
    raw: dict[str, Any] = script.model_dump() if script else {}
    facts = asked.facts.get(language)
    if facts is not None:
        raw |= facts.model_dump(exclude_none=True)
    for name, given in (("sms", asked.sms), ("phone", asked.phone)):
        if language in given:
            raw[name] = given[language]
    return raw


def _confirmed(
    house: House, incident: Incident, phase: Phase, asked: FirstUpdateIn, flaws: list[Flaw]
) -> frozenset[int]:
    """Positions, whether the caller gave them or the texts in any language."""
    script = phase_script(house, incident, phase)
    positions = {
        " ".join(text.split()): position
        for texts in (script.confirm.values() if script else ())
        for position, text in enumerate(texts)
    }
    found: set[int] = set()
    for place, given in enumerate(asked.confirmed):
        position = given if isinstance(given, int) else positions.get(" ".join(given.split()))
        if position is None or position not in positions.values():
            flaws.append(
                Flaw(f"confirmed.{place}", "unknown", "This phase does not ask for this; see GET /playbooks.")
            )
        else:
            found.add(position)
    return frozenset(found)


def _component_status(
    session: Session, asked: FirstUpdateIn, flaws: list[Flaw]
) -> dict[int, ComponentStatus] | None:
    if asked.component_status is None:
        return None
    keys = asked.component_status
    ids = {key: row_id for key, row_id in session.execute(select(Component.key, Component.id)) if key in keys}
    flaws += (
        Flaw(f"component_status.{key}", "unknown", f"There is no component '{key}'; see GET /components.")
        for key in sorted(set(keys) - set(ids))
    )
    return {ids[key]: status for key, status in keys.items() if key in ids}


def version_seen(session: Session, incident_id: int) -> int:
    """The incident's version as this request found it. Raises NotThere."""
    version = session.scalar(select(Incident.version).where(Incident.id == incident_id))
    if version is None:
        raise NotThere(f"There is no incident {incident_id}.")
    return version
