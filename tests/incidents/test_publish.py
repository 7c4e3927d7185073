"""Publishing an update: one transaction, one winner, everything frozen, nothing half done."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest
from sqlalchemy import event, func, select

from incident_center.db import Database
from incident_center.errors import Conflict, Flaw, Refused
from incident_center.house import House
from incident_center.incidents import questions
from incident_center.incidents.verbs import (
    DraftInput,
    Publication,
    correction_script,
    current_words,
    discard_draft,
    fix_typo,
    open_draft,
    publish_update,
    save_draft,
    script_for,
)
from incident_center.models import ComponentChange, Fanout, Incident, Promise, Update, Wording
from incident_center.states import ComponentStatus, FanoutState, Medium, Phase, PromiseState, UpdateKind
from tests.builders import LEAD, a_subscriber
from tests.incidents.scenes import HALF_AN_HOUR, declared, published


@contextmanager
def refused(*expected: tuple[str, str]) -> Iterator[list[Flaw]]:
    flaws: list[Flaw] = []
    with pytest.raises(Refused) as caught:
        yield flaws
    flaws += caught.value.flaws
    assert {(flaw.field, flaw.code) for flaw in flaws} == set(expected)


def test_one_publication_freezes_words_makes_a_promise_and_opens_a_fanout(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        incident = declared(session, house, now=now)
        update = published(session, house, incident, now=now)
    with database.reading() as session:
        found = questions.latest_update(session, incident.id)
        assert found is not None
        assert (found.id, found.number, found.published_by) == (update.id, 1, LEAD)
        frozen = {tuple(row) for row in session.execute(select(Wording.medium, Wording.language))}
        assert frozen == {(medium, language) for medium in Medium for language in house.languages}
        promise = questions.open_promise(session, incident.id)
        assert promise is not None
        assert promise.due_at == now + HALF_AN_HOUR
        assert session.scalars(select(Fanout.state)).all() == [FanoutState.OPEN]
        statuses = {c.key: c.status for c in questions.incident(session, incident.id).components}
        assert set(statuses.values()) == {ComponentStatus.MAJOR_OUTAGE}
        assert session.scalar(select(func.count()).select_from(ComponentChange)) == 2


def test_the_next_update_settles_the_promise_and_supersedes_the_fanout(
    database: Database, house: House, now: datetime
) -> None:
    later = now + timedelta(minutes=20)
    with database.transaction() as session:
        incident = declared(session, house, now=now)
        first = published(session, house, incident, now=now)
        second = published(session, house, incident, now=later, phase=Phase.IDENTIFIED)
    with database.reading() as session:
        promise = session.scalars(select(Promise).where(Promise.update_id == first.id)).one()
        assert (promise.state, promise.settled_at, promise.settled_by_update_id) == (
            PromiseState.KEPT,
            later,
            second.id,
        )
        states = {row.update_id: row.state for row in session.execute(select(Fanout.update_id, Fanout.state))}
        assert states == {first.id: FanoutState.SUPERSEDED, second.id: FanoutState.OPEN}


def test_resolving_closes_the_promise_and_gives_the_components_back(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        incident = declared(session, house, now=now)
        published(session, house, incident, now=now)
        published(session, house, incident, now=now + timedelta(minutes=10), phase=Phase.RESOLVED)
    with database.reading() as session:
        found = questions.incident(session, incident.id)
        assert (found.phase, found.resolved_at) == (Phase.RESOLVED, now + timedelta(minutes=10))
        assert {c.status for c in found.components} == {ComponentStatus.OPERATIONAL}
        assert questions.open_promise(session, incident.id) is None
        assert questions.kept_rate(session).kept == 1


def test_a_late_update_is_recorded_as_late_even_when_it_resolves(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        incident = declared(session, house, now=now)
        published(session, house, incident, now=now)
        published(session, house, incident, now=now + timedelta(hours=1), phase=Phase.RESOLVED)
    with database.reading() as session:
        rate = questions.kept_rate(session)
        assert (rate.kept, rate.late, rate.open) == (0, 1, 0)


def test_the_second_of_two_publishers_loses_and_nothing_of_theirs_is_half_done(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        incident = declared(session, house, now=now)
        published(session, house, incident, now=now, seen_version=0)
    with pytest.raises(Conflict), database.transaction() as session:
        published(session, house, session.get_one(Incident, incident.id), now=now, seen_version=0)
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Update)) == 1
        assert session.scalar(select(func.count()).select_from(Fanout)) == 1


def test_what_was_changed_against_the_script_is_kept(database: Database, house: House, now: datetime) -> None:
    with database.transaction() as session:
        incident = declared(session, house, now=now)
        words = script_for(house, incident, Phase.INVESTIGATING)
        words["en"] = words["en"].model_copy(update={"subject": "Card payouts are late"})
        update = published(session, house, incident, now=now, words=words)
    assert list(update.script_changes) == ["en"]
    (change,) = update.script_changes["en"]
    assert (change["field"], change["after"]) == ("subject", "Card payouts are late")


def test_bad_words_are_refused_by_field_and_language(database: Database, house: House, now: datetime) -> None:
    with database.transaction() as session:
        incident = declared(session, house, now=now)
        good = script_for(house, incident, Phase.INVESTIGATING)
        with refused(("words.de", "missing")):
            published(session, house, incident, now=now, words={"en": good["en"]})
        odd = good["en"].model_copy(update={"sms": "Soon {colour}", "subject": "A { brace"})
        with refused(("words.en.sms", "placeholder"), ("words.en.subject", "placeholder")) as flaws:
            published(session, house, incident, now=now, words={**good, "en": odd})
        assert any("colour" in flaw.message for flaw in flaws)
        long = good["de"].model_copy(update={"sms": "ä" * 500 + " {status_url}"})
        with refused(("words.de.sms", "too_long")):
            published(session, house, incident, now=now, words={**good, "de": long})
        assert session.scalar(select(func.count()).select_from(Update)) == 0


def test_a_promise_that_nobody_makes_cannot_be_named(database: Database, house: House, now: datetime) -> None:
    with database.transaction() as session:
        incident = declared(session, house, now=now)
        published(session, house, incident, now=now)
        words = script_for(house, incident, Phase.RESOLVED)
        words["en"] = words["en"].model_copy(update={"phone": "More by {next_update_by}."})
        with refused(("words.en.phone", "placeholder")):
            published(session, house, incident, now=now, phase=Phase.RESOLVED, words=words)


def test_no_next_update_an_unticked_confirmation_and_a_phase_out_of_turn_are_refused_together(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        incident = declared(session, house, now=now)
        with refused(("next_update_by", "missing"), ("confirmed.0", "unticked"), ("confirmed.1", "unticked")):
            published(
                session,
                house,
                incident,
                now=now,
                phase=Phase.IDENTIFIED,
                next_update_by=None,
                confirmed=frozenset(),
            )


def test_an_unknown_component_or_confirmation_is_refused_by_name(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        incident = declared(session, house, now=now)
        with refused(("component_status", "unknown"), ("confirmed", "unknown")):
            published(
                session,
                house,
                incident,
                now=now,
                component_status={999: ComponentStatus.MAJOR_OUTAGE},
                confirmed=frozenset({99}),
            )


def test_a_value_is_never_filled_again(database: Database, house: House, now: datetime) -> None:
    with database.transaction() as session:
        incident = declared(
            session, house, now=now, answers={"scope": {"en": "{started_at} payouts", "de": "{company}"}}
        )
        update = published(session, house, incident, now=now)
        frozen = questions.wording(session, update.id, medium=Medium.PAGE, language="en")
        text = str(frozen.content["subject"]) + str(frozen.content["known"])
    assert "{started_at} payouts" in text


def test_a_correction_is_marked_sent_and_promises_the_next_update(
    database: Database, house: House, now: datetime
) -> None:
    answers = {
        "wrong": {"en": "We wrote that cards work.", "de": "Wir haben geschrieben, Karten gehen."},
        "right": {"en": "Cards do not work yet.", "de": "Karten gehen noch nicht."},
    }
    with database.transaction() as session:
        incident = declared(session, house, now=now)
        first = published(session, house, incident, now=now)
        correction = Publication(
            kind=UpdateKind.CORRECTION,
            phase=incident.phase,
            words=correction_script(house),
            answers=answers,
            corrects_update_id=first.id,
            next_update_by=now + HALF_AN_HOUR,
        )
        update = publish_update(
            session, house=house, incident_id=incident.id, publication=correction, by=LEAD, now=now
        )
        text = str(questions.wording(session, update.id, medium=Medium.PAGE, language="de").content)
        assert "Karten gehen noch nicht." in text
        assert (update.kind, update.corrects_update_id) == (UpdateKind.CORRECTION, first.id)
        assert session.scalar(select(func.count()).select_from(Fanout)) == 2
        with refused(("corrects", "unknown")):
            publish_update(
                session,
                house=house,
                incident_id=incident.id,
                publication=Publication(
                    kind=UpdateKind.CORRECTION,
                    phase=incident.phase,
                    words=correction_script(house),
                    answers=answers,
                    corrects_update_id=777,
                    next_update_by=now + HALF_AN_HOUR,
                ),
                by=LEAD,
                now=now,
            )


def test_a_typo_is_fixed_in_silence_and_both_versions_are_kept(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        incident = declared(session, house, now=now)
        update = published(session, house, incident, now=now)
        words = current_words(session, update)
        words["en"] = words["en"].model_copy(update={"subject": "Payouts are delayed, without a typo"})
        fix_typo(session, house=house, update_id=update.id, words=words, reason="typo", by=LEAD, now=now)
    with database.reading() as session:
        shown = questions.wording(session, update.id, medium=Medium.PAGE, language="en")
        assert (shown.revision, shown.content["subject"]) == (1, ["Payouts are delayed, without a typo"])
        original = session.scalars(
            select(Wording).where(
                Wording.medium == Medium.PAGE, Wording.language == "en", Wording.revision == 0
            )
        ).one()
        assert original.content["subject"] != shown.content["subject"]
        assert session.scalar(select(func.count()).select_from(Fanout)) == 1
        assert (
            session.get_one(Update, update.id).words["en"]["subject"] != "Payouts are delayed, without a typo"
        )
    with database.transaction() as session, refused(("words", "unchanged")):
        fix_typo(
            session,
            house=house,
            update_id=update.id,
            words=script_for(house, session.get_one(Incident, incident.id), Phase.INVESTIGATING),
            reason="",
            by=LEAD,
            now=now,
        )


def test_a_draft_is_kept_as_typed_and_published_once(database: Database, house: House, now: datetime) -> None:
    typed = DraftInput(
        phase=Phase.INVESTIGATING, words={"en": {"subject": "half a sen"}}, next_update="30", confirmed=(0,)
    )
    with database.transaction() as session:
        incident = declared(session, house, now=now)
        draft = save_draft(session, incident_id=incident.id, draft=typed, version=None, by=LEAD, now=now)
        assert draft.words == {"en": {"subject": "half a sen"}}
    with database.transaction() as session:
        again = save_draft(
            session, incident_id=incident.id, draft=typed, version=1, by="b@example.com", now=now
        )
        assert (again.id, again.version) == (draft.id, 2)
    with pytest.raises(Conflict), database.transaction() as session:
        save_draft(session, incident_id=incident.id, draft=typed, version=1, by=LEAD, now=now)
    with database.transaction() as session:
        published(
            session,
            house,
            session.get_one(Incident, incident.id),
            now=now,
            draft_id=draft.id,
            draft_version=2,
        )
        assert open_draft(session, incident.id) is None
    with pytest.raises(Conflict), database.transaction() as session:
        published(
            session,
            house,
            session.get_one(Incident, incident.id),
            now=now,
            draft_id=draft.id,
            draft_version=2,
        )


def test_a_discarded_draft_is_gone_from_the_composer(database: Database, house: House, now: datetime) -> None:
    with database.transaction() as session:
        incident = declared(session, house, now=now)
        typed = DraftInput(phase=Phase.INVESTIGATING, words={})
        save_draft(session, incident_id=incident.id, draft=typed, version=None, by=LEAD, now=now)
        assert discard_draft(session, incident_id=incident.id) is True
        assert discard_draft(session, incident_id=incident.id) is False
        assert open_draft(session, incident.id) is None


def test_publishing_asks_the_database_as_often_for_three_readers_as_for_three_hundred(
    database: Database, house: House, now: datetime
) -> None:
    def statements_with(readers: int) -> int:
        with database.transaction() as session:
            for _ in range(readers):
                a_subscriber(session)
            incident = declared(session, house, now=now)
        counted: list[str] = []
        listen = lambda *event: counted.append(event[2])  # noqa: E731 (one counter, removed below)
        event.listen(database.engine, "before_cursor_execute", listen)
        with database.transaction() as session:
            published(session, house, session.get_one(Incident, incident.id), now=now, component_status={})
        event.remove(database.engine, "before_cursor_execute", listen)
        return len(counted)

    assert statements_with(3) == statements_with(300)
