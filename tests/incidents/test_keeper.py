"""The promise keeper through time: reminders, the holding update by itself, escalation, and who wins against whom."""

import threading
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from incident_center.db import Database
from incident_center.errors import Conflict
from incident_center.house import House
from incident_center.incidents import questions
from incident_center.incidents.keeper import KEEPER, keep_promises
from incident_center.incidents.verbs import DraftInput, open_draft, save_draft
from incident_center.models import Fanout, Incident, Message, Promise, PromiseRung, Update
from incident_center.states import Phase, PromiseState, Rung, RungOutcome, UpdateKind
from tests.builders import LEAD
from tests.incidents.scenes import declared, published


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


@pytest.fixture
def house(house: House) -> House:
    """With a crisis team to tell."""
    return replace(house, settings=replace(house.settings, staff_urls=("json://127.0.0.1/",)))


@pytest.fixture
def incident_id(database: Database, house: House, now: datetime) -> int:
    """An incident whose first update promises the next in half an hour."""
    with database.transaction() as session:
        incident = declared(session, house, now=now)
        published(session, house, incident, now=now)
        return incident.id


def rungs(database: Database) -> list[tuple[Rung, RungOutcome]]:
    with database.reading() as session:
        return [(r.rung, r.outcome) for r in session.scalars(select(PromiseRung).order_by(PromiseRung.id))]


def staff_notes(database: Database) -> list[str]:
    with database.reading() as session:
        return [m.subject or "" for m in session.scalars(select(Message).order_by(Message.id))]


def kinds(database: Database, incident_id: int) -> list[UpdateKind]:
    with database.reading() as session:
        return [update.kind for update in reversed(questions.updates(session, incident_id))]


def test_nothing_happens_before_the_first_rung(
    database: Database, house: House, now: datetime, incident_id: int
) -> None:
    assert keep_promises(database, house, now=now + minutes(19.9)) is False
    assert rungs(database) == []


def test_the_team_is_reminded_once_at_each_rung_however_often_the_keeper_runs(
    database: Database, house: House, now: datetime, incident_id: int
) -> None:
    for minute in (20, 20.5, 25, 25.1, 28, 28.5):
        keep_promises(database, house, now=now + minutes(minute))
    assert rungs(database) == [(rung, RungOutcome.DONE) for rung in (Rung.REMIND, Rung.SECOND, Rung.WARN)]
    assert len(staff_notes(database)) == 3
    assert kinds(database, incident_id) == [UpdateKind.UPDATE]


def test_the_holding_update_goes_out_by_itself_and_makes_a_new_promise(
    database: Database, house: House, now: datetime, incident_id: int
) -> None:
    due = now + minutes(30)
    assert keep_promises(database, house, now=due) is True
    with database.reading() as session:
        holding = questions.latest_update(session, incident_id)
        assert holding is not None
        assert (holding.kind, holding.published_by, holding.phase) == (
            UpdateKind.HOLDING,
            KEEPER,
            Phase.INVESTIGATING,
        )
        old, new = session.scalars(select(Promise).order_by(Promise.id))
        assert (old.state, old.settled_by_update_id) == (PromiseState.KEPT, holding.id)
        assert (new.state, new.due_at, new.streak) == (PromiseState.OPEN, due + minutes(30), 1)
        assert len(session.scalars(select(Fanout)).all()) == 2
        rate = questions.kept_rate(session)
        assert (rate.kept, rate.kept_by_holding) == (1, 1)


def test_after_an_outage_of_the_workers_only_the_holding_update_goes_out_and_says_late(
    database: Database, house: House, now: datetime, incident_id: int
) -> None:
    back = now + minutes(95)
    keep_promises(database, house, now=back)
    assert rungs(database) == [
        (Rung.REMIND, RungOutcome.SKIPPED),
        (Rung.SECOND, RungOutcome.SKIPPED),
        (Rung.WARN, RungOutcome.SKIPPED),
        (Rung.HOLD, RungOutcome.DONE),
    ]
    assert len(staff_notes(database)) == 1
    with database.reading() as session:
        old, new = session.scalars(select(Promise).order_by(Promise.id))
        assert old.state is PromiseState.LATE
        assert new.due_at == back + minutes(30)


def test_a_promise_is_shown_overdue_from_its_own_time_with_every_worker_dead(
    database: Database, now: datetime, incident_id: int
) -> None:
    with database.reading() as session:
        promise = questions.open_promise(session, incident_id)
        states = [
            view.state
            for offset in (29, 30.9, 31)
            if (view := questions.promise_view(session, promise, now=now + minutes(offset)))
        ]
    assert states == ["open", "open", "overdue"]


