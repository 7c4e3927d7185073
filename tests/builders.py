"""A small cast for the tests' stories. Each builder adds one thing with sensible parts and answers the row.

The cast: the company Example Pay; its rails sepa-instant, cards and payout-api; Olivia O'Brien, who reads
English e-mail in London; Jürgen Groß, who reads German e-mail in Berlin; Mai Tran, who wants SMS in New York.
"""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from incident_center.models import Component, Incident, IncidentComponent, Subscriber, SubscriberComponent
from incident_center.states import Channel, ComponentStatus, FormOfAddress, Impact, Phase, SubscriberState

NOW = datetime(2026, 11, 20, 13, 0, tzinfo=UTC)  # a Friday: 14:00 in Berlin, 8:00 am in New York
LEAD = "lead@example.com"

_NAMES = {
    "sepa-instant": {"en": "SEPA Instant payouts", "de": "SEPA-Echtzeit-Auszahlungen"},
    "cards": {"en": "Card payouts", "de": "Auszahlungen auf Karten"},
    "payout-api": {"en": "Payout API", "de": "Payout-API"},
}
_numbers = itertools.count(1)
Row = TypeVar("Row")


def a_component(session: Session, key: str = "sepa-instant", **parts: Any) -> Component:
    """The component with this key; made when it is not there yet."""
    found = session.scalar(select(Component).where(Component.key == key))
    if found is not None:
        return found
    given = {
        "names": _NAMES.get(key, {"en": key, "de": key}),
        "descriptions": {},
        "status": ComponentStatus.OPERATIONAL,
        "position": next(_numbers),
        "created_at": NOW - timedelta(days=30),
        "updated_at": NOW - timedelta(days=30),
    }
    return _add(session, Component(key=key, **(given | parts)))


def a_subscriber(session: Session, *, components: list[Component] | None = None, **parts: Any) -> Subscriber:
    """Somebody who has confirmed and reads English e-mail; `components` None means all of them.

    `a_subscriber(session, phone="+4915112345678")` reads SMS.
    """
    number = next(_numbers)
    channel = Channel.SMS if "phone" in parts and "email" not in parts else Channel.EMAIL
    given: dict[str, Any] = {
        "channel": channel,
        "language": "en",
        "zone": "Europe/Berlin",
        "all_components": components is None,
        "state": SubscriberState.CONFIRMED,
        "source": "web",
        "created_at": NOW - timedelta(days=7),
        "updated_at": NOW - timedelta(days=7),
        "confirmed_at": NOW - timedelta(days=7),
    }
    if channel is Channel.EMAIL and "email" not in parts:
        given["email"] = f"reader{number}@example.com"
    given |= parts
    if given.get("email"):
        given.setdefault("email_key", given["email"].casefold())
    subscriber = _add(session, Subscriber(**given))
    for component in components or ():
        session.add(SubscriberComponent(subscriber_id=subscriber.id, component_id=component.id))
    session.flush()
    return subscriber


def olivia(session: Session, **parts: Any) -> Subscriber:
    """English, e-mail, London; an apostrophe and a plus in her address."""
    return a_subscriber(
        session,
        **(
            {"email": "o'brien+payout@example.com", "zone": "Europe/London", "name": "Olivia O'Brien"} | parts
        ),
    )


def juergen(session: Session, **parts: Any) -> Subscriber:
    """German, e-mail, Berlin, wishes to be addressed as Herr Groß."""
    own = {"email": "j.gross@example.com", "language": "de", "name": "Groß", "form": FormOfAddress.MR}
    return a_subscriber(session, **(own | parts))


def mai(session: Session, **parts: Any) -> Subscriber:
    """English, SMS, New York."""
    return a_subscriber(
        session, **({"phone": "+12125550123", "zone": "America/New_York", "name": "Mai Tran"} | parts)
    )


def an_incident(
    session: Session,
    *,
    components: list[Component] | None = None,
    playbook: str = "payout-gateway-down",
    **parts: Any,
) -> Incident:
    """A declared incident without an update, straight into the tables; `declare` has its own tests."""
    given = {
        "titles": {"en": "Payout gateway down", "de": "Auszahlungs-Gateway ausgefallen"},
        "impact": Impact.MAJOR,
        "phase": Phase.INVESTIGATING,
        "answers": {"scope": {"en": "SEPA payouts to Germany", "de": "SEPA-Auszahlungen nach Deutschland"}},
        "started_at": NOW - timedelta(minutes=20),
        "declared_at": NOW - timedelta(minutes=5),
        "declared_by": LEAD,
        "updated_at": NOW - timedelta(minutes=5),
    }
    incident = _add(session, Incident(playbook=playbook, **(given | parts)))
    for component in [a_component(session)] if components is None else components:
        session.add(IncidentComponent(incident_id=incident.id, component_id=component.id))
    session.flush()
    return incident


def _add(session: Session, row: Row) -> Row:
    session.add(row)
    session.flush()
    return row
