"""The database is restarted, or a connection is lost at COMMIT: nobody can tell whether the commit stands, and the
same form or the same key, sent again, publishes once all the same.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from incident_center import clock, create_app
from incident_center.center import Center
from incident_center.config import Settings
from incident_center.db import Database
from incident_center.house import House
from incident_center.models import Incident, Update
from incident_center.staff.tokens import add_token
from tests.api.door import Door
from tests.builders import a_component, an_incident
from tests.storms.children import publish_the_end
from tests.storms.conftest import Tell
from tests.storms.counts import COUNTS
from tests.storms.proxy import Wire, wire_to
from tests.storms.storm import Storm, nobody_missed, people, settled, storm_over, wait_until
from tests.support.databases import Templates
from tests.support.postgres import CRASH_SAFE, PostgresServer, new_folder
from tests.web.browser import signed_in

pytestmark = [pytest.mark.storm, pytest.mark.timeout(3600)]

CUTS = COUNTS.cuts
DECLARE = "/console/declare/payout-gateway-down"
ANSWERS = {
    "answers.scope.en": "SEPA payouts to Germany",
    "answers.scope.de": "SEPA-Auszahlungen nach Deutschland",
}
WORKERS_GO_ON = 20.0


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of this file alone: it is restarted."""
    own = PostgresServer(new_folder(), run_pid=os.getpid(), options=CRASH_SAFE)
    yield own
    own.stop()


