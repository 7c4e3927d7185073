"""From publishing to inboxes, over real servers, on both databases."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from incident_center.delivery import chunks, cutting
from incident_center.delivery.fanout import queue_current_status, settle_superseded
from incident_center.delivery.questions import audience_counts, ledger_check, progress
from incident_center.house import House
from incident_center.models import (
    Attempt,
    Chunk,
    Fanout,
    Incident,
    Subscriber,
    SubscriberComponent,
    Suppression,
)
from incident_center.states import Channel, ChunkState, DeliveryState, FanoutState, SubscriberState
from tests.builders import NOW, a_component, a_subscriber, an_incident, juergen, mai, olivia
from tests.delivery.rawhost import WAIT, rawhost
from tests.delivery.servers import DROP, Mailhost, SmsGateway, html, plain
from tests.delivery.stories import WORDS, Clock, Post, keep_wordings, publish


def test_everybody_is_told_once_over_the_channel_and_in_the_language_that_they_prefer(
    post: Post, smtp: Mailhost, gateway: SmsGateway
) -> None:
    with post.database.transaction() as session:
        olivia(session), juergen(session), mai(session)
        update = publish(session, post.house)
    post.work()
    assert sorted(smtp.recipients()) == ["j.gross@example.com", "o'brien+payout@example.com"]
    assert gateway.recipients() == ["+12125550123"]
    by_recipient = {mail.recipient: mail.message for mail in smtp.mails}
    english, german = by_recipient["o'brien+payout@example.com"], by_recipient["j.gross@example.com"]
    assert english["Subject"] == "Delayed: payouts"
    assert german["Subject"] == "Verzögert: Auszahlungen"
    assert "Dear Olivia O'Brien" in plain(english)
    assert "Guten Tag, Herr Groß" in html(german)
    assert "12:40 pm GMT" in plain(english)
    assert "14:00 Uhr" not in plain(german)
    assert "13:40 Uhr (MEZ)" in plain(german)
    assert "7:40 am EST" in gateway.texts[0][1]
    with post.database.reading() as session:
        assert ledger_check(session, update.id) == []
        seen = progress(session, update.id)
    assert (seen.audience, seen.waiting, seen.finished, seen.possibly_twice) == (3, 0, True, 0)
    assert seen.by_channel == {
        Channel.EMAIL: {DeliveryState.ACCEPTED: 2},
        Channel.SMS: {DeliveryState.ACCEPTED: 1},
    }


def test_o_brien_receives_exactly_their_mail_and_nobody_else_does(post: Post, smtp: Mailhost) -> None:
    with post.database.transaction() as session:
        reader = olivia(session)
        publish(session, post.house)
    post.work()
    (mail,) = smtp.mails
    assert mail.recipient == "o'brien+payout@example.com"
    assert mail.message["To"] == "o'brien+payout@example.com"
    assert f"/u/{reader.id}." in mail.message["List-Unsubscribe"]
    assert mail.message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


@pytest.mark.timeout(60)
def test_a_thousand_people_over_both_channels_add_up(post: Post, smtp: Mailhost, gateway: SmsGateway) -> None:
    with post.database.transaction() as session:
        for number in range(900):
            a_subscriber(session, email=f"reader-{number}@example.com")
        for number in range(100):
            a_subscriber(session, phone=f"+4915{number:09}")
        update = publish(session, post.house)
    post.work()
    assert len(smtp.mails) == len(set(smtp.recipients())) == 900
    assert len(gateway.texts) == len(set(gateway.recipients())) == 100
    assert smtp.connections < 20  # kept ones: ten at a time, and new ones only for those that are lost
    with post.database.reading() as session:
        assert ledger_check(session, update.id) == []
        assert progress(session, update.id).by_channel == {
            Channel.EMAIL: {DeliveryState.ACCEPTED: 900},
            Channel.SMS: {DeliveryState.ACCEPTED: 100},
        }
        assert session.scalar(select(func.count()).select_from(Attempt)) == 0
        states = set(session.scalars(select(Chunk.state)))
    assert states == {ChunkState.DONE}


def test_only_those_are_told_whom_it_concerns(post: Post, smtp: Mailhost) -> None:
    with post.database.transaction() as session:
        sepa, cards = a_component(session, "sepa-instant"), a_component(session, "cards")
        a_subscriber(session, email="sepa@example.com", components=[sepa])
        a_subscriber(session, email="cards@example.com", components=[cards])
        a_subscriber(session, email="all@example.com")
        a_subscriber(session, email="pending@example.com", state=SubscriberState.PENDING)
        a_subscriber(session, email="gone@example.com", state=SubscriberState.UNSUBSCRIBED)
        publish(session, post.house, an_incident(session, components=[sepa]))
        assert audience_counts(session, [sepa.id]) == {(Channel.EMAIL, "en"): 2}
    post.work()
    assert sorted(smtp.recipients()) == ["all@example.com", "sepa@example.com"]


def test_whoever_was_told_that_it_began_is_told_that_it_is_over(
    post: Post, smtp: Mailhost, clock: Clock
) -> None:
    with post.database.transaction() as session:
        sepa, cards = a_component(session, "sepa-instant"), a_component(session, "cards")
        reader = a_subscriber(session, email="moved@example.com", components=[sepa])
        incident = an_incident(session, components=[sepa])
        publish(session, post.house, incident)
    post.work()
    with post.database.transaction() as session:
        row = session.get_one(SubscriberComponent, (reader.id, sepa.id))
        session.delete(row)
        session.add(SubscriberComponent(subscriber_id=reader.id, component_id=cards.id))
        clock.move(minutes=10)
        publish(session, post.house, session.get_one(Incident, incident.id), now=clock())
    post.work()
    assert smtp.recipients() == ["moved@example.com"] * 2


def test_the_next_wave_goes_up_while_the_one_before_it_is_still_waited_for(
    open_post: Callable[..., Post],
) -> None:
    """The last letter of the second wave is answered once three of the third have arrived."""
    second, third = "reader-049@example.com", "reader-05"
    with rawhost() as host:
        host.replies = lambda step, to: WAIT if (step, to) == ("dot", second) else None
        host.stored = lambda _: host.gate.set() if "".join(host.recipients()).count(third) >= 3 else None
        post = open_post(email=host.url)
        with post.database.transaction() as session:
            for number in range(75):
                a_subscriber(session, email=f"reader-{number:03}@example.com")
            publish(session, post.house)
        post.work()
        assert sorted(host.recipients()) == [f"reader-{number:03}@example.com" for number in range(75)]
        assert {row.state for row in post.rows()} == {DeliveryState.ACCEPTED}


def test_who_joins_in_mid_incident_gets_the_current_status_once(post: Post, smtp: Mailhost) -> None:
    with post.database.transaction() as session:
        update = publish(session, post.house)
    post.work()
    with post.database.transaction() as session:
        late = a_subscriber(session, email="late@example.com")
        queue_current_status(session, subscriber=late, now=NOW)
        queue_current_status(session, subscriber=late, now=NOW)
    post.work()
    with post.database.transaction() as session:
        queue_current_status(session, subscriber=late, now=NOW)
    post.work()
    assert smtp.recipients() == ["late@example.com"]
    with post.database.reading() as session:
        assert ledger_check(session, update.id) == []


def test_who_joins_while_the_fan_out_is_being_cut_is_not_written_to_twice(
    post: Post, smtp: Mailhost, clock: Clock
) -> None:
    with post.database.transaction() as session:
        publish(session, post.house)
        late = a_subscriber(session, email="late@example.com")
        queue_current_status(session, subscriber=late, now=NOW)
    post.work()
    clock.move(seconds=2)  # whoever might be marking them at that moment has done so
    post.work()
    assert smtp.recipients() == ["late@example.com"]


def test_a_second_incident_does_not_wait_for_the_whole_first_one(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, "CHUNK", 1)
    monkeypatch.setattr(cutting, "CHUNKS_A_STEP", 3)
    with post.database.transaction() as session:
        for _ in range(5):
            a_subscriber(session)
        both = [publish(session, post.house, an_incident(session)).id for _ in range(2)]
    assert post.engine.expand_once()
    with post.database.reading() as session:
        cut = select(Chunk.update_id, func.count()).group_by(Chunk.update_id)
        assert dict(session.execute(cut).all()) == dict.fromkeys(both, 3)
    claimed = []
    for turn in (list.sort, list.reverse) * 2:
        monkeypatch.setattr("random.shuffle", turn)
        with post.database.transaction() as session:
            batch, _ = chunks.claim(session, channel=Channel.EMAIL, owner="w", now=NOW, limit=50)
            assert batch is not None
            claimed.append(batch.update_id)
    assert claimed == both * 2


def test_e_mails_of_a_great_audience_go_in_longer_chunks(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "CHUNK", 2)
    monkeypatch.setattr(cutting, "CHUNKS_A_STEP", 4)
    with post.database.transaction() as session:
        for place in range(19):
            a_subscriber(session)
            if place < 17:
                a_subscriber(session, channel=Channel.SMS, phone=f"+4915112345{place:03}")
        publish(session, post.house)
    while post.engine.expand_once():
        pass
    with post.database.reading() as session:
        sizes: dict[Channel, list[int]] = {channel: [] for channel in Channel}
        for channel, size in session.execute(select(Chunk.channel, Chunk.size).order_by(Chunk.id)):
            sizes[channel].append(size)
    assert sizes == {Channel.EMAIL: [2, 2, 2, 2, 8, 2, 1], Channel.SMS: [2, 2, 2, 2, 2, 2, 2, 2, 1]}


def test_whoever_confirms_while_a_chunk_around_them_is_open_takes_nobody_out_of_the_count(post: Post) -> None:
    with post.database.transaction() as session:
        a_subscriber(session)
        late = a_subscriber(session, state=SubscriberState.PENDING, confirmed_at=None).id
        a_subscriber(session)
        update_id = publish(session, post.house).id
    post.engine.expand_once()
    with post.database.transaction() as session:
        person = session.get_one(Subscriber, late)
        person.state, person.confirmed_at = SubscriberState.CONFIRMED, NOW + timedelta(seconds=1)
        queue_current_status(session, subscriber=person, now=NOW + timedelta(seconds=1))
        assert progress(session, update_id).by_channel == {Channel.EMAIL: {DeliveryState.DUE: 3}}
        session.execute(update(Fanout).values(state=FanoutState.SUPERSEDED))
        assert settle_superseded(session, now=NOW)
        assert session.scalar(select(Chunk.left)) == 2


def test_a_newer_update_stops_the_older_one(post: Post, smtp: Mailhost, clock: Clock) -> None:
    with post.database.transaction() as session:
        for number in range(5):
            a_subscriber(session, email=f"reader-{number}@example.com")
        incident = an_incident(session)
        older = publish(session, post.house, incident)
        newer = publish(session, post.house, incident, now=NOW + timedelta(minutes=1))
    clock.move(minutes=1)
    post.work()
    assert len(smtp.mails) == 5
    with post.database.reading() as session:
        assert (
            session.scalar(select(Fanout.state).where(Fanout.update_id == older.id)) is FanoutState.SUPERSEDED
        )
        assert progress(session, older.id).waiting == 0
        assert ledger_check(session, newer.id) == []


def test_what_was_cut_of_an_overtaken_update_is_counted_as_superseded(
    post: Post, smtp: Mailhost, clock: Clock
) -> None:
    with post.database.transaction() as session:
        for number in range(5):
            a_subscriber(session, email=f"reader-{number}@example.com")
        incident = an_incident(session)
        older = publish(session, post.house, incident)
    assert post.engine.expand_once()
    with post.database.transaction() as session:
        clock.move(minutes=1)
        publish(session, post.house, session.get_one(Incident, incident.id), now=clock())
        assert progress(session, older.id).by_channel == {Channel.EMAIL: {DeliveryState.SUPERSEDED: 5}}
    post.work()
    assert len(smtp.mails) == 5
    with post.database.reading() as session:
        seen = progress(session, older.id)
    assert seen.by_channel == {Channel.EMAIL: {DeliveryState.SUPERSEDED: 5}}
    assert seen.finished


def test_a_retry_of_an_overtaken_update_is_settled_and_not_sent(
    post: Post, smtp: Mailhost, clock: Clock
) -> None:
    smtp.replies = lambda step, _: "451 4.2.0 try later" if step == "rcpt" else None
    with post.database.transaction() as session:
        olivia(session)
        incident = an_incident(session)
        publish(session, post.house, incident)
    post.work()
    assert post.row().state is DeliveryState.RETRY
    smtp.replies = lambda *_: None
    with post.database.transaction() as session:
        clock.move(minutes=5)
        publish(session, post.house, session.get_one(Incident, incident.id), now=clock())
    post.work()
    assert [row.state for row in post.rows()] == [DeliveryState.SUPERSEDED, DeliveryState.ACCEPTED]
    assert len(smtp.mails) == 1


def test_an_unknown_of_an_overtaken_update_is_not_sent_again(
    post: Post, smtp: Mailhost, clock: Clock
) -> None:
    smtp.replies = lambda step, _: DROP if step == "dot" and len(smtp.mails) == 0 else None
    with post.database.transaction() as session:
        olivia(session)
        incident = an_incident(session)
        publish(session, post.house, incident)
    post.work()
    assert post.row().state is DeliveryState.UNKNOWN
    with post.database.transaction() as session:
        clock.move(minutes=5)
        publish(session, post.house, session.get_one(Incident, incident.id), now=clock())
    post.work()
    assert [(row.state, row.possibly_twice) for row in post.rows()] == [
        (DeliveryState.UNKNOWN, False),
        (DeliveryState.ACCEPTED, False),
    ]


def test_a_silent_fix_reaches_those_who_still_wait(post: Post, smtp: Mailhost, house: House) -> None:
    with post.database.transaction() as session:
        olivia(session)
        incident = an_incident(session)
        update = publish(session, post.house, incident)
        fixed = WORDS["en"].model_copy(update={"subject": "Delayed: all payouts"})
        keep_wordings(
            session, house, incident, update, words={"en": fixed, "de": WORDS["de"]}, now=NOW, revision=1
        )
    post.work()
    assert smtp.mails[0].message["Subject"] == "Delayed: all payouts"


def test_a_mailbox_that_does_not_exist_is_never_written_to_again(
    post: Post, smtp: Mailhost, clock: Clock
) -> None:
    smtp.replies = lambda _, recipient: "550 5.1.1 no such user" if recipient.startswith("gone") else None
    with post.database.transaction() as session:
        gone = a_subscriber(session, email="gone@example.com")
        a_subscriber(session, email="there@example.com")
        incident = an_incident(session)
        publish(session, post.house, incident)
    post.work()
    with post.database.transaction() as session:
        session.refresh(session.merge(gone, load=True))
        assert session.get_one(type(gone), gone.id).state is SubscriberState.SUPPRESSED
        assert session.scalar(select(func.count()).select_from(Suppression)) == 1
        clock.move(minutes=5)
        publish(session, post.house, session.get_one(Incident, incident.id), now=clock())
    post.work()
    assert smtp.recipients() == ["there@example.com", "there@example.com"]
    failed = [row for row in post.rows() if row.state is DeliveryState.FAILED]
    assert [row.code for row in failed] == ["550 5.1.1"]


def test_one_person_who_cannot_be_composed_for_does_not_stop_the_others(post: Post, smtp: Mailhost) -> None:
    with post.database.transaction() as session:
        a_subscriber(session, email="first@example.com")
        a_subscriber(session, email="bad address@exa mple.com")
        a_subscriber(session, email="last@example.com")
        publish(session, post.house)
    post.work()
    assert sorted(smtp.recipients()) == ["first@example.com", "last@example.com"]
    assert sorted(row.state for row in post.rows()) == [
        DeliveryState.ACCEPTED,
        DeliveryState.ACCEPTED,
        DeliveryState.QUARANTINED,
    ]


def test_a_zone_that_no_longer_exists_keeps_nobody_in_the_dark(post: Post, smtp: Mailhost) -> None:
    with post.database.transaction() as session:
        a_subscriber(session, email="mars@example.com", zone="Mars/Olympus")
        publish(session, post.house)
    post.work()
    assert smtp.recipients() == ["mars@example.com"]


def test_old_news_is_not_sent_any_more(post: Post, smtp: Mailhost, clock: Clock) -> None:
    with post.database.transaction() as session:
        olivia(session)
        update = publish(session, post.house)
    assert post.engine.expand_once()
    clock.move(hours=5)
    post.work()
    assert smtp.mails == []
    with post.database.reading() as session:
        assert progress(session, update.id).by_channel == {Channel.EMAIL: {DeliveryState.EXPIRED: 1}}


def test_who_unsubscribes_while_the_fan_out_runs_gets_nothing_more(
    open_post: Callable[..., Post], smtp: Mailhost
) -> None:
    post = open_post(email=smtp.url)
    with post.database.transaction() as session:
        reader = olivia(session)
        update = publish(session, post.house)
    assert post.engine.expand_once()
    with post.database.transaction() as session:
        session.get_one(type(reader), reader.id).state = SubscriberState.UNSUBSCRIBED
    post.work()
    assert smtp.mails == []
    with post.database.reading() as session:
        assert session.scalar(select(Chunk.left).where(Chunk.update_id == update.id)) == 1
        assert ledger_check(session, update.id) == []


def test_the_ledger_complains_about_somebody_whom_nobody_will_write_to(post: Post) -> None:
    with post.database.transaction() as session:
        olivia(session)
        update = publish(session, post.house)
    post.work()
    with post.database.transaction() as session:
        forgotten = a_subscriber(session, email="forgotten@example.com")
    with post.database.reading() as session:
        assert ledger_check(session, update.id) == [f"nobody will write to subscribers {forgotten.id}"]
