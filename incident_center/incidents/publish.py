"""Publish an update: everything of DESIGN §4 step 2, in the caller's one transaction.

The cost does not grow with the number of subscribers: a fixed number of rows, whoever is listening.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult, select, update
from sqlalchemy.orm import Session

from incident_center.delivery.composer import freeze
from incident_center.delivery.fanout import open_fanout
from incident_center.errors import Conflict, Flaw, NotThere, Refused
from incident_center.house import House
from incident_center.incidents import components
from incident_center.incidents.inputs import Answers, Publication
from incident_center.incidents.rules import ENDING, as_spoken, next_update_flaw, phase_flaw, settled
from incident_center.incidents.scripts import (
    allowed_names,
    answer_flaws,
    base_script,
    changes_against_script,
    early_values,
    phase_script,
    time_slots,
    words_flaws,
)
from incident_center.models import Draft, Incident, Promise, Update, Wording
from incident_center.playbooks import Words
from incident_center.staff import audit
from incident_center.states import ComponentStatus, DraftState, PromiseState, UpdateKind

SOMEBODY_WAS_FIRST = (
    "Somebody published here while you were writing. "
    "Nothing of yours is lost: read what they said, then publish."
)


def publish_update(
    session: Session, *, house: House, incident_id: int, publication: Publication, by: str, now: datetime
) -> Update:
    """The published update. Raises NotThere, Refused (what is wrong, field by field), Conflict (somebody was first)."""
    incident = session.get(Incident, incident_id)
    if incident is None:
        raise NotThere(f"There is no incident {incident_id}.")
    seen = incident.version if publication.seen_version is None else publication.seen_version
    if incident.version != seen:
        raise Conflict(SOMEBODY_WAS_FIRST)
    flaws = publication_flaws(session, house=house, incident=incident, publication=publication, now=now)
    if flaws:
        raise Refused(*flaws)
    _take(session, incident, publication, seen=seen, now=now)
    published = _insert(session, house, incident, publication, by=by, now=now)
    freeze_wordings(session, house=house, incident=incident, update=published, answers=publication.answers)
    _settle_and_promise(session, incident, published)
    components.apply(
        session,
        incident=incident,
        update=published,
        wanted=_wanted_status(session, house, incident, publication),
        now=now,
    )
    open_fanout(session, update=published, now=now)
    audit.record(
        session,
        by=by,
        action=f"update.published.{published.kind.value}",
        incident_id=incident.id,
        subject=f"update {published.number}",
        detail={"phase": published.phase.value, "next_update_by": _iso(published.next_update_by)},
        now=now,
    )
    return published


def publication_flaws(
    session: Session, *, house: House, incident: Incident, publication: Publication, now: datetime
) -> list[Flaw]:
    """Everything that keeps this from being published; also what the composer shows while the lead types."""
    flaws: list[Flaw] = []
    correcting = publication.kind is UpdateKind.CORRECTION
    holding = publication.kind is UpdateKind.HOLDING
    flaws += _present(
        phase_flaw(incident.phase, publication.phase, correcting=correcting or holding),
        next_update_flaw(publication.phase, publication.next_update_by, now=now),
    )
    languages = list(house.languages)
    if correcting:
        flaws += _correction_flaws(session, house, incident, publication)
    flaws += words_flaws(
        publication.words,
        languages=languages,
        allowed=allowed_names([*incident.answers, *publication.answers]),
        values={lang: early_values(house, incident, lang, publication.answers) for lang in languages},
        next_update=publication.phase not in ENDING,
    )
    flaws += _confirmation_flaws(house, incident, publication)
    flaws += components.status_flaws(session, incident, publication.component_status or {})
    return flaws


def _present(*flaws: Flaw | None) -> list[Flaw]:
    return [flaw for flaw in flaws if flaw is not None]


def _correction_flaws(
    session: Session, house: House, incident: Incident, publication: Publication
) -> list[Flaw]:
    flaws = list(answer_flaws(house.library.correction.ask, publication.answers, house.languages))
    corrected = (
        session.get(Update, publication.corrects_update_id) if publication.corrects_update_id else None
    )
    if corrected is None or corrected.incident_id != incident.id:
        flaws.append(Flaw("corrects", "unknown", "Say which of this incident's updates is corrected."))
    return flaws


def _confirmation_flaws(house: House, incident: Incident, publication: Publication) -> list[Flaw]:
    if publication.kind is not UpdateKind.UPDATE:
        return []
    script = phase_script(house, incident, publication.phase)
    items: tuple[str, ...] = script.to_confirm("en") if script else ()
    flaws = [
        Flaw(f"confirmed.{position}", "unticked", f"Confirm before you say this: {item}")
        for position, item in enumerate(items)
        if position not in publication.confirmed
    ]
    flaws += [
        Flaw("confirmed", "unknown", f"This phase has no confirmation {position}.")
        for position in sorted(publication.confirmed)
        if not 0 <= position < len(items)
    ]
    return flaws


def _take(
    session: Session, incident: Incident, publication: Publication, *, seen: int, now: datetime
) -> None:
    """Wins the incident (and the draft) by conditional UPDATEs; whoever comes second changes no row."""
    taken = session.execute(
        update(Incident)
        .where(Incident.id == incident.id, Incident.version == seen)
        .values(version=seen + 1, phase=publication.phase, updated_at=now)
        .execution_options(synchronize_session=False)
    )
    if cast("CursorResult[Any]", taken).rowcount != 1:
        raise Conflict(SOMEBODY_WAS_FIRST)
    if publication.draft_id is not None:
        _take_draft(session, publication, incident)
    session.refresh(incident)
    if publication.phase in ENDING and incident.resolved_at is None:
        incident.resolved_at = now


def _take_draft(session: Session, publication: Publication, incident: Incident) -> None:
    matching = [
        Draft.id == publication.draft_id,
        Draft.incident_id == incident.id,
        Draft.state == DraftState.OPEN,
    ]
    if publication.draft_version is not None:
        matching.append(Draft.version == publication.draft_version)
    taken = session.execute(
        update(Draft)
        .where(*matching)
        .values(state=DraftState.PUBLISHED)
        .execution_options(synchronize_session=False)
    )
    if cast("CursorResult[Any]", taken).rowcount != 1:
        raise Conflict("This draft was changed or published elsewhere. Read it again, then publish.")


def _insert(
    session: Session, house: House, incident: Incident, publication: Publication, *, by: str, now: datetime
) -> Update:
    script = phase_script(house, incident, publication.phase)
    confirmed = (
        {lang: [items[i] for i in sorted(publication.confirmed)] for lang, items in script.confirm.items()}
        if script and publication.kind is UpdateKind.UPDATE
        else {}
    )
    published = Update(
        incident_id=incident.id,
        number=incident.version,
        kind=publication.kind,
        phase=publication.phase,
        corrects_update_id=publication.corrects_update_id,
        words={lang: words.model_dump(mode="json") for lang, words in publication.words.items()},
        answers={name: dict(texts) for name, texts in publication.answers.items()},
        script_changes=changes_against_script(base_script(house, incident, publication), publication.words),
        confirmed=confirmed,
        next_update_by=publication.next_update_by and as_spoken(publication.next_update_by, now=now),
        published_at=now,
        published_by=by,
    )
    session.add(published)
    session.flush()
    return published


def freeze_wordings(
    session: Session,
    *,
    house: House,
    incident: Incident,
    update: Update,
    answers: Answers,
    words: Mapping[str, Words] | None = None,
    revision: int = 0,
) -> None:
    """The final texts, medium by medium and language by language; only times and the reader's own parts stay open."""
    last = session.scalar(
        select(Update.published_at)
        .where(
            Update.incident_id == incident.id,
            Update.number < update.number,
            Update.kind != UpdateKind.HOLDING,
        )
        .order_by(Update.number.desc())
        .limit(1)
    )
    final = words or {lang: Words.model_validate(raw) for lang, raw in update.words.items()}
    corrected = session.get(Update, update.corrects_update_id) if update.corrects_update_id else None
    for frozen in freeze(
        house,
        words=dict(final),
        early={lang: early_values(house, incident, lang, answers) for lang in final},
        instants=time_slots(incident, next_update_by=update.next_update_by, last_update_at=last),
        kind=update.kind,
        phase=update.phase,
        now=update.published_at,
        correction_of=corrected.published_at if corrected else None,
    ):
        session.add(
            Wording(
                update_id=update.id,
                medium=frozen.medium,
                language=frozen.language,
                revision=revision,
                content=frozen.content,
                values=frozen.values,
                published_at=update.published_at,
            )
        )
    session.flush()


