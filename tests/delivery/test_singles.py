"""Single messages: confirmations, notes to the team, the demo's mailbox, links, suppression."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from incident_center.db import Database
from incident_center.delivery import links, messages, postbox, turn
from incident_center.delivery.ledger import BATCH
from incident_center.delivery.mailbox import MailboxStore, mailbox_path
from incident_center.delivery.singles import queue_message, queue_staff
from incident_center.delivery.standing import Standing, State, fitted
from incident_center.delivery.suppress import address_hash, is_suppressed, lift, suppress
from incident_center.errors import NotThere
from incident_center.house import House
from incident_center.models import Attempt, Message, Suppression
from incident_center.playbooks import count_sms
from incident_center.states import Channel, DeliveryState, MessageKind, SubscriberState, SuppressionReason
from tests.builders import NOW, a_subscriber, mai, olivia
from tests.delivery.servers import DROP, Mailhost, SmsGateway, html, plain
from tests.delivery.stories import Clock, Post, publish

HOUR = timedelta(hours=1)
WELL = Standing(State.ALL_WELL, NOW, "Europe/Berlin")


def queue(post: Post, *, key: str | None = None, address: str = "new@example.com") -> None:
    text = messages.confirm_email(
        post.house, language="en", confirm_url="https://status.example.com/c/t0ken", hours=48
    )
    with post.database.transaction() as session:
        queue_message(
            session,
            kind=MessageKind.CONFIRM,
            channel=Channel.EMAIL,
            address=address,
            language="en",
            subject=text.subject,
            text=text.text,
            html=text.html,
            headers=text.headers,
            key=key,
            now=post.clock(),
            lifetime=HOUR,
        )


def only_message(post: Post) -> Message:
    with post.database.reading() as session:
        return session.scalars(select(Message)).one()


def three_hundred_readers(post: Post) -> None:
    with post.database.transaction() as session:
        for _ in range(300):
            a_subscriber(session)
        publish(session, post.house)
    post.engine.expand_once()


def test_bulk_goes_on_while_nobody_else_waits(
    post: Post, smtp: Mailhost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "BULK_SECONDS", 0.001)
    three_hundred_readers(post)
    post.engine.deliver_once(Channel.EMAIL)
    assert len(smtp.mails) == 300


def test_bulk_has_its_turn_and_no_more(post: Post, smtp: Mailhost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "BULK_SECONDS", 0.001)
    post.engine.bulk_most = 0.001
    three_hundred_readers(post)
    post.engine.deliver_once(Channel.EMAIL)
    assert 0 < len(smtp.mails) < 300


def test_a_confirmation_that_comes_in_the_middle_of_bulk_does_not_wait_for_its_end(
    post: Post, smtp: Mailhost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "BULK_SECONDS", 0.001)

    def asks_in_the_middle(step: str, recipient: str) -> None:
        if (step, len(smtp.mails)) == ("dot", 30):
            queue(post, key="once")

    smtp.replies = asks_in_the_middle
    three_hundred_readers(post)
    post.work()
    assert len(smtp.mails) == 301
    assert smtp.recipients().index("new@example.com") < 30 + BATCH[Channel.EMAIL] * 2


def test_a_confirmation_arrives_before_bulk_and_is_wiped_afterwards(post: Post, smtp: Mailhost) -> None:
    with post.database.transaction() as session:
        a_subscriber(session, email="bulk@example.com")
        publish(session, post.house)
    queue(post)
    post.work()
    assert smtp.recipients() == ["new@example.com", "bulk@example.com"]
    first = smtp.mails[0].message
    assert "https://status.example.com/c/t0ken" in plain(first)
    assert "https://status.example.com/c/t0ken" in html(first)
    row = only_message(post)
    assert row.state is DeliveryState.ACCEPTED
    assert (row.text, row.html, row.subject, row.address) == (None, None, None, None)


def test_the_same_key_is_queued_once(post: Post, smtp: Mailhost) -> None:
    queue(post, key="confirm:1")
    queue(post, key="confirm:1")
    post.work()
    assert len(smtp.mails) == 1


def test_a_message_that_has_run_out_is_not_sent(post: Post, smtp: Mailhost, clock: Clock) -> None:
    queue(post)
    clock.move(hours=2)
    post.work()
    assert (smtp.mails, only_message(post).state, only_message(post).text) == (
        [],
        DeliveryState.EXPIRED,
        None,
    )


def test_a_single_message_is_retried_and_a_lost_answer_resent_once(
    post: Post, smtp: Mailhost, clock: Clock
) -> None:
    smtp.replies = lambda step, _: "450 4.2.0 later" if step == "rcpt" else None
    queue(post)
    post.work()
    assert only_message(post).state is DeliveryState.RETRY
    smtp.replies = lambda step, _: DROP if step == "dot" else None
    clock.move(minutes=1)
    post.work()
    assert only_message(post).state is DeliveryState.UNKNOWN
    for _ in range(5):
        clock.move(minutes=2)
        post.work()
    assert (only_message(post).state, only_message(post).possibly_twice) == (DeliveryState.UNKNOWN, True)
    first, second = smtp.mails
    assert first.message["Message-ID"] == second.message["Message-ID"]
    with post.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Attempt)) == 3


def test_a_message_that_cannot_be_composed_is_quarantined_and_stops_nobody(
    post: Post, smtp: Mailhost
) -> None:
    queue(post, address="bad address@exa mple.com")
    queue(post)
    post.work()
    with post.database.reading() as session:
        states = sorted(session.scalars(select(Message.state)))
    assert states == [DeliveryState.ACCEPTED, DeliveryState.QUARANTINED]


def test_a_worker_lost_with_a_message_in_flight_leaves_it_to_the_next(
    post: Post, smtp: Mailhost, clock: Clock
) -> None:
    queue(post)
    with post.database.transaction() as session:
        leased, _ = postbox.claim(session, owner="lost", now=clock())
    assert len(leased) == 1
    post.work()
    assert smtp.mails == []
    clock.move(seconds=61)
    post.work()
    clock.move(seconds=61)
    post.work()
    assert len(smtp.mails) == 1
    assert (only_message(post).state, only_message(post).possibly_twice) == (DeliveryState.ACCEPTED, True)


def tell(post: Post, key: str = "promise:1:remind") -> bool:
    with post.database.transaction() as session:
        return queue_staff(
            session,
            house=post.house,
            key=key,
            subject="Update due at 14:30",
            text="INC-1 needs an update.",
            incident_id=None,
            now=post.clock(),
            lifetime=HOUR,
        )


def test_the_team_is_told_once_on_every_url_with_an_outcome_each(
    open_post: Callable[..., Post], smtp: Mailhost, clock: Clock
) -> None:
    team = f"smtp://127.0.0.1:{smtp.port}?from=status@pay.example&to=crisis@pay.example"
    post = open_post(email=smtp.url, staff=f"{team} json://127.0.0.1:9")
    assert tell(post)
    assert not tell(post)
    post.work()
    assert only_message(post).state is DeliveryState.RETRY
    clock.move(minutes=1)
    post.work()
    assert smtp.recipients() == ["crisis@pay.example"]
    assert smtp.mails[0].message["Subject"] == "Update due at 14:30"
    with post.database.reading() as session:
        attempts = session.execute(select(Attempt.number, Attempt.provider, Attempt.state)).all()
    assert sorted(map(tuple, attempts)) == [
        (1, "staff 1 smtp", DeliveryState.ACCEPTED),
        (1, "staff 2 json", DeliveryState.RETRY),
        (2, "staff 2 json", DeliveryState.RETRY),
    ]


def test_without_a_team_nobody_is_told(open_post: Callable[..., Post], smtp: Mailhost) -> None:
    assert not tell(open_post(email=smtp.url))


def test_the_demos_mailbox_shows_what_would_have_been_sent(open_post: Callable[..., Post]) -> None:
    post = open_post(email="demo-mailbox://email", sms="demo-mailbox://sms", staff="demo-mailbox://staff")
    with post.database.transaction() as session:
        olivia(session), mai(session)
        publish(session, post.house)
    tell(post)
    post.work()
    store = MailboxStore(mailbox_path(post.house.settings.data_dir))
    found = {mail.channel: mail for mail in store.list()}
    assert found.keys() == {"email", "sms", "staff"}
    assert found["email"].to == "o'brien+payout@example.com"
    assert found["email"].subject == "Delayed: payouts"
    assert found["email"].raw.startswith(b"From: Example Pay <")
    assert found["sms"].text.startswith("Example Pay: Payouts delayed")
    assert found["staff"].subject == "Update due at 14:30"
    newest = store.list()[0]
    assert store.get(newest.id) == newest
    assert store.list(after_id=newest.id) == []
    assert store.get(999) is None


@pytest.mark.one_database
@pytest.mark.parametrize("language", ["en", "de"])
def test_single_sms_fit_their_segments(house: House, language: str) -> None:
    limit = 1 if language == "en" else 2
    for text in (
        messages.confirm_sms(house, language=language, code="123456", minutes=15),
        messages.welcome(house, channel=Channel.SMS, language=language, subscriber_id=123456, standing=WELL),
        messages.already(house, channel=Channel.SMS, language=language, subscriber_id=123456),
        messages.goodbye(house, channel=Channel.SMS, language=language),
    ):
        count = count_sms(text.text)
        assert (count.encoding, count.segments <= limit) == ("gsm7", True), text.text


@pytest.mark.one_database
@pytest.mark.parametrize("language", ["en", "de"])
def test_single_emails_have_both_parts_and_only_members_can_unsubscribe(house: House, language: str) -> None:
    confirm = messages.confirm_email(house, language=language, confirm_url="https://x/c/1", hours=48)
    welcome = messages.welcome(
        house, channel=Channel.EMAIL, language=language, subscriber_id=7, standing=WELL, name="<b>Kim</b>"
    )
    already = messages.already(house, channel=Channel.EMAIL, language=language, subscriber_id=7)
    goodbye = messages.goodbye(house, channel=Channel.EMAIL, language=language)
    for text in (confirm, welcome, already, goodbye):
        assert text.subject
        assert text.html
        assert "fonts.googleapis" not in text.html
        assert "<b>Kim" not in text.html
    assert "List-Unsubscribe" in welcome.headers
    assert "List-Unsubscribe" in already.headers
    assert confirm.headers == goodbye.headers == {}
    assert "Kim" in welcome.text


@given(whole=st.text(alphabet="abc äß€,. \n", max_size=700))
def test_what_is_cut_for_an_sms_takes_two_segments_and_keeps_its_end(whole: str) -> None:
    said = fitted(
        whole, lambda text: f"Example Pay: {text}\nSettings: https://status.example.com/m/{'x' * 40}"
    )
    count = count_sms(said)
    assert (count.encoding, count.segments <= 2) == ("gsm7", True)
    assert said.startswith("Example Pay: ")
    assert said.endswith("x" * 40)
    assert whole in said or "..." in said


def test_a_headline_in_another_script_is_cut_but_not_to_nothing() -> None:
    said = fitted(
        "田" * 200, lambda text: f"{'Example Pay: ' * 6}{text} https://status.example.com/m/{'x' * 40}"
    )
    assert said.count("田") == 30


@pytest.mark.one_database
def test_links_are_for_one_person_and_one_purpose(house: House) -> None:
    manage = links.manage_url(house, 42).rpartition("/")[2]
    unsubscribe = links.unsubscribe_url(house, 42).rpartition("/")[2]
    assert links.read_manage(house, manage).subscriber_id == 42
    assert links.read_unsubscribe(house, unsubscribe) == 42
    with pytest.raises(NotThere):
        links.read_manage(house, unsubscribe)
    with pytest.raises(NotThere):
        links.read_unsubscribe(house, manage)
    other = replace(house, settings=replace(house.settings, secret_key="another-secret-" * 4))
    with pytest.raises(NotThere):
        links.read_unsubscribe(other, unsubscribe)


@given(token=st.text())
def test_a_made_up_token_is_not_there(token: str) -> None:
    stranger = SimpleNamespace(settings=SimpleNamespace(secret_key="k" * 40))
    for read in (links.read_manage, links.read_unsubscribe):
        with pytest.raises(NotThere):
            read(stranger, token)  # type: ignore[arg-type]


def test_a_suppressed_address_is_found_however_it_is_typed_and_only_with_the_key(
    database: Database, house: House
) -> None:
    with database.transaction() as session:
        reader = a_subscriber(session, email="Jane@Müller.example", email_key="jane@xn--mller-kva.example")
        for _ in range(2):
            suppress(
                session,
                house=house,
                channel=Channel.EMAIL,
                address="JANE@müller.example",
                reason=SuppressionReason.COMPLAINT,
                now=NOW,
            )
        assert reader.state is SubscriberState.SUPPRESSED
        assert session.scalar(select(func.count()).select_from(Suppression)) == 1
        assert is_suppressed(
            session, house=house, channel=Channel.EMAIL, address="jane@xn--mller-kva.example"
        )
        assert not is_suppressed(session, house=house, channel=Channel.EMAIL, address="john@müller.example")
        lift(session, house=house, channel=Channel.EMAIL, address="jane@MÜLLER.example")
        assert not is_suppressed(session, house=house, channel=Channel.EMAIL, address="jane@müller.example")
    other = replace(house, settings=replace(house.settings, secret_key="another-secret-" * 4))
    hashes = {address_hash(one, Channel.SMS, "+4915112345678") for one in (house, other)}
    assert len(hashes) == 2


def test_a_stop_is_remembered_as_a_wish(database: Database, house: House, gateway: SmsGateway) -> None:
    with database.transaction() as session:
        reader = mai(session)
        suppress(
            session,
            house=house,
            channel=Channel.SMS,
            address="+12125550123",
            reason=SuppressionReason.STOP,
            now=NOW,
        )
        assert reader.state is SubscriberState.UNSUBSCRIBED
