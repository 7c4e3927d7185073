"""What delivery's tests tell: an update is published, the engine works until nothing is left."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from incident_center.config import Settings
from incident_center.db import Database
from incident_center.delivery.composer import freeze
from incident_center.delivery.engine import Engine
from incident_center.delivery.fanout import open_fanout
from incident_center.house import House
from incident_center.models import Delivery, Incident, Update, Wording
from incident_center.playbooks import Words
from incident_center.states import Channel, Phase, UpdateKind
from tests.builders import NOW, an_incident

WORDS = {
    "en": Words(
        subject="Delayed: payouts",
        known=("Since {started_at}, payouts have been delayed.",),
        unknown=("What the cause is.",),
        doing=("Our engineers are looking for the cause.",),
        you_can=("Please do not submit the same payout again.",),
        sms="{company}: Payouts delayed since {started_at}. Next update by {next_update_by}. {status_url}",
        phone="Since {started_at}, payouts have been delayed. We are back by {next_update_by}.",
    ),
    "de": Words(
        subject="Verzögert: Auszahlungen",
        known=("Seit {started_at} verzögern sich Auszahlungen.",),
        unknown=("Was die Ursache ist.",),
        doing=("Unsere Technik sucht die Ursache.",),
        you_can=("Bitte reichen Sie dieselbe Auszahlung nicht noch einmal ein.",),
        sms="{company}: Auszahlungen seit {started_at} verzögert. Nächste Info bis {next_update_by}. {status_url}",
        phone="Seit {started_at} verzögern sich Auszahlungen. Wir melden uns bis {next_update_by}.",
    ),
}


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, at: datetime = NOW) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def move(self, **parts: float) -> None:
        self.at += timedelta(**parts)


def publish(
    session: Session,
    house: House,
    incident: Incident | None = None,
    *,
    now: datetime = NOW,
    phase: Phase = Phase.INVESTIGATING,
    words: dict[str, Words] | None = None,
) -> Update:
    """An update with its wordings and its fan-out, as publishing leaves them."""
    incident = incident or an_incident(session)
    number = (
        session.scalar(select(func.count()).select_from(Update).where(Update.incident_id == incident.id)) or 0
    )
    update = Update(
        incident_id=incident.id,
        number=number + 1,
        kind=UpdateKind.UPDATE,
        phase=phase,
        words={},
        next_update_by=now + timedelta(minutes=30),
        published_at=now,
        published_by="lead@example.com",
    )
    session.add(update)
    session.flush()
    keep_wordings(session, house, incident, update, words=words or WORDS, now=now)
    open_fanout(session, update=update, now=now)
    session.flush()
    return update


def keep_wordings(
    session: Session,
    house: House,
    incident: Incident,
    update: Update,
    *,
    words: dict[str, Words],
    now: datetime,
    revision: int = 0,
) -> None:
    early = {
        "company": house.company,
        "incident_ref": incident.ref,
        "status_url": house.incident_url(incident.id),
    }
    for frozen in freeze(
        house,
        words=words,
        early=dict.fromkeys(words, early),
        instants={"started_at": incident.started_at, "next_update_by": now + timedelta(minutes=30)},
        kind=update.kind,
        phase=update.phase,
        now=now,
    ):
        session.add(
            Wording(
                update_id=update.id,
                medium=frozen.medium,
                language=frozen.language,
                revision=revision,
                content=frozen.content,
                values=frozen.values,
                published_at=now,
            )
        )
    session.flush()


@dataclass
class Post:
    """A worker's delivery on a clock of its own."""

    database: Database
    house: House
    clock: Clock

    def __post_init__(self) -> None:
        self.engine = self.another()

    def another(self, owner: str = "worker 1") -> Engine:
        return Engine(self.database, self.house, owner=owner, clock=self.clock)

    def work(self, engine: Engine | None = None, rounds: int = 500) -> None:
        """Rounds until nothing is found."""
        engine = engine or self.engine
        for _ in range(rounds):
            found = engine.singles_once()
            found |= engine.expand_once()
            for channel in Channel:
                found |= engine.deliver_once(channel)
            if not found:
                return
        raise AssertionError("the engine never ran out of work")

    def rows(self) -> list[Delivery]:
        with self.database.reading() as session:
            return list(
                session.scalars(select(Delivery).order_by(Delivery.update_id, Delivery.subscriber_id))
            )

    def row(self) -> Delivery:
        (row,) = self.rows()
        return row


def with_providers(house: House, *, email: str = "", sms: str = "", staff: str = "") -> House:
    settings: Settings = replace(
        house.settings,
        email_urls=tuple(email.split()),
        sms_urls=tuple(sms.split()),
        staff_urls=tuple(staff.split()),
    )
    return replace(house, settings=settings)
