"""An update that fails over one channel for good goes over the other one once, where its reader has allowed that."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from incident_center.delivery.chunks import claim, settle
from incident_center.delivery.fallback import (
    Failure,
    Reader,
    after_failure,
    after_move,
    failed,
    goes_over,
    is_final,
)
from incident_center.delivery.ledger import Due, Result
from incident_center.delivery.outcome import Outcome, OutcomeState
from incident_center.delivery.questions import ledger_check, progress
from incident_center.delivery.rules import Try
from incident_center.delivery.second import belongs_there, other
from incident_center.delivery.suppress import suppress
from incident_center.models import Attempt, Chunk, Delivery, Fanout, Subscriber
from incident_center.states import Channel, DeliveryState, FanoutState, SubscriberState, SuppressionReason
from tests.builders import NOW, a_subscriber
from tests.delivery.servers import Mailhost, SmsGateway
from tests.delivery.stories import Clock, Post, publish

ADDRESS, PHONE = "anna@example.com", "+4915123456789"
GONE, REFUSED = "550 5.1.1 no such mailbox", "552 5.3.4 message too big"
BAD_ENDS = {DeliveryState.FAILED, DeliveryState.BOUNCED}

channels = st.sampled_from(Channel)
failures = st.builds(
    Failure,
    channel=channels,
    state=st.sampled_from(DeliveryState),
    code=st.sampled_from(["", "550", "5.1.1", "452", "4.2.2", "Transient General"]),
    doubtful=st.booleans(),
    tried=st.frozensets(channels),
)
readers = st.builds(Reader, preferred=channels, second=st.booleans(), subscribed=st.booleans())


@given(failures, readers)
def test_whoever_is_sent_over_failed_for_sure_and_has_allowed_it(failure: Failure, reader: Reader) -> None:
    target = goes_over(failure, reader)
    if target is None:
        return
    assert failure.state in BAD_ENDS
    assert reader.subscribed
    assert target not in failure.tried | {failure.channel}
    assert target is reader.preferred or reader.second
    if reader.preferred is failure.channel:  # the address is still theirs: what may have arrived counts
        assert not failure.doubtful
        assert failure.state is DeliveryState.FAILED or is_final(failure)


@given(failures, readers)
def test_nobody_with_another_way_is_left_out(failure: Failure, reader: Reader) -> None:
    sure = not failure.doubtful and (failure.state is DeliveryState.FAILED or is_final(failure))
    allowed = reader.preferred is not failure.channel or (reader.second and sure)
    untried = other(failure.channel) not in failure.tried
    if failure.state in BAD_ENDS and reader.subscribed and allowed and untried:
        assert goes_over(failure, reader) is other(failure.channel)


@given(failures, readers)
def test_each_channel_gets_one_chance(failure: Failure, reader: Reader) -> None:
    target = goes_over(failure, reader)
    if target is not None:
        again = Failure(
            channel=target, state=DeliveryState.FAILED, tried=failure.tried | {failure.channel, target}
        )
        assert goes_over(again, reader) is None


def test_only_what_was_refused_is_looked_at() -> None:
    states: tuple[OutcomeState, ...] = ("accepted", "unknown", "failed", "retry")
    results = [
        Result(_due(number), [Try("smtp", Outcome(state=state))]) for number, state in enumerate(states)
    ]
    assert failed([*results, Result(_due(9))]) == [(7, 2), (7, 3)]


def _due(subscriber_id: int) -> Due:
    return Due(
        update_id=7,
        incident_id=1,
        subscriber_id=subscriber_id,
        channel=Channel.EMAIL,
        address=ADDRESS,
        language="en",
        zone="UTC",
        name=None,
        form=None,
        since=NOW,
    )


def sent_to_anna(post: Post, smtp: Mailhost, reply: str | None, **parts: Any) -> Delivery:
    """An update whose e-mail to Anna the relay answers with `reply`. Only then does she allow her number, so that
    what failed waits for these tests' own call. Answers her row."""
    smtp.replies = lambda step, _: reply if step == "rcpt" else None
    with post.database.transaction() as session:
        given: dict[str, Any] = {"email": ADDRESS, "phone": PHONE}
        number = a_subscriber(session, **(given | parts)).id
        a_subscriber(session, phone="+12125550123")
        update_id = publish(session, post.house).id
    post.work()
    with post.database.transaction() as session:
        person = session.get_one(Subscriber, number)
        person.fallback_since = NOW if person.email and person.phone else None
        return session.get_one(Delivery, (update_id, number))


def sent_over(post: Post, row: Delivery) -> int:
    with post.database.transaction() as session:
        return after_failure(session, [(row.update_id, row.subscriber_id)], now=post.clock())


