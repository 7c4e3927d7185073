"""What the delivery panel asks the ledger, and what a lead may do: stop, send again, take the call list."""

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from incident_center.db import Database
from incident_center.delivery import chunks, cutting, panel, resend
from incident_center.delivery.cancel import rest_of, stop_fanout
from incident_center.delivery.ledger import Result
from incident_center.delivery.not_reached import Missed, not_reached
from incident_center.delivery.outcome import Outcome
from incident_center.delivery.questions import Progress, ledger_check, progress
from incident_center.delivery.rules import Try
from incident_center.delivery.speed import Readings, seconds_left
from incident_center.delivery.sql import insert_all
from incident_center.house import House
from incident_center.models import Chunk, Delivery, Fanout, Incident, Subscriber, Update
from incident_center.states import Channel, DeliveryState, FanoutState, ProviderState, SubscriberState
from incident_center.web.console.delivery_view import OFTEN, SELDOM, look_every
from tests.builders import NOW, a_subscriber, an_incident, mai
from tests.delivery.servers import DROP, Mailhost, SmsGateway
from tests.delivery.stories import Clock, Post, publish
from tests.support.plans import plans_of

LATER = NOW + timedelta(hours=1)


def _by_name(step: str, recipient: str) -> str | None:
    """What the server says to people is in their names."""
    if step == "rcpt" and recipient.startswith("blocked"):
        return "552 5.2.3 longer than this mailbox takes"
    if step == "rcpt" and recipient.startswith("full"):
        return "452 4.2.2 mailbox full"
    if step == "dot" and recipient.startswith("lost"):
        return DROP
    return None


def _people(session: Session, *names: str) -> dict[str, int]:
    return {name: a_subscriber(session, email=f"{name}@example.com").id for name in names}


def _states(database: Database, update_id: int) -> Counter[DeliveryState]:
    with database.reading() as session:
        found: Counter[DeliveryState] = Counter()
        for states in progress(session, update_id).by_channel.values():
            found.update(states)
        return found


def _list(database: Database, update: Update, *, page: int = 2, now: datetime = NOW) -> list[Missed]:
    return list(not_reached(database, update.id, now=now, page=page))


@pytest.fixture
def troubled(post: Post, smtp: Mailhost) -> Update:
    """An update that some get, some do not, and one may have got."""
    smtp.replies = _by_name
    with post.database.transaction() as session:
        _people(session, "fine-1", "fine-2", "blocked-1", "blocked-2", "full-1", "lost-1")
        mai(session)
        update = publish(session, post.house)
    post.work()
    return update


def test_failures_are_grouped_by_what_the_provider_said(post: Post, troubled: Update) -> None:
    with post.database.reading() as session:
        found = panel.reasons(session, troubled.id)
        told = {
            (one.state, one.number): [who for who, _ in panel.people(session, troubled.id, one)]
            for one in found
        }
    assert {(one.state, one.number, one.channel) for one in found} == {
        (DeliveryState.FAILED, 2, Channel.EMAIL),
        (DeliveryState.UNKNOWN, 1, Channel.EMAIL),
        (DeliveryState.RETRY, 1, Channel.EMAIL),
    }
    assert found[-1].state is DeliveryState.RETRY  # it may still come right
    (blocked,) = [one for one in found if one.state is DeliveryState.FAILED]
    assert "5.2.3" in f"{blocked.code} {blocked.words}"
    assert "longer than" in (blocked.words or "")
    failed = [row.subscriber_id for row in post.rows() if row.state is DeliveryState.FAILED]
    assert told[DeliveryState.FAILED, 2] == failed
    assert len(told[DeliveryState.UNKNOWN, 1]) == 1


def test_words_that_differ_in_a_providers_own_numbers_are_one_reason(post: Post, troubled: Update) -> None:
    with post.database.transaction() as session:
        rows = session.scalars(select(Delivery).where(Delivery.state == DeliveryState.FAILED)).all()
        for number, row in enumerate(rows):
            row.detail = f"552 5.2.3 too long, seen by relay 8F3A{number}C99D01"
        session.flush()
        (one,) = [r for r in panel.reasons(session, troubled.id) if r.state is DeliveryState.FAILED]
        assert one.number == 2
        assert len(panel.people(session, troubled.id, one)) == 2