def _settle_and_promise(session: Session, incident: Incident, published: Update) -> None:
    """Settles the open promise by a conditional UPDATE and opens the update's own.

    Between a lead and the keeper, whoever flips the promise wins; the other's transaction is rolled back.
    """
    ends = published.phase in ENDING
    old = session.scalar(
        select(Promise).where(Promise.incident_id == incident.id, Promise.state == PromiseState.OPEN)
    )
    if old is not None:
        flipped = session.execute(
            update(Promise)
            .where(Promise.id == old.id, Promise.state == PromiseState.OPEN)
            .values(
                state=settled(old.due_at, at=published.published_at, ends=ends),
                settled_at=published.published_at,
                settled_by_update_id=published.id,
            )
        )
        if cast("CursorResult[Any]", flipped).rowcount != 1:
            raise Conflict(SOMEBODY_WAS_FIRST)
    if published.next_update_by is not None:
        streak = (old.streak if old else 0) + 1 if published.kind is UpdateKind.HOLDING else 0
        session.add(
            Promise(
                incident_id=incident.id,
                update_id=published.id,
                made_at=published.published_at,
                due_at=published.next_update_by,
                streak=streak,
            )
        )
    session.flush()


def _wanted_status(
    session: Session, house: House, incident: Incident, publication: Publication
) -> dict[int, ComponentStatus]:
    if publication.component_status is not None:
        return dict(publication.component_status)
    if publication.kind is not UpdateKind.UPDATE:
        return {}
    script = phase_script(house, incident, publication.phase)
    if script is None or script.component_status is None:
        return {}
    return components.suggested(session, incident=incident, status=ComponentStatus(script.component_status))


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
