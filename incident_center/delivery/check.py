"""The check that the ledger adds up: once for each fan-out, when its last chunk is done.

At every moment everybody in the audience is still due in an open chunk or has exactly one delivery. When that
is not so, the crisis team hears of it while the next update can still make it good.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session

from incident_center.db import Database
from incident_center.delivery.people import chunk_is_open
from incident_center.delivery.questions import forgotten, ledger_check
from incident_center.delivery.singles import queue_staff
from incident_center.delivery.sql import changed
from incident_center.house import House
from incident_center.models import Chunk, Fanout, Incident, Update
from incident_center.states import FanoutState

STAFF_LANGUAGE = "en"
ALARM_LIFETIME = timedelta(hours=4)  # as long as the update itself is worth sending
_log = structlog.get_logger()


def check_one(database: Database, house: House, *, now: datetime) -> bool:
    """Checks one fan-out that has been sent and not been checked; answers whether there was one.

    The walk of the audience takes no lock; of several workers who walk it, one alarms. What a publisher has
    overtaken in the meantime is not complained of: the newer update goes to everybody.
    """
    with database.reading() as session:
        update_id = _unchecked(session)
        if update_id is None:
            return False
        complaints = len(ledger_check(session, update_id))
        people = forgotten(session, update_id) if complaints else 0
    with database.transaction() as session:
        alarm = _mark(session, update_id, now=now) and complaints > 0
        if alarm:
            _tell(session, house, update_id, complaints=complaints, people=people, now=now)
    if alarm:
        _log.error("ledger_does_not_add_up", update_id=update_id, complaints=complaints, people=people)
    return True


def _unchecked(session: Session) -> int | None:
    """The update of a fan-out that is all sent. A look that takes no lock: most rounds find nothing."""
    still_sending = exists(select(Chunk.id).where(Chunk.fanout_id == Fanout.id, chunk_is_open()))
    return session.scalar(
        select(Fanout.update_id)
        .where(Fanout.state == FanoutState.CUT, Fanout.checked_at.is_(None), ~still_sending)
        .order_by(Fanout.id)
        .limit(1)
    )


def _mark(session: Session, update_id: int, *, now: datetime) -> bool:
    """Answers whether the fan-out was ours to check: neither overtaken nor checked by another worker."""
    waiting = update(Fanout).where(
        Fanout.update_id == update_id, Fanout.state == FanoutState.CUT, Fanout.checked_at.is_(None)
    )
    return changed(session, waiting.values(checked_at=now)) == 1


def _tell(
    session: Session, house: House, update_id: int, *, complaints: int, people: int, now: datetime
) -> None:
    published = session.get_one(Update, update_id)
    incident = session.get_one(Incident, published.incident_id)
    values = {
        "incident_ref": incident.ref,
        "title": incident.titles.get(STAFF_LANGUAGE, incident.ref),
        "number": str(published.number),
        "people": str(people),
        "complaints": str(complaints),
        "console_url": f"{house.settings.public_url}/console/incidents/{incident.id}",
    }
    queue_staff(
        session,
        house=house,
        key=f"ledger-{update_id}",
        subject=house.catalogue.say(STAFF_LANGUAGE, "staff.ledger.subject", **values),
        text=house.catalogue.say(STAFF_LANGUAGE, "staff.ledger.text", **values),
        incident_id=incident.id,
        now=now,
        lifetime=ALARM_LIFETIME,
    )