@pytest.fixture
def direct(server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database's URL on this file's server, without the wire."""
    templates = Templates(tmp_path_factory.mktemp("templates"), server)
    with templates.url("postgres", Path()) as url:
        yield url
    templates.close()


@pytest.fixture
def wire(server: PostgresServer, direct: str) -> Iterator[Wire]:
    with wire_to(str(server.folder)) as wire:
        yield wire


@pytest.fixture
def through_the_wire(direct: str, wire: Wire) -> str:
    name = direct.partition("@/")[2].partition("?")[0]
    return f"postgresql://postgres@127.0.0.1:{wire.port}/{name}?sslmode=disable&gssencmode=disable"


@pytest.fixture
def web(through_the_wire: str, settings: Settings, house: House) -> Iterator[Flask]:
    """The application as it is served, its database behind the wire."""
    here = replace(settings, database_url=through_the_wire, testing=False)
    database = Database(through_the_wire)
    center = Center(settings=here, database=database, house=replace(house, settings=here))
    app = create_app(center=center)
    app.config["PREFERRED_URL_SCHEME"] = "https"
    yield app
    database.dispose()


def test_a_form_whose_commit_was_cut_declares_once_and_never_answers_500(
    web: Flask, wire: Wire, direct: str, tell: Tell
) -> None:
    told = _declared_while_cut(web, wire, Database(direct), cuts=CUTS)
    tell("connection cut at COMMIT (form)", cuts=wire.cuts, answers=dict(told), incidents=CUTS)


def test_a_form_whose_commit_was_cut_publishes_once_and_never_answers_500(
    web: Flask, wire: Wire, direct: str, tell: Tell
) -> None:
    """Sent again, it is told that the update stands by now: somebody has read this page before it was published."""
    database = Database(direct)
    lead = signed_in(web, "lead")
    told: Counter[int] = Counter()
    for number in range(CUTS):
        with database.transaction() as session:
            incident = an_incident(session).id
        form = lead.form(f"/console/incidents/{incident}", "/publish")
        form["csrf_token"] = [lead.token()]
        send = partial(lead.client.post, f"/console/incidents/{incident}/publish", data=form)
        assert _answered(send, wire, number, told) in {303, 409}
        with database.reading() as session:
            assert session.scalar(select(func.count()).where(Update.incident_id == incident)) == 1
    database.dispose()
    assert wire.cuts == CUTS
    assert told[503] >= CUTS // 2
    tell("connection cut at COMMIT (publishing)", cuts=wire.cuts, answers=dict(told), updates=CUTS)


def test_an_update_whose_commit_was_cut_is_published_once_for_its_key(
    web: Flask, wire: Wire, direct: str, tell: Tell
) -> None:
    database = Database(direct)
    with database.transaction() as session:
        token = add_token(session, name="robot", role="lead", days=30, now=clock.now())
        a_component(session)
    door = Door(web.test_client(), token)
    told: Counter[int] = Counter()
    for number in range(CUTS):
        with database.transaction() as session:
            incident = an_incident(session).id
        body = {
            "phase": "investigating",
            "next_update_by": (clock.now() + timedelta(minutes=30)).isoformat(),
        }
        send = partial(door.post, f"/incidents/{incident}/updates", body, Idempotency_Key=f"deed-{number}")
        assert _answered(send, wire, number, told) == 201
        with database.reading() as session:
            assert session.scalar(select(func.count()).where(Update.incident_id == incident)) == 1
    database.dispose()
    assert wire.cuts == CUTS
    assert told[503] >= CUTS // 2
    tell("connection cut at COMMIT (API)", cuts=wire.cuts, answers=dict(told), updates=CUTS)


def test_workers_whose_connection_is_cut_at_commit_go_on_and_lose_nobody(
    through_the_wire: str, direct: str, wire: Wire, house: House, tmp_path: Path, tell: Tell
) -> None:
    """Nobody knows whether a settlement stands: its people are flagged and written to again, or they are settled."""
    database = Database(direct)
    with storm_over(through_the_wire, tmp_path, lease=2.0, resend_after=1.0) as storm:
        people(database, by_email=150, by_sms=6)
        storm.nursery.warm_up()
        workers = [storm.nursery.start("run") for _ in range(2)]
        repeated = 0
        rounds = max(3, CUTS // 5)
        for number in range(rounds):
            storm.forget()
            update_id = _published(database, house)
            goal = random.randint(0, 120)
            wait_until(partial(_arrived, storm, goal), "nothing was sent", every=0.001)
            wire.cut = "before" if number % 2 else "after"
            wait_until(lambda: wire.cut is None, "no worker has committed")
            wait_until(partial(settled, database, update_id), "the workers did not go on")
            repeated += nobody_missed(database, update_id, storm.arrived()).repeated
        for worker in workers:
            worker.kill(signal.SIGTERM)
            assert worker.wait(40) == 0
    database.dispose()
    assert wire.cuts == rounds, "a round went by without a cut"
    tell("connection cut at COMMIT (workers)", cuts=wire.cuts, missed=0, repeated=repeated)


def test_the_database_is_restarted_while_an_update_goes_out(
    server: PostgresServer, direct: str, web: Flask, house: House, tmp_path: Path, tell: Tell
) -> None:
    database = Database(direct)
    slowest = 0.0
    with storm_over(direct, tmp_path, lease=2.0, resend_after=1.0) as storm:
        people(database, by_email=150, by_sms=6)
        storm.nursery.warm_up()
        worker = storm.nursery.start("run")
        with database.transaction() as session:
            token = add_token(session, name="robot", role="viewer", days=30, now=clock.now())
        robot = Door(web.test_client(), token)
        for _ in range(COUNTS.restarts):
            storm.forget()
            update_id = _published(database, house)
            wait_until(lambda: len(storm.smtp.arrivals) > 10, "nothing was sent")
            server.halt()
            answer = robot.get("/incidents")
            assert answer.status_code == 503, answer.status_code
            assert int(answer.headers["Retry-After"]) > 0
            server.restart()
            back = time.monotonic()
            wait_until(partial(settled, database, update_id), "the worker did not go on")
            slowest = max(slowest, time.monotonic() - back)
            nobody_missed(database, update_id, storm.arrived())
            assert robot.get("/incidents").status_code == 200
        worker.kill(signal.SIGTERM)
        assert worker.wait(40) == 0
    database.dispose()
    assert slowest < WORKERS_GO_ON
    tell("database restarted", restarts=COUNTS.restarts, missed=0, slowest_return=f"{slowest:.1f} s")


def _declared_while_cut(app: Flask, wire: Wire, database: Database, *, cuts: int) -> Counter[int]:
    with database.transaction() as session:
        for key in ("sepa-instant", "cards"):
            a_component(session, key)
    lead = signed_in(app, "lead")
    told: Counter[int] = Counter()
    for number in range(cuts):
        form = lead.form(DECLARE, "")
        csrf = {"csrf_token": lead.token()}
        send = partial(lead.client.post, DECLARE, data={**csrf, **form, **ANSWERS})
        assert _answered(send, wire, number, told) == 303
        with database.reading() as session:
            assert session.scalar(select(func.count(Incident.id))) == number + 1
    database.dispose()
    assert wire.cuts == cuts
    assert told[503] >= cuts // 2
    return told


def _answered(send: Callable[[], Any], wire: Wire, number: int, told: Counter[int]) -> int:
    """The first answer that is not 503, after the connection has been cut; every answer is counted."""
    wire.cut = "before" if number % 2 else "after"
    for _ in range(5):
        answer = send()
        told[answer.status_code] += 1
        if answer.status_code != 503:
            return int(answer.status_code)
        assert int(answer.headers["Retry-After"]) > 0
    raise AssertionError("nothing but 503")


def _arrived(storm: Storm, goal: int) -> bool:
    return len(storm.smtp.arrivals) >= goal


def _published(database: Database, house: House) -> int:
    for _ in range(50):
        try:
            with database.transaction() as session:
                return publish_the_end(session, house)
        except Exception:  # noqa: BLE001 (the test's own connection may be the one that was lost)
            time.sleep(0.1)
    raise AssertionError("nothing could be published")
