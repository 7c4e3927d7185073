"""Somebody asks to be told, too, while an update goes out to many: the question to them does not wait for the rest."""

from __future__ import annotations

import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from incident_center import clock
from incident_center.audience.verbs import subscribe
from incident_center.db import Database
from incident_center.house import House
from tests.audience.cast import ANNA, a_wish
from tests.storms.children import publish_the_end
from tests.storms.conftest import Tell
from tests.storms.loops import Hang, Run
from tests.storms.smtpd import Step
from tests.storms.storm import people, settled, storm_over, wait_until

pytestmark = [pytest.mark.storm, pytest.mark.timeout(300)]

PEOPLE = 500
SLOWLY = Hang(0.05)  # each of the connections brings twenty letters a second at most
ASKED_AFTER = 100


@dataclass
class Asking:
    """When so many letters are stored the wish is, too; the server answers nobody before that."""

    database: Database
    house: House
    stored: int = 0
    asked_at: float = 0.0

    def at_mail(self, step: Step, _: str) -> Hang | Run | None:
        if step is not Step.STORED:
            return None
        self.stored += 1
        return Run(self._ask) if self.stored == ASKED_AFTER else SLOWLY

    def _ask(self) -> None:
        self.asked_at = time.monotonic()
        with self.database.transaction() as session:
            subscribe(session, house=self.house, request=a_wish(), source="web", by=None, now=clock.now())


def test_a_confirmation_goes_out_before_the_rest_of_the_bulk(
    database_url: str, database_kind: str, house: House, tmp_path: Path, tell: Tell
) -> None:
    with storm_over(database_url, tmp_path, sms=False) as storm:
        people(storm.database, by_email=PEOPLE)
        storm.nursery.warm_up()
        storm.forget()
        asking = Asking(storm.database, house)
        storm.smtp.decide = asking.at_mail
        with storm.database.transaction() as session:
            update_id = publish_the_end(session, house)
        worker = storm.nursery.start("run")
        wait_until(lambda: ANNA in storm.smtp.recipients(), "nobody asked her", every=0.005)
        waited = time.monotonic() - asking.asked_at
        wait_until(lambda: settled(storm.database, update_id), "the others were not written to")
        worker.kill(signal.SIGTERM)
        assert worker.wait(40) == 0
    arrived = storm.smtp.recipients()
    assert Counter(arrived) == Counter([ANNA, *(f"reader-{number}@example.com" for number in range(PEOPLE))])
    before = arrived.index(ANNA) - ASKED_AFTER
    assert before < 200, "she had to wait for the others"
    tell(f"a confirmation on {database_kind}", waited=f"{waited:.2f} s", letters_before_it=before)