def test_holding_updates_in_a_row_escalate_and_a_word_from_a_person_ends_the_row(
    database: Database, house: House, now: datetime, incident_id: int
) -> None:
    for minute in (30, 60, 90):
        keep_promises(database, house, now=now + minutes(minute))
    held, escalated, paged = staff_notes(database)
    assert "went out" in held
    assert "2 holding updates in a row" in escalated
    assert "nobody is writing" in paged
    with database.transaction() as session:
        published(session, house, session.get_one(Incident, incident_id), now=now + minutes(100))
        promise = questions.open_promise(session, incident_id)
        assert promise is not None
        assert promise.streak == 0


def test_an_open_draft_does_not_stop_the_holding_update_and_is_kept(
    database: Database, house: House, now: datetime, incident_id: int
) -> None:
    typed = DraftInput(phase=Phase.IDENTIFIED, words={"en": {"subject": "Nearly there"}})
    with database.transaction() as session:
        save_draft(session, incident_id=incident_id, draft=typed, version=None, by=LEAD, now=now)
    keep_promises(database, house, now=now + minutes(30))
    assert kinds(database, incident_id) == [UpdateKind.UPDATE, UpdateKind.HOLDING]
    with database.reading() as session:
        draft = open_draft(session, incident_id)
        assert draft is not None
        assert draft.words == {"en": {"subject": "Nearly there"}}


def test_a_lead_who_comes_after_the_holding_update_is_told_so(
    database: Database, house: House, now: datetime, incident_id: int
) -> None:
    keep_promises(database, house, now=now + minutes(30))
    with pytest.raises(Conflict), database.transaction() as session:
        published(
            session, house, session.get_one(Incident, incident_id), now=now + minutes(30), seen_version=1
        )


def test_a_resolved_incident_is_left_alone(
    database: Database, house: House, now: datetime, incident_id: int
) -> None:
    with database.transaction() as session:
        incident = session.get_one(Incident, incident_id)
        published(session, house, incident, now=now + minutes(15), phase=Phase.RESOLVED)
    assert keep_promises(database, house, now=now + minutes(60)) is False
    assert kinds(database, incident_id) == [UpdateKind.UPDATE, UpdateKind.UPDATE]


def test_six_keepers_at_once_publish_one_holding_update(
    database: Database, house: House, now: datetime, incident_id: int
) -> None:
    started = threading.Barrier(6)

    def keep() -> None:
        started.wait()
        keep_promises(database, house, now=now + minutes(30))

    threads = [threading.Thread(target=keep) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kinds(database, incident_id) == [UpdateKind.UPDATE, UpdateKind.HOLDING]
    assert len(staff_notes(database)) == 1


def test_lead_and_keeper_in_the_same_second_never_both_win(
    database: Database, house: House, now: datetime, incident_id: int
) -> None:
    started = threading.Barrier(2)
    outcome: list[str] = []

    def lead() -> None:
        started.wait()
        try:
            with database.transaction() as session:
                incident = session.get_one(Incident, incident_id)
                published(session, house, incident, now=now + minutes(30), seen_version=1)
            outcome.append("published")
        except Conflict:
            outcome.append("refused")

    def keep() -> None:
        started.wait()
        keep_promises(database, house, now=now + minutes(30))

    threads = [threading.Thread(target=lead), threading.Thread(target=keep)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    second = UpdateKind.UPDATE if outcome == ["published"] else UpdateKind.HOLDING
    assert kinds(database, incident_id) == [UpdateKind.UPDATE, second]
    with database.reading() as session:
        assert len(session.scalars(select(Update)).all()) == 2


def test_a_holding_update_that_is_refused_alarms_the_team_and_changes_nothing(
    database: Database, house: House, now: datetime, incident_id: int
) -> None:
    spoiled = {
        lang: words.model_copy(update={"sms": "{no_such_name}"})
        for lang, words in house.library.holding.holding.items()
    }
    library = replace(
        house.library,
        playbooks={},
        holding=house.library.holding.model_copy(update={"holding": spoiled}),
    )
    for _ in range(2):
        keep_promises(database, replace(house, library=library), now=now + minutes(30))
    assert kinds(database, incident_id) == [UpdateKind.UPDATE]
    (note,) = staff_notes(database)
    assert "could not go out" in note