def test_every_spelling_of_a_reason_is_counted_and_no_other_reason_vanishes(
    database: Database, house: House
) -> None:
    """Relays put a number of their own into each answer."""
    with database.transaction() as session:
        update_id = publish(session, house).id
        refused = {"at": NOW, "update_id": update_id, "attempts": 1, "fence": 0, "possibly_twice": False}
        refused |= {"apart": False, "channel": Channel.EMAIL, "state": DeliveryState.FAILED, "code": "552"}
        said = [f"too long, seen by relay 8F3A{number:04}C99D01" for number in range(1_200)]
        rows = [refused | {"subscriber_id": place, "detail": words} for place, words in enumerate(said)]
        rows.append(refused | {"subscriber_id": 5_000, "code": "550", "detail": "blocked"})
        insert_all(session, Delivery, rows)
    with database.reading() as session:
        many, one = panel.reasons(session, update_id)
        assert [(many.code, many.number), (one.code, one.number)] == [("552", 1_200), ("550", 1)]
        assert len(panel.people(session, update_id, many)) == panel.PEOPLE


def test_what_waits_for_another_try_is_told_with_its_time(post: Post, troubled: Update, clock: Clock) -> None:
    with post.database.reading() as session:
        seen = panel.wire(session, troubled.id, progress(session, troubled.id))
    rows = {row.state: row for row in post.rows()}
    again = (rows[DeliveryState.RETRY].not_before, rows[DeliveryState.UNKNOWN].not_before)
    assert seen.next_try == min(moment for moment in again if moment)
    assert seen.to_be_resent == 1
    assert (seen.number, seen.oldest) == (0, None)


def test_the_oldest_on_the_wire_is_the_oldest_mark(post: Post, clock: Clock) -> None:
    with post.database.transaction() as session:
        _people(session, "one", "two")
        update = publish(session, post.house)
    post.engine.expand_once()
    with post.database.transaction() as session:
        chunk = session.scalars(select(Chunk)).one()
        chunk.batch, chunk.batch_at = [chunk.first_id], NOW - timedelta(seconds=9)
        session.flush()
        seen = panel.wire(session, update.id, progress(session, update.id))
    assert (seen.number, seen.oldest) == (1, NOW - timedelta(seconds=9))


def test_the_providers_of_the_settings_are_shown_as_all_workers_see_them(
    post: Post, smtp: Mailhost, gateway: SmsGateway, troubled: Update
) -> None:
    with post.database.reading() as session:
        email, sms = panel.health(session, post.house.settings, Channel)
    assert (email.channel, sms.channel) == (Channel.EMAIL, Channel.SMS)
    assert email.state is ProviderState.WELL  # found by its name, so the names are the engine's
    assert email.last_ok_at is not None
    assert sms.state is ProviderState.WELL
    other = replace(post.house.settings, email_urls=(smtp.url, "smtp://elsewhere.example"), sms_urls=())
    with post.database.reading() as session:
        names = {one.name: one.state for one in panel.health(session, other, Channel)}
    assert names == {"email 1 smtp": ProviderState.WELL, "email 2 smtp": None}


def test_what_the_panel_asks_for_is_found_by_the_index_of_what_is_apart(
    database: Database, house: House
) -> None:
    """A million accepted rows cost nothing: no plan touches them."""
    with database.transaction() as session:
        update_id = publish(session, house).id
        plain = {"at": NOW, "update_id": update_id, "attempts": 1, "fence": 0}
        plain |= {"possibly_twice": False, "apart": False, "channel": Channel.EMAIL}
        plain |= {"state": DeliveryState.ACCEPTED}
        insert_all(session, Delivery, [plain | {"subscriber_id": number} for number in range(5000)])
        failed = plain | {"state": DeliveryState.FAILED, "code": "550", "detail": "unknown"}
        insert_all(session, Delivery, [failed | {"subscriber_id": 5000 + number} for number in range(10)])
        person = {"channel": Channel.EMAIL, "language": "en", "zone": "Europe/Berlin", "all_components": True}
        person |= {"state": SubscriberState.CONFIRMED, "source": "web", "created_at": NOW, "updated_at": NOW}
        insert_all(session, Subscriber, [person | {"id": number + 1} for number in range(5010)])
    with database.transaction() as session:
        if not database.is_sqlite:  # PostgreSQL does so by itself, SQLite has to do without
            session.execute(text("ANALYZE"))
        (reason,) = panel.reasons(session, update_id)
        assert (reason.number, len(panel.people(session, update_id, reason))) == (10, 10)
        told = progress(session, update_id)
        plans = [
            *plans_of(database, session, lambda: panel.reasons(session, update_id)),
            *plans_of(database, session, lambda: panel.people(session, update_id, reason)),
            *plans_of(database, session, lambda: panel.wire(session, update_id, told)),
            *plans_of(database, session, lambda: resend.groups(session, update_id, as_of=LATER)),
            *plans_of(database, session, lambda: list(not_reached(database, update_id, now=NOW))),
        ]
    assert len(plans) >= 6
    for plan in plans:
        assert "ix_deliveries_apart" in plan or "ix_deliveries_waiting" in plan, plan
        if database.is_sqlite and "ix_deliveries_apart" in plan:  # delivered people are not looked at either
            assert "channel=? AND state=?" in plan, plan


