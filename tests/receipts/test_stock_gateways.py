"""Receipts for texts that went out through one of Apprise's own plugins, which tells nobody the gateway's number."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from incident_center.center import Center
from incident_center.db import Database
from incident_center.delivery.receipts import receipts_once
from incident_center.models import Delivery, Message, Subscriber
from incident_center.states import DeliveryState
from tests.builders import NOW, an_incident, mai
from tests.delivery.servers import SmsGateway, sms_gateway
from tests.delivery.stories import Clock, Post, publish, with_providers
from tests.receipts.cast import a_single, reasons
from tests.receipts.senders import gateway

S = DeliveryState
MAI = "+12125550123"


@pytest.fixture
def stock() -> Iterator[SmsGateway]:
    with sms_gateway() as running:
        yield running


@pytest.fixture
def post(
    database: Database, center: Center, stock: SmsGateway, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Post]:
    """Mai has been told of one update by SMS, an hour ago, and of another one now."""
    # The clock of this house stands still, the database server's does not.
    monkeypatch.setattr(Database, "clock_skew", lambda *_: 0.0)
    clock = Clock(NOW - timedelta(hours=1))
    made = Post(database, with_providers(center.house, sms=stock.url), clock)
    with database.transaction() as session:
        mai(session)
        incident = an_incident(session)
        publish(session, made.house, incident, now=clock())
    made.work()
    clock.move(hours=1)
    with database.transaction() as session:
        publish(session, made.house, incident, now=clock())
    made.work()
    yield made
    made.engine.release()


def event(identity: str, status: str, at: datetime = NOW, **parts: object) -> dict[str, object]:
    return {"id": identity, "to": MAI, "status": status, "at": at.isoformat(), **parts}


def told(hook: FlaskClient, *events: dict[str, object]) -> None:
    assert gateway(hook, {"events": list(events)}).status_code == 200


def states(post: Post) -> list[DeliveryState]:
    return [row.state for row in post.rows()]


def test_a_receipt_finds_the_newest_text_to_its_number(post: Post, hook: FlaskClient) -> None:
    assert [row.provider_ref for row in post.rows()] == [None, None]
    told(hook, event("e-1", "delivered", provider_ref="0A01", to="0012125550123"))
    assert states(post) == [S.ACCEPTED, S.DELIVERED]
    told(hook, event("e-2", "delivered"))
    assert states(post) == [S.DELIVERED, S.DELIVERED], "the one before is what is left"
    told(hook, event("e-3", "failed", permanent=True, code="404", provider_ref="0A01"))
    assert states(post) == [S.DELIVERED, S.BOUNCED], "its number is known by now"


def test_a_receipt_is_never_about_a_text_that_was_sent_after_it(post: Post, hook: FlaskClient) -> None:
    told(hook, event("e-1", "delivered", NOW - timedelta(minutes=59)))
    assert states(post) == [S.DELIVERED, S.ACCEPTED]


def test_a_receipt_that_overtakes_our_own_note_of_the_text_waits_for_it(
    post: Post, stock: SmsGateway, hook: FlaskClient, database: Database
) -> None:
    """Gateways with a short way to the phone report while the wave that the text went out with is still under way."""
    with database.transaction() as session:
        publish(session, post.house)

    def report(_: str) -> None:
        told(hook, event("e-1", "delivered", provider_ref="0A01"))

    stock.answer = report
    post.work()
    receipts_once(database, post.house, now=NOW)
    assert states(post) == [S.ACCEPTED, S.ACCEPTED, S.DELIVERED]


def test_a_number_that_is_gone_is_written_to_no_more(
    post: Post, hook: FlaskClient, database: Database
) -> None:
    told(hook, event("e-1", "failed", permanent=True, code="404"))
    with database.reading() as session:
        assert reasons(session) == ["bounce"]


def test_a_receipt_for_a_single_message_says_nothing_of_an_update(
    post: Post, hook: FlaskClient, database: Database
) -> None:
    with database.transaction() as session:
        person = session.scalars(select(Subscriber)).one()
        later = NOW + timedelta(seconds=2)
        a_single(session, person, created_at=later, at=later)
    told(hook, event("e-1", "delivered", later, provider_ref="0A02"))
    assert states(post) == [S.ACCEPTED, S.ACCEPTED]
    with database.reading() as session:
        assert session.scalars(select(Message.state)).all() == [S.DELIVERED]


def test_a_number_that_nobody_has_changes_nothing(post: Post, hook: FlaskClient, database: Database) -> None:
    for to in ("+12125559999", "", "INFO", "2125550123"):
        told(hook, event(f"e {to}", "failed", permanent=True, to=to))
    assert states(post) == [S.ACCEPTED, S.ACCEPTED]
    with database.reading() as session:
        assert len(session.scalars(select(Delivery)).all()) == 2
        assert reasons(session) == []