def again(post: Post, row: Delivery) -> Delivery:
    with post.database.reading() as session:
        return session.get_one(Delivery, (row.update_id, row.subscriber_id))


def put(post: Post, row: Delivery, **values: Any) -> None:
    key = (Delivery.update_id == row.update_id) & (Delivery.subscriber_id == row.subscriber_id)
    with post.database.transaction() as session:
        session.execute(update(Delivery).where(key).values(**values))


def tries(post: Post, row: Delivery) -> list[tuple[Channel | None, DeliveryState, str | None]]:
    with post.database.reading() as session:
        found = session.scalars(
            select(Attempt).where(Attempt.subscriber_id == row.subscriber_id).order_by(Attempt.id)
        )
        return [(each.channel, each.state, each.code) for each in found]


def test_a_message_that_is_refused_goes_to_the_number_and_the_preference_stays(
    post: Post, smtp: Mailhost
) -> None:
    row = sent_to_anna(post, smtp, REFUSED)
    assert row.state is DeliveryState.FAILED
    assert sent_over(post, row) == 1
    moved = again(post, row)
    assert (moved.channel, moved.state, moved.not_before) == (Channel.SMS, DeliveryState.DUE, NOW)
    assert (moved.apart, moved.attempts, moved.since) == (True, row.attempts, row.since)
    assert tries(post, row) == [(Channel.EMAIL, DeliveryState.FAILED, "552 5.3.4")]
    assert sent_over(post, row) == 0, "it is on its way already"
    with post.database.reading() as session:
        person = session.get_one(Subscriber, row.subscriber_id)
        assert (person.channel, person.email, person.phone) == (Channel.EMAIL, ADDRESS, PHONE)
        assert belongs_there(moved, person)
        assert ledger_check(session, row.update_id) == []
        assert progress(session, row.update_id).by_channel[Channel.SMS] == {
            DeliveryState.ACCEPTED: 1,
            DeliveryState.DUE: 1,
        }


def test_whoever_goes_over_while_their_chunk_is_open_is_counted_once(post: Post, smtp: Mailhost) -> None:
    smtp.replies = lambda step, who: REFUSED if step == "rcpt" and who == ADDRESS else None
    with post.database.transaction() as session:
        a_subscriber(session, email=ADDRESS, phone=PHONE, fallback_since=NOW)
        a_subscriber(session, email="other@example.com")
        update_id = publish(session, post.house).id
    post.engine.expand_once()
    with post.database.transaction() as session:
        batch, _ = claim(session, channel=Channel.EMAIL, owner="w", now=post.clock(), limit=1)
        assert batch is not None
    with post.database.transaction() as session:
        refused = [Result(due, [Try("email 1 smtp", Outcome(state="failed"))]) for due in batch.people]
        settle(session, house=post.house, batch=batch, results=refused, now=NOW, limit=1, go_on=False)
    with post.database.reading() as session:
        told = progress(session, update_id)
    assert told.by_channel == {
        Channel.EMAIL: {DeliveryState.DUE: 1},
        Channel.SMS: {DeliveryState.DUE: 1},
    }


def test_each_channel_has_had_its_chance_once_the_number_has_failed_too(post: Post, smtp: Mailhost) -> None:
    row = sent_to_anna(post, smtp, REFUSED)
    sent_over(post, row)
    put(post, row, state=DeliveryState.FAILED, not_before=None)
    assert sent_over(post, row) == 0


def test_a_bounce_that_a_receipt_reports_is_kept_as_a_try(post: Post, smtp: Mailhost) -> None:
    row = sent_to_anna(post, smtp, None)
    assert row.state is DeliveryState.ACCEPTED
    assert sent_over(post, row) == 0
    put(post, row, state=DeliveryState.BOUNCED, code="4.2.2")
    assert sent_over(post, row) == 0, "it may still arrive"
    put(post, row, code="5.2.2", detail="mailbox full")
    assert sent_over(post, row) == 1
    assert tries(post, row) == [(Channel.EMAIL, DeliveryState.BOUNCED, "5.2.2")]
    with post.database.reading() as session:
        assert ledger_check(session, row.update_id) == []
        assert set(progress(session, row.update_id).by_channel) == {Channel.SMS}
        assert sum(session.scalars(select(Chunk.written).where(Chunk.channel == Channel.EMAIL))) == 0


