"""What a lead may do while an update goes out: stop it, send it again to whom it missed, take the call list."""

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from incident_center.delivery import cancel, resend
from incident_center.delivery.not_reached import LISTED
from incident_center.delivery.questions import progress
from incident_center.errors import Conflict, Flaw, NotThere, Refused
from incident_center.models import Fanout, Update
from incident_center.staff import audit
from incident_center.states import DeliveryState, FanoutState

WHY_NOT = {
    "newer": "A newer update has been published. Whoever missed this one gets the newer one; look there.",
    "stopped": "This update was stopped, so it is not sent any more. Publish a new update instead.",
    "too_old": "This update is too old to be sent again: older news would mislead. Publish a new update.",
}
_NOT_LIVE = "A newer update has taken this one's place; there is nothing left to stop."
_ALL_TOLD = "Everybody has been written to already; there is nothing left to stop."


def stop_sending(session: Session, *, update_id: int, by: str, now: datetime) -> int:
    """Whoever is not on the wire yet does not get this update; answers how many, 0 when it was stopped before.

    Raises NotThere, and Conflict when nobody waits for it any more.
    """
    update = _update(session, update_id)
    rest = cancel.stop_fanout(session, update_id=update_id, now=now)
    if rest is None:
        state = session.scalar(select(Fanout.state).where(Fanout.update_id == update_id))
        if state is FanoutState.CANCELLED:
            return 0
        raise Conflict(_NOT_LIVE if state is FanoutState.SUPERSEDED else _ALL_TOLD)
    detail = {
        "not_written_to": {channel.value: number for channel, number in rest.people.items()},
        "on_the_wire": rest.on_the_wire,
    }
    _record(session, update, by=by, action="delivery.stopped", detail=detail, now=now)
    return rest.number


def send_again(
    session: Session,
    *,
    update_id: int,
    states: Collection[DeliveryState],
    as_of: datetime,
    by: str,
    now: datetime,
) -> int:
    """Writes again to the people of these states who were in them at `as_of`; answers how many.

    Raises NotThere, Conflict when a newer update exists or this one has ended, Refused without states.
    """
    update = _update(session, update_id)
    wanted = [state for state in resend.AGAIN if state in states]
    if not wanted:
        raise Refused(Flaw("states", "missing", "Choose who is written to again."))
    if reason := resend.why_not(session, update_id, now=now, hold=True):
        raise Conflict(WHY_NOT[reason])
    done = resend.send_again(session, update_id=update_id, states=wanted, as_of=as_of, now=now)
    if done:
        people = {state.value: number for state, number in done.items()}
        _record(session, update, by=by, action="delivery.resent", detail={"people": people}, now=now)
    return sum(done.values())


def note_call_list(session: Session, *, update_id: int, by: str, now: datetime) -> Update:
    """Somebody takes the names and numbers of those who were not reached: that is noted before they get them.

    The counts are the ledger's; people who have left since are not in the list. Raises NotThere.
    """
    update = _update(session, update_id)
    people: dict[str, int] = {}
    for states in progress(session, update_id).by_channel.values():
        for state, number in states.items():
            if state in LISTED:
                people[state.value] = people.get(state.value, 0) + number
    _record(session, update, by=by, action="delivery.call_list", detail={"people": people}, now=now)
    return update


def _update(session: Session, update_id: int) -> Update:
    update = session.get(Update, update_id)
    if update is None:
        raise NotThere(f"There is no update {update_id}.")
    return update


def _record(
    session: Session, update: Update, *, by: str, action: str, detail: Mapping[str, object], now: datetime
) -> None:
    audit.record(
        session,
        by=by,
        action=action,
        incident_id=update.incident_id,
        subject=f"update {update.number}",
        detail=dict(detail),
        now=now,
    )
