"""Rows as answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from incident_center.delivery.composer import render, render_page
from incident_center.delivery.questions import progress
from incident_center.house import House
from incident_center.incidents import questions
from incident_center.incidents.rules import is_overdue
from incident_center.integrations.api_v1 import answers
from incident_center.models import Component, Incident, Promise, Update, Wording
from incident_center.states import Medium, PromiseState, UpdateKind

_MEDIA = (Medium.PAGE, Medium.SMS, Medium.PHONE)


def component(row: Component) -> answers.ComponentOut:
    return answers.ComponentOut(
        id=row.id, key=row.key, names=row.names, status=row.status, updated_at=row.updated_at
    )


def promises(session: Session, rows: Sequence[Promise], *, now: datetime) -> list[answers.PromiseOut]:
    """Lateness is read off each promise's own time, so it is true with every worker dead."""
    settled_by = {row.settled_by_update_id for row in rows if row.settled_by_update_id}
    holding = set(
        session.scalars(select(Update.id).where(Update.id.in_(settled_by), Update.kind == UpdateKind.HOLDING))
    )
    return [
        answers.PromiseOut(
            id=row.id,
            incident_id=row.incident_id,
            update_id=row.update_id,
            made_at=row.made_at,
            due_at=row.due_at,
            state=promise_state(row, now=now),
            settled_at=row.settled_at,
            kept_by_holding=row.state is PromiseState.KEPT and row.settled_by_update_id in holding,
        )
        for row in rows
    ]


def promise_state(row: Promise, *, now: datetime) -> str:
    if row.state is PromiseState.OPEN and is_overdue(row.due_at, now=now):
        return questions.OVERDUE
    return row.state.value


def incident(
    session: Session, house: House, row: Incident, *, counted: bool = True, now: datetime
) -> answers.IncidentOut:
    """`counted`: with delivery counts, which cost a look at every delivery of every update."""
    told = updates(session, house, questions.updates(session, row.id), now=now)
    return answers.IncidentOut(
        id=row.id,
        ref=row.ref,
        url=house.incident_url(row.id),
        playbook=row.playbook,
        titles=row.titles,
        impact=row.impact,
        phase=row.phase,
        components=[component(each) for each in row.components],
        answers=row.answers,
        started_at=row.started_at,
        declared_at=row.declared_at,
        declared_by=row.declared_by,
        resolved_at=row.resolved_at,
        updated_at=row.updated_at,
        version=row.version,
        promise=told[0].promise if told else None,
        updates=told,
        deliveries=_counts(session, [each.id for each in told]) if counted else None,
    )


def updates(
    session: Session, house: House, rows: Sequence[Update], *, now: datetime
) -> list[answers.UpdateOut]:
    """With their words as they stand today and the promises that they made."""
    wordings = _wordings(session, [row.id for row in rows])
    made = {p.update_id: p for p in promises(session, [r.promise for r in rows if r.promise], now=now)}
    return [_update(house, row, wordings.get(row.id, []), made.get(row.id)) for row in rows]


def _update(
    house: House, row: Update, wordings: Iterable[Wording], promise: answers.PromiseOut | None
) -> answers.UpdateOut:
    facts: dict[str, answers.FactsOut] = {}
    texts: dict[Medium, dict[str, str]] = {Medium.SMS: {}, Medium.PHONE: {}}
    fixed = False
    for wording in wordings:  # a later revision replaces an earlier one
        fixed = fixed or wording.revision > 0
        if wording.medium is Medium.PAGE:
            page = render_page(house, wording, zone=house.zone)
            facts[wording.language] = answers.FactsOut(
                subject=page.subject,
                known=page.known,
                unknown=page.unknown,
                doing=page.doing,
                you_can=page.you_can,
            )
        else:
            texts[wording.medium][wording.language] = render(house, wording, zone=house.zone).text
    return answers.UpdateOut(
        id=row.id,
        incident_id=row.incident_id,
        number=row.number,
        kind=row.kind,
        phase=row.phase,
        corrects=row.corrects_update_id,
        published_at=row.published_at,
        published_by=row.published_by,
        next_update_by=row.next_update_by,
        promise=promise,
        facts=facts,
        sms=texts[Medium.SMS],
        phone=texts[Medium.PHONE],
        fixed=fixed,
    )


def _wordings(session: Session, update_ids: list[int]) -> dict[int, list[Wording]]:
    found: dict[int, list[Wording]] = {}
    rows = session.scalars(
        select(Wording)
        .where(Wording.update_id.in_(update_ids), Wording.medium.in_(_MEDIA))
        .order_by(Wording.update_id, Wording.language, Wording.revision)
    )
    for row in rows:
        found.setdefault(row.update_id, []).append(row)
    return found


def _counts(session: Session, update_ids: Iterable[int]) -> answers.DeliveryCounts:
    by_channel: dict[str, Counter[str]] = {}
    waiting, finished = 0, True
    for update_id in update_ids:
        seen = progress(session, update_id)
        for channel, states in seen.by_channel.items():
            by_channel.setdefault(str(channel), Counter()).update({str(s): n for s, n in states.items()})
        waiting += seen.waiting
        finished = finished and seen.finished
    return answers.DeliveryCounts(
        by_channel={channel: dict(states) for channel, states in by_channel.items()},
        waiting=waiting,
        finished=finished,
    )