@pytest.mark.one_database
def test_how_far_it_is_is_counted_from_the_updates_own_chunks(database: Database, house: House) -> None:
    """A house that publishes for years has millions of chunks."""
    with database.transaction() as session:
        update_id = publish(session, house).id
        plans = plans_of(database, session, lambda: progress(session, update_id), table="chunks")
        assert len(plans) >= 3
        for plan in plans:
            assert "ix_chunks_" in plan, plan
            assert "SCAN chunks" not in plan, plan


@pytest.mark.one_database
def test_what_costs_much_to_count_is_counted_less_often() -> None:
    def told(**states: int) -> Progress:
        counted = {DeliveryState(name): number for name, number in states.items()}
        return Progress(1, 1, {Channel.EMAIL: counted}, finished=False, possibly_twice=0)

    assert look_every(told(due=1_000_000, accepted=1_000_000, sending=50, delivered=20_000)) == OFTEN
    assert look_every(told(due=1_000_000, delivered=20_001)) == SELDOM
    assert look_every(told(due=1, suppressed=20_001)) == SELDOM
    assert look_every(told(retry=1)) == SELDOM


@pytest.mark.one_database
def test_an_audience_that_is_not_found_yet_is_looked_for_again_soon() -> None:
    assert look_every(Progress(0, 0, {}, finished=False, possibly_twice=0)) == OFTEN


