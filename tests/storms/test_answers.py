"""Every line of docs/answers.md, played with real servers: six people get the answer, then the ledger is read."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from incident_center.db import Database
from incident_center.delivery.engine import Engine
from incident_center.delivery.providers import Providers, build_providers
from incident_center.delivery.sms_couriers import HttpSmsCourier
from incident_center.delivery.transports.http_line import HttpServer
from incident_center.delivery.transports.twilio import TwilioApi
from incident_center.house import House
from incident_center.models import Delivery, Provider, Subscriber, Suppression
from incident_center.states import Channel, ProviderState, SubscriberState
from tests.builders import NOW, a_subscriber
from tests.delivery.stories import Clock, Post, publish, with_providers
from tests.storms import answers
from tests.storms.answers import BACKS_OFF, HTTP, MAIL, NOTHING, ONCE_MORE, Case, waits
from tests.storms.gateway import Answer, Gateway, HttpStep, sms_gateway
from tests.storms.loops import Drop, Hang, Reply, Run
from tests.storms.smtpd import MailServer, Step, mail_server
from tests.support.certificates import make_authority

pytestmark = pytest.mark.one_database

PEOPLE = 6  # a provider is rested after five errors in a row


@pytest.fixture(scope="module")
def smtp() -> Iterator[MailServer]:
    with mail_server() as host:
        yield host


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with sms_gateway() as host:
        yield host


@pytest.fixture
def untrusted(tmp_path: Path) -> ssl.SSLContext:
    return make_authority(tmp_path).server_context()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is taken, so that nobody else listens there, and does not listen either."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_the_page_shows_what_is_played_here() -> None:
    assert answers.PAGE.read_text(encoding="utf-8") == answers.page(), "run: python -m tests.storms.answers"


@pytest.mark.parametrize("case", MAIL, ids=lambda case: case.says)
def test_a_mail_server_s_answer(
    case: Case,
    database: Database,
    house: House,
    smtp: MailServer,
    closed_port: int,
    untrusted: ssl.SSLContext,
) -> None:
    if case.untrusted:
        with mail_server(tls=untrusted) as smtps:
            _play_mail(case, database, house, smtps, smtps.url.replace("smtp://", "smtps://"))
        return
    url = smtp.url.replace("smtp://", "smtp://user:secret@") if case.password else smtp.url
    if case.refused:
        url = url.replace(f":{smtp.port}", f":{closed_port}")
    _play_mail(case, database, house, smtp, url)


@pytest.mark.storm
def test_thirty_seconds_of_silence_after_the_final_dot_are_waited_for(
    database: Database, house: House, smtp: MailServer
) -> None:
    """Such servers exist, and a time-out would make everybody's letter a doubtful one. One letter, time-outs as they
    are."""
    [usual] = [case for case in MAIL if case.act == Hang(0.2)]
    began = time.monotonic()
    _play_mail(replace(usual, act=Hang(30)), database, house, smtp, smtp.url, people=1)
    assert time.monotonic() - began >= 30


def _play_mail(
    case: Case, database: Database, house: House, smtp: MailServer, url: str, people: int = PEOPLE
) -> None:
    usual = smtp.extensions

    def decide(step: Step, _: str) -> Reply | Drop | Hang | Run | None:
        assert not isinstance(case.act, Answer)
        return case.act if step is case.step else None

    smtp.extensions, smtp.decide = (*usual, *case.extensions), decide
    own = with_providers(house, email=url + case.options)
    try:
        with database.transaction() as session:
            for number in range(people):
                a_subscriber(session, email=f"reader-{number}@example.com")
        _play(case, database, own, build_providers(own.settings, now=lambda: NOW), people)
    finally:
        smtp.extensions, smtp.decide = usual, None


@pytest.mark.parametrize("case", HTTP, ids=lambda case: case.says)
def test_a_gateway_s_answer(
    case: Case,
    database: Database,
    house: House,
    gateway: Gateway,
    closed_port: int,
    untrusted: ssl.SSLContext,
) -> None:
    if case.untrusted:
        with sms_gateway(tls=untrusted) as other:
            _play_text(case, database, house, other, HttpServer("127.0.0.1", other.port))
        return
    port = closed_port if case.refused else gateway.port
    _play_text(case, database, house, gateway, HttpServer("127.0.0.1", port, tls=False))


def _play_text(case: Case, database: Database, house: House, gateway: Gateway, server: HttpServer) -> None:
    act = case.act
    if case.dated:
        assert isinstance(act, Answer)
        act = replace(
            act, headers={"Retry-After": format_datetime(NOW + timedelta(seconds=120), usegmt=True)}
        )

    def decide(step: HttpStep, _: str) -> Answer | Drop | Hang | Run | None:
        assert not isinstance(act, Reply)
        return act if step is case.step else None

    gateway.decide = decide
    api = TwilioApi(
        account="AC1",
        key="SK1",
        secret="secret",
        sender="+15005550006",
        clock=lambda: NOW,
        server=server,
    )
    courier = HttpSmsCourier("sms 1 twilio", api)
    with database.transaction() as session:
        for number in range(PEOPLE):
            a_subscriber(session, phone=f"+491511234000{number}")
    followed = gateway.followed
    _play(case, database, house, Providers(by_channel={Channel.SMS: [courier]}))
    assert gateway.followed == followed, "a redirect was followed"


def _play(case: Case, database: Database, house: House, providers: Providers, people: int = PEOPLE) -> None:
    """The first try, and what the ledger says of it."""
    with database.transaction() as session:
        publish(session, house)
    clock = Clock()
    with _post(database, house, clock, providers) as post:
        post.work()
    with database.reading() as session:
        rows = session.scalars(select(Delivery).order_by(Delivery.subscriber_id)).all()
        gone = session.scalars(select(Subscriber.state)).all().count(SubscriberState.SUPPRESSED)
        suppressed = len(session.scalars(select(Suppression.id)).all())
        provider = session.scalars(select(Provider)).one()
    assert len(rows) == people or (rows and case.rests), "somebody was not tried"
    for row in rows:
        assert (row.state.value, _next(row)) == (case.state, case.then), row.code
        assert row.attempts == 1
        assert not row.possibly_twice
    assert gone == suppressed == (people if case.suppresses else 0)
    assert (provider.state is ProviderState.RESTING) == case.rests


@contextmanager
def _post(database: Database, house: House, clock: Clock, providers: Providers) -> Iterator[Post]:
    post = Post(database, house, clock)
    post.engine.release()
    post.engine = Engine(database, house, owner="worker 1", clock=clock, providers=providers)
    try:
        yield post
    finally:
        post.engine.release()


def _next(row: Delivery) -> str:
    """What happens next, in the page's words, from the moment that the row waits for."""
    if row.not_before is None:
        return NOTHING
    wait = (row.not_before - NOW).total_seconds()
    if row.state.value == "unknown":
        assert wait == 60
        return ONCE_MORE
    if wait in {1, 7, 20, 120, 900}:
        return waits(wait)
    assert 15 <= wait <= 30
    return BACKS_OFF