def test_a_lost_number_sends_the_update_to_the_mailbox(post: Post, smtp: Mailhost) -> None:
    row = sent_to_anna(post, smtp, None, channel=Channel.SMS)
    assert (row.state, row.channel) == (DeliveryState.ACCEPTED, Channel.SMS)
    put(post, row, state=DeliveryState.BOUNCED, code="undelivered 30005")
    with post.database.transaction() as session:
        suppress(
            session,
            house=post.house,
            channel=Channel.SMS,
            address=PHONE,
            reason=SuppressionReason.BOUNCE,
            now=post.clock(),
        )
        assert after_failure(session, [(row.update_id, row.subscriber_id)], now=post.clock()) == 1
    post.work()
    assert smtp.recipients() == [ADDRESS]


@pytest.mark.parametrize(
    ("told", "values"),
    [
        ("never for unknown", {"state": DeliveryState.UNKNOWN}),
        ("never where it may have arrived before", {"possibly_twice": True}),
    ],
)
def test_what_may_have_arrived_is_not_sent_again_elsewhere(
    post: Post, smtp: Mailhost, told: str, values: dict[str, Any]
) -> None:
    row = sent_to_anna(post, smtp, REFUSED)
    put(post, row, **values)
    assert sent_over(post, row) == 0, told


def test_old_news_goes_nowhere(post: Post, smtp: Mailhost, clock: Clock) -> None:
    row = sent_to_anna(post, smtp, REFUSED)
    for state in (FanoutState.SUPERSEDED, FanoutState.CANCELLED):
        with post.database.transaction() as session:
            session.execute(update(Fanout).values(state=state))
        assert sent_over(post, row) == 0
    with post.database.transaction() as session:
        session.execute(update(Fanout).values(state=FanoutState.CUT))
    clock.at = NOW + timedelta(hours=4)
    assert sent_over(post, row) == 0
    clock.at = NOW + timedelta(hours=3, minutes=59)
    assert sent_over(post, row) == 1


@pytest.mark.parametrize(
    "parts", [{"fallback_since": None}, {"state": SubscriberState.UNSUBSCRIBED}, {"phone": None}]
)
def test_who_has_not_allowed_it_or_has_left_is_left_alone(
    post: Post, smtp: Mailhost, parts: dict[str, Any]
) -> None:
    row = sent_to_anna(post, smtp, REFUSED)
    if "phone" in parts:
        parts = {"phone": None, "fallback_since": None}
    with post.database.transaction() as session:
        session.execute(update(Subscriber).where(Subscriber.id == row.subscriber_id).values(**parts))
    assert sent_over(post, row) == 0


def test_who_moves_after_a_failure_gets_the_update_at_the_new_address(
    post: Post, smtp: Mailhost, gateway: SmsGateway
) -> None:
    row = sent_to_anna(post, smtp, GONE, phone=None)
    with post.database.transaction() as session:
        person = session.get_one(Subscriber, row.subscriber_id)
        assert person.state is SubscriberState.SUPPRESSED
        person.channel, person.phone, person.state = Channel.SMS, PHONE, SubscriberState.CONFIRMED
        assert after_move(session, person, now=post.clock()) == 1
    post.work()
    assert gateway.recipients().count(PHONE) == 1


def test_losing_the_mailbox_before_ones_turn_queues_what_has_not_reached_them(
    post: Post, smtp: Mailhost, gateway: SmsGateway, clock: Clock
) -> None:
    """The other channel's chunks have gone past them already."""
    with post.database.transaction() as session:
        person = a_subscriber(session, email=ADDRESS, phone=PHONE, fallback_since=NOW)
        publish(session, post.house)
    assert post.engine.expand_once()
    with post.database.transaction() as session:
        suppress(
            session,
            house=post.house,
            channel=Channel.EMAIL,
            address=ADDRESS,
            reason=SuppressionReason.BOUNCE,
            now=post.clock(),
        )
    clock.move(seconds=2)  # whoever might be marking them at that moment has done so
    post.work()
    assert gateway.recipients() == [PHONE]
    assert smtp.mails == []
    assert person.id == post.row().subscriber_id


def test_a_retry_waits_where_it_was_unless_its_reader_moved_away() -> None:
    """`belongs_there` for a row that waits; see decision 0012."""

    def waits(channel: Channel, attempts: int, *, second: bool) -> bool:
        row = Delivery(channel=channel, attempts=attempts)
        person = Subscriber(channel=Channel.EMAIL, fallback_since=NOW if second else None)
        return belongs_there(row, person)

    assert waits(Channel.EMAIL, 0, second=False)
    assert waits(Channel.SMS, 1, second=True)
    assert not waits(Channel.SMS, 1, second=False)
    assert not waits(Channel.SMS, 0, second=True), "nothing has failed yet: they have moved"
