"""The whole job over the API: 1,000 subscribers, a real SMTP server, an SMS gateway, a real worker."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from incident_center import clock, create_app
from incident_center.center import Center
from incident_center.delivery.questions import ledger_check
from incident_center.models import Delivery, Subscriber
from incident_center.staff.tokens import add_token
from incident_center.states import Channel, DeliveryState
from incident_center.worker import Worker, lanes_of
from tests.builders import a_component, a_subscriber
from tests.delivery.servers import Mailhost, SmsGateway, mailhost, plain, sms_gateway

E_MAIL, SMS = 900, 100
pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def smtp() -> Iterator[Mailhost]:
    with mailhost() as host:
        yield host


@pytest.fixture
def gateway() -> Iterator[SmsGateway]:
    with sms_gateway() as running:
        yield running


@pytest.fixture
def equipped(center: Center, smtp: Mailhost, gateway: SmsGateway) -> Center:
    settings = replace(center.settings, email_urls=(smtp.url,), sms_urls=(gateway.url,))
    return replace(center, settings=settings, house=replace(center.house, settings=settings))


@contextmanager
def working(center: Center) -> Iterator[Worker]:
    worker = Worker(center, lanes=lanes_of(center.settings))
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop.set()
        thread.join()


class Program:
    """A program with a lead's token."""

    def __init__(self, client: FlaskClient, token: str) -> None:
        self._client = client
        self._headers = {"Authorization": f"Bearer {token}"}

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self._client.post(f"/api/v1{path}", json=body, headers=self._headers)
        assert answer.status_code == 201, answer.get_data(as_text=True)
        return dict(answer.get_json())

    def get(self, path: str) -> dict[str, Any]:
        answer = self._client.get(f"/api/v1{path}", headers=self._headers)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return dict(answer.get_json())


def until(done: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def test_a_thousand_people_each_get_every_update_once_and_the_ledger_equals_what_the_servers_got(
    equipped: Center, smtp: Mailhost, gateway: SmsGateway
) -> None:
    with equipped.database.transaction() as session:
        component = a_component(session, "sepa-instant").id
        for number in range(E_MAIL):
            language = "de" if number % 3 else "en"
            a_subscriber(session, email=f"reader.o'{number}+x@example.com", language=language)
        for number in range(SMS):
            a_subscriber(session, phone=f"+49151{number:08}", language="de")
        token = add_token(session, name="bot", role="lead", days=1, now=clock.now())
    program = Program(create_app(center=equipped).test_client(), token)
    with working(equipped):
        incident = declare(program, component)
        path = f"/incidents/{incident['id']}"
        until(lambda: len(smtp.mails) + len(gateway.texts) >= E_MAIL + SMS, 60)
        until(lambda: settled(program, path) == E_MAIL + SMS, 20)
        program.post(f"{path}/updates", resolution(program, incident))
        until(lambda: settled(program, path) == 2 * (E_MAIL + SMS), 60)
    check_everybody_got_each_once(equipped, smtp, gateway)
    check_ledger(equipped)


def declare(program: Program, component: int) -> dict[str, Any]:
    soon = (clock.now() + timedelta(minutes=30)).isoformat()
    return program.post(
        "/incidents",
        {
            "playbook": "payout-gateway-down",
            "components": [component],
            "impact": "major",
            "started_at": (clock.now() - timedelta(minutes=5)).isoformat(),
            "answers": {"scope": {"en": "SEPA payouts", "de": "SEPA-Auszahlungen"}},
            "update": {"phase": "investigating", "next_update_by": soon, "confirmed": []},
        },
    )


def resolution(program: Program, incident: dict[str, Any]) -> dict[str, Any]:
    (playbook,) = [p for p in program.get("/playbooks")["items"] if p["key"] == "payout-gateway-down"]
    (phase,) = [p for p in playbook["phases"] if p["phase"] == "resolved"]
    return {"phase": "resolved", "confirmed": list(range(len(phase["confirm"]["en"])))}


def settled(program: Program, path: str) -> int:
    """People whom the ledger calls accepted, over all updates."""
    counts = program.get(path)["deliveries"]["by_channel"]
    return sum(by_state.get("accepted", 0) for by_state in counts.values())


def check_everybody_got_each_once(center: Center, smtp: Mailhost, gateway: SmsGateway) -> None:
    with center.database.reading() as session:
        people = session.scalars(select(Subscriber)).all()
    addresses = {person.email for person in people if person.email}
    numbers = {person.phone for person in people if person.phone}
    assert Counter(smtp.recipients()) == Counter(dict.fromkeys(addresses, 2))
    assert Counter(gateway.recipients()) == Counter(dict.fromkeys(numbers, 2))
    german = {person.email for person in people if person.language == "de"}
    for mail in smtp.mails[:60]:
        assert ("Was wir wissen" in plain(mail.message)) == (mail.recipient in german)
    assert len({mail.message["Message-ID"] for mail in smtp.mails}) == 2 * E_MAIL


def check_ledger(center: Center) -> None:
    with center.database.reading() as session:
        rows = session.execute(select(Delivery.update_id, Delivery.channel, Delivery.state)).all()
        counted = Counter((row.channel, row.state) for row in rows)
        assert counted == {
            (Channel.EMAIL, DeliveryState.ACCEPTED): 2 * E_MAIL,
            (Channel.SMS, DeliveryState.ACCEPTED): 2 * SMS,
        }
        for update_id in {row.update_id for row in rows}:
            assert ledger_check(session, update_id) == []
