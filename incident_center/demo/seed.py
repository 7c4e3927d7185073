"""Puts the sample data in, once: a second start finds it there."""

import secrets
from datetime import datetime
from importlib.resources import files
from typing import Any

from ruamel.yaml import YAML
from sqlalchemy import select
from sqlalchemy.orm import Session

from incident_center.models import Component, Subscriber, SubscriberComponent
from incident_center.staff.accounts import add_staff, find_staff, new_staff_password
from incident_center.states import Channel, FormOfAddress, SubscriberState

SOURCE = "demo"


def sample() -> dict[str, Any]:
    text = files("incident_center.demo").joinpath("sample.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = YAML(typ="safe", pure=True).load(text)
    return found


def seed(session: Session, *, now: datetime) -> dict[str, tuple[str, str]]:
    """Components, staff and subscribers; answers role -> (e-mail, password), passwords new at every start."""
    data = sample()
    if session.scalar(select(Component.id).limit(1)) is None:
        components = _add_components(session, data["components"], now=now)
        _add_subscribers(session, data["subscribers"], components, now=now)
    return {person["role"]: (person["email"], _sign_in(session, person, now=now)) for person in data["staff"]}


def _add_components(session: Session, rows: list[dict[str, Any]], *, now: datetime) -> dict[str, int]:
    components = [Component(**row, position=n, created_at=now, updated_at=now) for n, row in enumerate(rows)]
    session.add_all(components)
    session.flush()
    return {component.key: component.id for component in components}


def _add_subscribers(
    session: Session, rows: list[dict[str, Any]], components: dict[str, int], *, now: datetime
) -> None:
    for row in rows:
        chosen: list[str] = row.get("components", [])
        email: str | None = row.get("email")
        subscriber = Subscriber(
            channel=Channel.EMAIL if email else Channel.SMS,
            email=email,
            email_key=email.casefold() if email else None,
            phone=row.get("phone"),
            language=row["language"],
            zone=row["zone"],
            name=row.get("name"),
            form=FormOfAddress(row["form"]) if "form" in row else None,
            all_components=not chosen,
            state=SubscriberState.CONFIRMED,
            source=SOURCE,
            created_at=now,
            updated_at=now,
            confirmed_at=now,
        )
        session.add(subscriber)
        session.flush()
        session.add_all(
            SubscriberComponent(subscriber_id=subscriber.id, component_id=components[key]) for key in chosen
        )


def _sign_in(session: Session, person: dict[str, Any], *, now: datetime) -> str:
    password = secrets.token_urlsafe(12)
    if find_staff(session, email=person["email"]) is not None:
        return new_staff_password(session, email=person["email"], password=password, by=SOURCE, now=now)
    _, plain = add_staff(
        session,
        email=person["email"],
        name=person["name"],
        password=password,
        roles=[person["role"]],
        language=person["language"],
        by=SOURCE,
        now=now,
    )
    return plain
