"""A typo's silent fix: pages and agents show the fixed words, nobody is notified, both versions are kept."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from incident_center.errors import Flaw, NotThere, Refused
from incident_center.house import House
from incident_center.incidents.publish import freeze_wordings
from incident_center.incidents.scripts import allowed_names, early_values, words_flaws
from incident_center.models import Incident, Update, UpdateFix
from incident_center.playbooks import Words
from incident_center.staff import audit


def fix_typo(
    session: Session,
    *,
    house: House,
    update_id: int,
    words: Mapping[str, Words],
    reason: str,
    by: str,
    now: datetime,
) -> UpdateFix:
    """Whoever still waits for this update gets the fixed words; whoever has had it is not written to again.

    What changes the meaning is a correction, which is marked and sent. Raises NotThere, Refused.
    """
    update = session.get(Update, update_id)
    if update is None:
        raise NotThere(f"There is no update {update_id}.")
    incident = session.get_one(Incident, update.incident_id)
    _check(house, incident, update, words)
    revision = 1 + (
        session.scalar(select(func.max(UpdateFix.revision)).where(UpdateFix.update_id == update_id)) or 0
    )
    fix = UpdateFix(
        update_id=update_id,
        revision=revision,
        words={lang: w.model_dump(mode="json") for lang, w in words.items()},
        reason=reason[:300],
        at=now,
        by=by,
    )
    session.add(fix)
    freeze_wordings(
        session,
        house=house,
        incident=incident,
        update=update,
        answers=update.answers,
        words=words,
        revision=revision,
    )
    audit.record(
        session,
        by=by,
        action="update.fixed",
        incident_id=incident.id,
        subject=f"update {update.number}",
        detail={"revision": revision, "reason": reason[:300]},
        now=now,
    )
    return fix


def current_words(session: Session, update: Update) -> dict[str, Words]:
    """The words as they stand today: the latest fix's, or the published ones."""
    fix = session.scalar(
        select(UpdateFix).where(UpdateFix.update_id == update.id).order_by(UpdateFix.revision.desc()).limit(1)
    )
    return {lang: Words.model_validate(raw) for lang, raw in (fix.words if fix else update.words).items()}


def _check(house: House, incident: Incident, update: Update, words: Mapping[str, Words]) -> None:
    languages = list(update.words)
    flaws = list(
        words_flaws(
            words,
            languages=languages,
            allowed=allowed_names([*incident.answers, *update.answers]),
            values={lang: early_values(house, incident, lang, update.answers) for lang in languages},
            next_update=update.next_update_by is not None,
        )
    )
    if not flaws and all(words[lang].model_dump(mode="json") == update.words[lang] for lang in languages):
        flaws.append(Flaw("words", "unchanged", "Nothing is different from what was published."))
    if flaws:
        raise Refused(*flaws)
