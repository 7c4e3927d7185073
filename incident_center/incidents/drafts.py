"""Drafts: what the lead is writing, kept as typed. A draft holds nobody up, least of all the holding update."""

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from incident_center.errors import Conflict, NotThere
from incident_center.incidents.inputs import DraftInput
from incident_center.models import Draft, Incident
from incident_center.states import DraftState

CHANGED_ELSEWHERE = (
    "Somebody else saved this draft in the meantime. Yours is still on this page; compare, then save again."
)


def open_draft(session: Session, incident_id: int) -> Draft | None:
    return session.scalar(
        select(Draft).where(Draft.incident_id == incident_id, Draft.state == DraftState.OPEN)
    )


def save_draft(
    session: Session,
    *,
    incident_id: int,
    draft: DraftInput,
    version: int | None,
    by: str,
    now: datetime,
) -> Draft:
    """The incident's open draft with this content. `version` is the one that the author last saw, None for a first
    save. Raises NotThere, Conflict."""
    if session.get(Incident, incident_id) is None:
        raise NotThere(f"There is no incident {incident_id}.")
    kept = session.scalar(
        select(Draft)
        .where(Draft.incident_id == incident_id, Draft.state == DraftState.OPEN)
        .with_for_update()
    )
    content = _content(draft)
    if kept is None:
        kept = Draft(incident_id=incident_id, saved_at=now, saved_by=by, version=1, **content)
        session.add(kept)
        try:
            session.flush()
        except IntegrityError as error:
            raise Conflict(CHANGED_ELSEWHERE) from error
        return kept
    if version != kept.version:
        raise Conflict(CHANGED_ELSEWHERE)
    for name, value in content.items():
        setattr(kept, name, value)
    kept.version += 1
    kept.saved_at = now
    kept.saved_by = by
    session.flush()
    return kept


def discard_draft(session: Session, *, incident_id: int) -> bool:
    """Puts the open draft aside (it stays in the table); answers whether there was one."""
    kept = open_draft(session, incident_id)
    if kept is None:
        return False
    kept.state = DraftState.DISCARDED
    session.flush()
    return True


def _content(draft: DraftInput) -> dict[str, Any]:
    return {
        "kind": draft.kind,
        "phase": draft.phase,
        "corrects_update_id": draft.corrects_update_id,
        "words": {lang: dict(words) for lang, words in draft.words.items()},
        "answers": {name: dict(texts) for name, texts in draft.answers.items()},
        "confirmed": list(draft.confirmed),
        "component_status": dict(draft.component_status),
        "next_update": draft.next_update[:40],
    }
