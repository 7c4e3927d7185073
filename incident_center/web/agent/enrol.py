"""Enrol a caller: their address, their language, what concerns them; then their yes, by code or by link."""

from dataclasses import dataclass, field
from zoneinfo import available_timezones

from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from incident_center import clock
from incident_center.audience import confirmations
from incident_center.audience.requests import read_channel, read_form
from incident_center.audience.verbs import SubscribeRequest, ask_again, confirm_by_code, enrol
from incident_center.errors import Flaw, Refused
from incident_center.incidents import questions
from incident_center.staff import guard
from incident_center.states import Channel, SubscriberState
from incident_center.web.agent.blueprint import blueprint
from incident_center.web.context import center, limiter
from incident_center.web.numbers import row_numbers
from incident_center.web.say import label

_FIELDS = {"phone": "The mobile number", "email": "The e-mail address", "zone": "The time zone"}


@dataclass
class EnrolForm:
    """As typed. `everything` means all components, now and later."""

    channel: str = Channel.SMS
    address: str = ""
    language: str = "en"
    zone: str = ""
    name: str = ""
    form: str = ""
    everything: bool = True
    component_ids: set[int] = field(default_factory=set)


@blueprint.get("/enrol")
@guard.require("agent")
def enrol_form() -> ResponseReturnValue:
    house = center().house
    with center().database.reading() as session:
        return _page(session, EnrolForm(language=house.languages[0], zone=house.zone))


@blueprint.post("/enrol")
@guard.require("agent")
@limiter.limit("60 per minute")
def enrol_caller() -> ResponseReturnValue:
    form = _read()
    try:
        with center().database.transaction() as session:
            asked = enrol(
                session, house=center().house, request=_request(form), by=guard.by(), now=clock.now()
            )
    except Refused as refused:
        with center().database.reading() as session:
            return _page(session, form, *refused.flaws), 422
    return redirect(url_for("agent.confirmation", confirmation_id=asked.confirmation_id), 303)


@blueprint.get("/enrol/<int:confirmation_id>")
@guard.require("agent")
def confirmation(confirmation_id: int) -> ResponseReturnValue:
    with center().database.reading() as session:
        return _confirmation_page(session, confirmation_id)


@blueprint.post("/enrol/<int:confirmation_id>")
@guard.require("agent")
def enter_code(confirmation_id: int) -> ResponseReturnValue:
    """The caller reads the code out, the agent types it."""
    with center().database.transaction() as session:
        answer = confirm_by_code(
            session,
            house=center().house,
            confirmation_id=confirmation_id,
            code=request.form.get("code", ""),
            now=clock.now(),
        )
    if answer.flaw is None:
        return redirect(url_for("agent.confirmation", confirmation_id=confirmation_id), 303)
    left = f" {answer.tries_left} tries left." if answer.tries_left else ""
    flaw = Flaw("code", answer.flaw.code, f"The code {answer.flaw.message}.{left}")
    with center().database.reading() as session:
        return _confirmation_page(session, confirmation_id, flaw), 422


@blueprint.post("/enrol/<int:confirmation_id>/again")
@guard.require("agent")
@limiter.limit("20 per minute")
def send_again(confirmation_id: int) -> ResponseReturnValue:
    with center().database.transaction() as session:
        asked = ask_again(session, house=center().house, confirmation_id=confirmation_id, now=clock.now())
    return redirect(url_for("agent.confirmation", confirmation_id=asked.confirmation_id, again=1), 303)


def _read() -> EnrolForm:
    typed = request.form
    return EnrolForm(
        channel=typed.get("channel", ""),
        address=typed.get("address", ""),
        language=typed.get("language", ""),
        zone=typed.get("zone", ""),
        name=typed.get("name", ""),
        form=typed.get("form", ""),
        everything=typed.get("scope", "all") == "all",
        component_ids=row_numbers(typed.getlist("components")),
    )


def _request(form: EnrolForm) -> SubscribeRequest:
    """Raises Refused."""
    return SubscribeRequest(
        channel=read_channel(form.channel),
        address=form.address,
        language=form.language,
        zone=form.zone,
        name=form.name or None,
        form=read_form(form.form),
        component_ids=None if form.everything else frozenset(form.component_ids),
    )


def _page(session: Session, form: EnrolForm, *flaws: Flaw) -> str:
    return render_template(
        "agent/enrol.html",
        form=form,
        components=questions.components(session),
        zones=sorted(zone for zone in available_timezones() if "/" in zone and not zone.startswith("Etc/")),
        flaws=[Flaw(f.field, f.code, f"{_named(f.field)} {f.message}.".replace("..", ".")) for f in flaws],
    )


def _named(field: str) -> str:
    """What a sentence about a field begins with; "phone" is a number here, not the words for the phone."""
    return _FIELDS.get(field) or label(field)


def _confirmation_page(session: Session, confirmation_id: int, *flaws: Flaw) -> str:
    entry = confirmations.by_id(session, confirmation_id)
    done = entry.used_at is not None
    return render_template(
        "agent/confirmation.html",
        entry=entry,
        done=done,
        expired=not done and entry.expires_at <= clock.now(),
        by_code=entry.channel is Channel.SMS,
        again=request.args.get("again") is not None,
        confirmed_state=SubscriberState.CONFIRMED,
        flaws=flaws,
    )
