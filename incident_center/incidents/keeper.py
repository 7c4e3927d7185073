"""The promise keeper: reminds the crisis team, and publishes the holding update when a promise falls due unmet.

Any number of workers may run it. Each promise is one transaction; a rung's row is unique, so it happens once,
and publishing flips the promise by a conditional UPDATE, so lead and keeper never both win.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from incident_center.db import Database
from incident_center.delivery.singles import queue_staff
from incident_center.errors import Conflict, Refused
from incident_center.house import House
from incident_center.incidents.inputs import Publication
from incident_center.incidents.publish import publish_update
from incident_center.incidents.rules import (
    ESCALATE_FROM_STREAK,
    PAGE_FROM_STREAK,
    holding_due,
    plan_rungs,
    rung_times,
)
from incident_center.incidents.scripts import phase_script
from incident_center.models import Incident, Promise, PromiseRung, Update
from incident_center.playbooks import Words, say_time
from incident_center.states import PromiseState, Rung, RungOutcome, StaffGroup, UpdateKind

KEEPER = "promise keeper"
LOOK_AHEAD = timedelta(minutes=10)  # the longest a rung acts before its promise falls due
STAFF_LANGUAGE = "en"
REMINDER_LIFETIME = timedelta(hours=1)
_REMINDED = {Rung.REMIND: StaffGroup.LEAD, Rung.SECOND: StaffGroup.SECOND}
_log = structlog.get_logger()


def keep_promises(database: Database, house: House, *, now: datetime) -> bool:
    """Acts on every promise that has a rung due; answers whether any did."""
    with database.reading() as session:
        due = list(
            session.scalars(
                select(Promise.id)
                .where(Promise.state == PromiseState.OPEN, Promise.due_at <= now + LOOK_AHEAD)
                .order_by(Promise.due_at)
            )
        )
    acted = [_keep_one(database, house, promise_id, now=now) for promise_id in due]
    return any(acted)


def _keep_one(database: Database, house: House, promise_id: int, *, now: datetime) -> bool:
    try:
        with database.transaction() as session:
            return climb(session, house=house, promise_id=promise_id, now=now)
    except (Conflict, IntegrityError):
        return False  # a lead or another worker was first, and what they did stands
    except Refused as refused:
        _log.error(
            "holding_update_refused", promise=promise_id, flaws=[f"{f.field} {f.code}" for f in refused.flaws]
        )
        with database.transaction() as session:
            return _tell_of_failure(session, house, promise_id, now=now)


def climb(session: Session, *, house: House, promise_id: int, now: datetime) -> bool:
    """Acts on the promise's highest due rung and records it; answers whether there was one to act on."""
    incident = _locked_incident(session, promise_id)
    promise = session.get(Promise, promise_id, populate_existing=True)
    if incident is None or promise is None or promise.state is not PromiseState.OPEN:
        return False
    recorded = set(session.scalars(select(PromiseRung.rung).where(PromiseRung.promise_id == promise.id)))
    plan = plan_rungs(promise.made_at, promise.due_at, recorded=recorded, now=now)
    if plan.act is None:
        return False
    times = rung_times(promise.made_at, promise.due_at)
    for rung in plan.skip:
        _record(session, promise, rung, RungOutcome.SKIPPED, times, now=now)
    _record(session, promise, plan.act, RungOutcome.DONE, times, now=now)
    if plan.act is Rung.HOLD:
        _hold(session, house, incident, promise, now=now)
    else:
        _remind(session, house, incident, promise, plan.act, now=now)
    return True


def _locked_incident(session: Session, promise_id: int) -> Incident | None:
    """The promise's incident, locked first as a publisher locks it, so that the two never wait for each other in a
    ring; None while somebody else is publishing or keeping: they were first.

    As by a publisher's UPDATE, its key stays free: who cuts or stops one of its fan-outs holds that, and inserts chunks
    that refer to the incident.
    """
    return session.scalar(
        select(Incident)
        .join(Promise, Promise.incident_id == Incident.id)
        .where(Promise.id == promise_id)
        .with_for_update(of=Incident, skip_locked=True, key_share=True)
    )


