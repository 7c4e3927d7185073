"""The ledger is checked once for each fan-out: silent when it adds up, one alarm when somebody was forgotten."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from incident_center.audience.verbs import import_csv
from incident_center.delivery import check
from incident_center.delivery.fanout import queue_current_status
from incident_center.delivery.questions import ledger_check
from incident_center.models import Attempt, Delivery, Fanout, Incident, Message, Subscriber
from incident_center.states import DeliveryState, MessageKind, Phase, SubscriberState
from tests.builders import a_subscriber, juergen, mai, olivia
from tests.delivery.servers import Mailhost, SmsGateway
from tests.delivery.stories import Clock, Post, publish


@pytest.fixture
def post(open_post: Callable[..., Post], smtp: Mailhost, gateway: SmsGateway) -> Post:
    """One worker with both providers and a crisis team to tell."""
    return open_post(email=smtp.url, sms=gateway.url, staff="demo-mailbox://staff")


def alarms(post: Post) -> list[Message]:
    with post.database.reading() as session:
        return list(session.scalars(select(Message).where(Message.kind == MessageKind.STAFF)))


def checked(post: Post) -> list[bool]:
    """Of every fan-out, oldest first, whether it was checked."""
    with post.database.reading() as session:
        return [at is not None for at in session.scalars(select(Fanout.checked_at).order_by(Fanout.id))]


def sent_to(post: Post, *cast: Callable[[Session], Subscriber], phase: Phase = Phase.INVESTIGATING) -> int:
    """Publishes to the cast and sends it all; answers the update's id."""
    with post.database.transaction() as session:
        for person in cast:
            person(session)
        update_id = publish(session, post.house, phase=phase).id
    post.work()
    return update_id


def test_a_healthy_fan_out_is_checked_once_and_says_nothing(post: Post) -> None:
    assert not post.engine.check_once()
    with post.database.transaction() as session:
        olivia(session), juergen(session), mai(session)
        publish(session, post.house)
    assert not post.engine.check_once()  # not cut
    assert post.engine.expand_once()
    assert not post.engine.check_once()  # not sent
    post.work()
    with capture_logs() as logs:
        assert post.engine.check_once()
        assert not post.engine.check_once()
    assert (checked(post), alarms(post), logs) == ([True], [], [])


def test_a_forgotten_subscriber_raises_one_alarm_that_names_nobody(post: Post) -> None:
    update_id = sent_to(post, olivia, juergen, mai)
    with post.database.transaction() as session:
        session.execute(delete(Attempt))
        email = select(Subscriber.id).where(Subscriber.email.is_not(None))
        session.execute(delete(Delivery).where(Delivery.subscriber_id.in_(email)))
    with capture_logs() as logs:
        assert post.engine.check_once()
        assert not post.engine.check_once()
    (alarm,) = alarms(post)
    assert alarm.key == f"ledger-{update_id}"
    assert alarm.headers == {}  # no group: everybody on duty
    assert "Subscribers whom nobody will write to: 2. Complaints: 1." in (alarm.text or "")
    assert "@" not in f"{alarm.subject} {alarm.text}"
    (line,) = logs
    assert line == {
        "event": "ledger_does_not_add_up",
        "log_level": "error",
        "update_id": update_id,
        "complaints": 1,
        "people": 2,
    }
    post.work()
    (alarm,) = alarms(post)
    assert alarm.state is DeliveryState.ACCEPTED


def test_who_waits_has_left_or_joined_meanwhile_is_no_complaint(
    post: Post, smtp: Mailhost, clock: Clock
) -> None:
    smtp.replies = lambda step, who: "451 4.2.0 later" if step == "rcpt" and "gross" in who else None
    with post.database.transaction() as session:
        gone = olivia(session)
        juergen(session)
        publish(session, post.house)
    assert post.engine.expand_once()
    with post.database.transaction() as session:
        session.get_one(Subscriber, gone.id).state = SubscriberState.UNSUBSCRIBED
    post.work()
    with post.database.transaction() as session:
        newcomer = mai(session, updated_at=clock(), confirmed_at=clock())
        queue_current_status(session, subscriber=newcomer, now=clock())
    states = {row.state for row in post.rows()}
    assert states == {DeliveryState.RETRY, DeliveryState.DUE}
    assert post.engine.check_once()
    assert (checked(post), alarms(post)) == ([True], [])


def test_a_newcomer_to_an_open_incident_without_a_row_is_a_complaint(post: Post, clock: Clock) -> None:
    sent_to(post, olivia)
    with post.database.transaction() as session:
        mai(session, updated_at=clock(), confirmed_at=clock())
    assert post.engine.check_once()
    assert len(alarms(post)) == 1


def test_who_comes_after_the_end_is_no_complaint(post: Post, clock: Clock) -> None:
    update_id = sent_to(post, olivia, phase=Phase.RESOLVED)
    with post.database.transaction() as session:
        session.execute(update(Incident).values(phase=Phase.RESOLVED))
        newcomer = mai(session, updated_at=clock(), confirmed_at=clock())
        queue_current_status(session, subscriber=newcomer, now=clock())
    assert [row.update_id for row in post.rows()] == [update_id]
    assert post.engine.check_once()
    assert alarms(post) == []


def test_who_is_imported_in_mid_incident_is_no_complaint(post: Post, clock: Clock) -> None:
    sent_to(post, olivia)
    report = import_csv(
        post.database,
        house=post.house,
        stream=io.BytesIO(b"email\nanna@example.com\n"),
        confirmed=True,
        by="command line",
        clock=clock,
    )
    assert report.taken == 1
    assert post.engine.check_once()
    assert alarms(post) == []


def test_people_of_a_chunk_that_grew_too_old_are_counted_there_and_no_complaint(
    post: Post, clock: Clock
) -> None:
    with post.database.transaction() as session:
        olivia(session)
        publish(session, post.house)
    assert post.engine.expand_once()
    clock.move(hours=5)
    post.work()
    assert post.rows() == []
    assert post.engine.check_once()
    assert (checked(post), alarms(post)) == ([True], [])


def test_what_was_overtaken_is_not_checked(post: Post, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    with post.database.transaction() as session:
        olivia(session)
        incident = publish(session, post.house).incident_id
    post.work()
    with post.database.transaction() as session:
        a_subscriber(session)

    def overtaken_meanwhile(session: Session, update_id: int) -> list[str]:
        complaints = ledger_check(session, update_id)
        with post.database.transaction() as publishing:
            clock.move(minutes=10)
            publish(publishing, post.house, publishing.get_one(Incident, incident), now=clock())
        return complaints

    with monkeypatch.context() as patched:
        patched.setattr(check, "ledger_check", overtaken_meanwhile)
        assert post.engine.check_once()
    assert (checked(post), alarms(post)) == ([False, False], [])
    post.work()
    assert post.engine.check_once()
    assert not post.engine.check_once()
    assert (checked(post), alarms(post)) == ([False, True], [])


def test_of_two_workers_who_look_at_once_one_alarms(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    sent_to(post, olivia)
    with post.database.transaction() as session:
        a_subscriber(session, updated_at=post.clock() - timedelta(days=1))
    other = post.another("worker 2")

    def checked_by_another_meanwhile(session: Session, update_id: int) -> list[str]:
        monkeypatch.setattr(check, "ledger_check", ledger_check)
        assert other.check_once()
        return ledger_check(session, update_id)

    monkeypatch.setattr(check, "ledger_check", checked_by_another_meanwhile)
    with capture_logs() as logs:
        assert post.engine.check_once()
    assert (len(alarms(post)), len(logs)) == (1, 1)
    other.release()