def test_stopping_ends_everybody_who_is_not_on_the_wire(
    post: Post, smtp: Mailhost, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut or not cut, waiting in a chunk or for another try: all are counted, and the numbers add up."""
    monkeypatch.setattr(cutting, "CHUNK", 2)
    monkeypatch.setattr(cutting, "CHUNKS_A_STEP", 2)
    smtp.replies = _by_name
    with post.database.transaction() as session:
        _people(session, "full-1", "fine-1", "fine-2", "fine-3", "fine-4", "fine-5", "fine-6")
        mai(session)
        update = publish(session, post.house)
    post.engine.expand_once()  # four of seven readers of e-mail, and nobody else
    post.engine.deliver_once(Channel.EMAIL)
    got = len(smtp.mails)
    assert 0 < got < 6
    with post.database.transaction() as session:
        before = rest_of(session, update.id)
        done = stop_fanout(session, update_id=update.id, now=clock())
    assert done == before
    assert done is not None
    assert done.number == 8 - got
    post.work()
    clock.move(hours=1)
    post.work()
    assert len(smtp.mails) == got
    assert _states(post.database, update.id) == {
        DeliveryState.ACCEPTED: got,
        DeliveryState.CANCELLED: 8 - got,
    }
    with post.database.reading() as session:
        assert progress(session, update.id).finished
        assert ledger_check(session, update.id) == []
    assert len(_list(post.database, update)) == 8 - got


def test_stopping_leaves_who_is_on_the_wire_to_their_worker(post: Post, clock: Clock) -> None:
    with post.database.transaction() as session:
        people = _people(session, "one", "two", "three")
        update = publish(session, post.house)
    post.engine.expand_once()
    with post.database.transaction() as session:
        batch, _ = chunks.claim(session, channel=Channel.EMAIL, owner="w", now=clock(), limit=2)
    assert batch is not None
    with post.database.transaction() as session:
        done = stop_fanout(session, update_id=update.id, now=clock())
    assert done is not None
    assert (done.number, done.on_the_wire) == (1, 2)
    sent = [Result(due, [Try("email 1 smtp", Outcome(state="accepted", code="250"))]) for due in batch.people]
    with post.database.transaction() as session:
        chunks.settle(
            session,
            house=post.house,
            batch=batch,
            results=sent,
            now=clock(),
            limit=2,
            go_on=True,
        )
    post.work()
    assert _states(post.database, update.id) == {DeliveryState.ACCEPTED: 2, DeliveryState.CANCELLED: 1}
    assert [one.subscriber_id for one in _list(post.database, update)] == [people["three"]]


def test_a_row_that_comes_back_from_the_wire_after_the_stop_is_stopped(
    post: Post, smtp: Mailhost, troubled: Update, clock: Clock
) -> None:
    """It was in a worker's hands when the lead stopped, and the provider said: not now."""
    with post.database.transaction() as session:
        row = session.scalars(select(Delivery).where(Delivery.state == DeliveryState.RETRY)).one()
        fanout_row = session.scalars(select(Fanout)).one()
        fanout_row.state = FanoutState.CANCELLED
        who = row.subscriber_id
    clock.move(hours=1)
    post.work()
    rows = {row.subscriber_id: row.state for row in post.rows()}
    assert rows[who] is DeliveryState.CANCELLED
    assert DeliveryState.UNKNOWN in rows.values()  # what may have been accepted stays unclear


def test_what_is_over_cannot_be_stopped(post: Post, clock: Clock) -> None:
    with post.database.transaction() as session:
        _people(session, "fine-1")
        incident = an_incident(session)
        update = publish(session, post.house, incident)
    post.work()
    with post.database.transaction() as session:
        assert stop_fanout(session, update_id=update.id, now=clock()) is None
        assert session.scalars(select(Fanout.state)).one() is FanoutState.CUT


def test_a_resend_reaches_those_missed_once_and_nobody_else(
    post: Post, smtp: Mailhost, troubled: Update, clock: Clock
) -> None:
    clock.move(seconds=10)
    smtp.replies = lambda *_: None
    seen = clock()
    with post.database.transaction() as session:
        gone = session.scalars(select(Subscriber).where(Subscriber.email == "blocked-2@example.com")).one()
        gone.state = SubscriberState.UNSUBSCRIBED
        session.flush()
        assert resend.why_not(session, troubled.id, now=clock(), hold=True) is None
        found = {
            one.state: (one.willing, one.gone) for one in resend.groups(session, troubled.id, as_of=seen)
        }
        again = resend.send_again(
            session, update_id=troubled.id, states={DeliveryState.FAILED}, as_of=seen, now=clock()
        )
    assert found == {DeliveryState.FAILED: (1, 1)}  # the unclear one is sent again by itself
    assert again == {DeliveryState.FAILED: 1}
    with post.database.transaction() as session:
        clock.move(seconds=1)
        twice = resend.send_again(
            session, update_id=troubled.id, states={DeliveryState.FAILED}, as_of=seen, now=clock()
        )
    assert twice == {}
    post.work()
    assert smtp.recipients().count("blocked-1@example.com") == 1
    assert "blocked-2@example.com" not in smtp.recipients()
    row = next(row for row in post.rows() if row.state is DeliveryState.ACCEPTED and row.attempts == 2)
    assert not row.possibly_twice
    with post.database.reading() as session:
        assert ledger_check(session, troubled.id) == []
        assert progress(session, troubled.id).audience == 7


def test_a_resend_of_an_unclear_one_is_marked_and_never_repeats_itself(
    post: Post, smtp: Mailhost, troubled: Update, clock: Clock
) -> None:
    clock.move(minutes=2)
    post.work()  # sent once more by itself, and lost once more
    clock.move(minutes=2)
    with post.database.transaction() as session:
        states = {DeliveryState.UNKNOWN}
        again = resend.send_again(session, update_id=troubled.id, states=states, as_of=clock(), now=clock())
        assert again == {DeliveryState.UNKNOWN: 1}
        assert panel.wire(session, troubled.id, progress(session, troubled.id)).to_be_resent == 1
    tried = smtp.recipients().count("lost-1@example.com")
    for _ in range(3):
        post.work()
        clock.move(minutes=5)
    lost = next(row for row in post.rows() if row.state is DeliveryState.UNKNOWN)
    assert (lost.attempts, lost.possibly_twice, lost.not_before) == (3, True, None)
    assert smtp.recipients().count("lost-1@example.com") == tried + 1


def test_an_overtaken_a_stopped_and_an_old_update_are_not_sent_again(post: Post, clock: Clock) -> None:
    with post.database.transaction() as session:
        incident = an_incident(session)
        first = publish(session, post.house, incident)
        second = publish(session, post.house, incident, now=NOW + timedelta(minutes=1))
        assert resend.why_not(session, first.id, now=NOW) == "newer"
        assert resend.why_not(session, second.id, now=NOW) is None
        assert resend.why_not(session, second.id, now=NOW + timedelta(hours=5)) == "too_old"
        session.scalars(
            select(Fanout).where(Fanout.update_id == second.id)
        ).one().state = FanoutState.CANCELLED
        session.flush()
        assert resend.why_not(session, second.id, now=NOW) == "stopped"


def test_the_list_names_whom_to_call_and_who_may_have_it_comes_last(post: Post, troubled: Update) -> None:
    with post.database.transaction() as session:
        left = session.scalars(select(Subscriber).where(Subscriber.email == "blocked-2@example.com")).one()
        left.state = SubscriberState.UNSUBSCRIBED
        lost = session.scalars(select(Delivery).where(Delivery.state == DeliveryState.UNKNOWN)).one()
        lost.not_before = None  # its second time is over
    found = _list(post.database, troubled)
    assert [(one.email, one.state) for one in found] == [
        ("full-1@example.com", DeliveryState.RETRY),  # as long as their mailbox takes nothing
        ("blocked-1@example.com", DeliveryState.FAILED),
        ("lost-1@example.com", DeliveryState.UNKNOWN),
    ]
    assert found[1].last_try is not None
    assert "longer than" in (found[1].words or "")


def test_nobody_is_listed_whom_a_newer_update_has_reached_or_is_about_to(
    post: Post, smtp: Mailhost, clock: Clock
) -> None:
    smtp.replies = _by_name
    with post.database.transaction() as session:
        people = _people(session, "blocked-1", "blocked-2", "fine-1")
        incident = an_incident(session)
        older = publish(session, post.house, incident)
    post.work()
    assert len(_list(post.database, older)) == 2
    with post.database.transaction() as session:
        clock.move(minutes=1)
        newer = publish(session, post.house, session.get_one(Incident, incident.id), now=clock())
    assert _list(post.database, older) == []  # they are about to get the newer one
    smtp.replies = lambda step, who: _by_name(step, who) if "blocked-2" in who else None
    post.work()
    assert [one.subscriber_id for one in _list(post.database, older)] == [people["blocked-2"]]
    assert [one.subscriber_id for one in _list(post.database, newer)] == [people["blocked-2"]]


def test_people_whose_turn_never_came_are_listed_page_by_page(post: Post, clock: Clock) -> None:
    with post.database.transaction() as session:
        people = _people(session, "a", "b", "c", "d", "e")
        update = publish(session, post.house)
    post.engine.expand_once()
    clock.move(hours=5)
    post.work()
    found = _list(post.database, update)
    assert [one.subscriber_id for one in found] == sorted(people.values())
    assert {one.state for one in found} == {DeliveryState.EXPIRED}
    assert {one.last_try for one in found} == {None}


def test_whose_turn_never_came_is_listed_with_every_worker_down(post: Post) -> None:
    with post.database.transaction() as session:
        people = _people(session, "a", "b")
        update = publish(session, post.house)
    post.engine.expand_once()
    assert _list(post.database, update) == []
    found = _list(post.database, update, now=NOW + timedelta(hours=5))
    assert [(one.subscriber_id, one.state) for one in found] == [
        (number, DeliveryState.EXPIRED) for number in people.values()
    ]


def test_the_rate_is_the_difference_of_two_readings() -> None:
    readings = Readings()
    assert readings.rate(1, 0, at=NOW) is None
    assert readings.rate(1, 50, at=NOW + timedelta(seconds=0.5)) is None
    assert readings.rate(1, 400, at=NOW + timedelta(seconds=2)) == 200
    assert readings.rate(2, 9, at=NOW + timedelta(seconds=2)) is None  # another update
    assert readings.rate(1, 400, at=NOW + timedelta(seconds=10)) == 40
    assert readings.rate(1, 300, at=NOW + timedelta(seconds=12)) is None  # people were made due again
    assert readings.rate(1, 300, at=NOW + timedelta(minutes=5)) is None  # too long ago
    assert (seconds_left(600, 200), seconds_left(600, 0), seconds_left(600, None)) == (3, None, None)