def _record(
    session: Session,
    promise: Promise,
    rung: Rung,
    outcome: RungOutcome,
    times: Mapping[Rung, datetime],
    *,
    now: datetime,
) -> None:
    session.add(PromiseRung(promise_id=promise.id, rung=rung, outcome=outcome, due_at=times[rung], at=now))
    session.flush()


def _remind(
    session: Session, house: House, incident: Incident, promise: Promise, rung: Rung, *, now: datetime
) -> None:
    _tell_staff(
        session,
        house,
        incident,
        key=f"promise-{promise.id}-{rung.value}",
        words=f"staff.{rung.value}",
        due_at=promise.due_at,
        now=now,
        group=_REMINDED.get(rung, ""),
    )


def _hold(session: Session, house: House, incident: Incident, promise: Promise, *, now: datetime) -> None:
    streak = promise.streak + 1
    script = phase_script(house, incident, incident.phase)
    minutes = (script and script.next_update_minutes) or house.library.holding.next_update_minutes
    published = publish_update(
        session,
        house=house,
        incident_id=incident.id,
        publication=Publication(
            kind=UpdateKind.HOLDING,
            phase=incident.phase,
            words=_holding_words(house, incident, streak),
            next_update_by=holding_due(promise.due_at, minutes=minutes, now=now),
        ),
        by=KEEPER,
        now=now,
    )
    _report_hold(session, house, incident, published, streak, now=now)


def _holding_words(house: House, incident: Incident, streak: int) -> dict[str, Words]:
    return dict(house.library.holding_words(incident.playbook, streak))


def _report_hold(
    session: Session, house: House, incident: Incident, published: Update, streak: int, *, now: datetime
) -> None:
    """The team hears that the product spoke for them; from the second in a row louder, from the third to a person."""
    words = "staff.held"
    if streak >= PAGE_FROM_STREAK:
        words = "staff.page"
    elif streak >= ESCALATE_FROM_STREAK:
        words = "staff.escalate"
    _tell_staff(
        session,
        house,
        incident,
        key=f"update-{published.id}-held",
        words=words,
        due_at=published.next_update_by or now,
        now=now,
        group=StaffGroup.PAGE if streak >= PAGE_FROM_STREAK else "",
        streak=str(streak),
    )


def _tell_of_failure(session: Session, house: House, promise_id: int, *, now: datetime) -> bool:
    promise = session.get_one(Promise, promise_id)
    incident = session.get_one(Incident, promise.incident_id)
    return _tell_staff(
        session,
        house,
        incident,
        key=f"promise-{promise.id}-failed",
        words="staff.hold_failed",
        due_at=promise.due_at,
        now=now,
        group=StaffGroup.PAGE,
    )


def _tell_staff(
    session: Session,
    house: House,
    incident: Incident,
    *,
    key: str,
    words: str,
    due_at: datetime,
    now: datetime,
    group: str,
    **more: str,
) -> bool:
    """Queues one note to the crisis team; the key makes it one, however often it is asked for."""
    values = {
        "incident_ref": incident.ref,
        "title": incident.titles.get(STAFF_LANGUAGE, incident.ref),
        "due": say_time(due_at, language=STAFF_LANGUAGE, zone=house.zone, now=now),
        "console_url": f"{house.settings.public_url}/console/incidents/{incident.id}",
        **more,
    }
    return queue_staff(
        session,
        house=house,
        key=key,
        subject=house.catalogue.say(STAFF_LANGUAGE, f"{words}.subject", **values),
        text=house.catalogue.say(STAFF_LANGUAGE, f"{words}.text", **values),
        incident_id=incident.id,
        now=now,
        lifetime=REMINDER_LIFETIME,
        group=group,
    )
