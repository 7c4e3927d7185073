"""A customer's own settings and the ways to leave, behind personal links instead of a password."""

from flask import Blueprint, Response, make_response, redirect, render_template, request, session, url_for
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from incident_center import clock
from incident_center.audience import people, proofs
from incident_center.audience.verbs import (
    add_second,
    change_address,
    change_preferences,
    erase,
    remove_second,
    unsubscribe,
)
from incident_center.delivery.links import read_manage, read_unsubscribe
from incident_center.delivery.second import other, second_address
from incident_center.errors import Flaw, NotThere, Refused
from incident_center.models import Subscriber
from incident_center.states import Channel
from incident_center.web.context import center, csrf
from incident_center.web.language import page_language, remember, say, stands_at, suggest, template_words
from incident_center.web.subscriber import forms_limit
from incident_center.web.subscriber import not_there as unknown_link
from incident_center.web.subscriber_forms import (
    AddressForm,
    PreferenceForm,
    channels_offered,
    component_choices,
    language_choices,
    said_flaws,
    zone_choices,
)

blueprint = Blueprint("settings", __name__)
blueprint.context_processor(template_words)
blueprint.after_request(remember)
blueprint.register_error_handler(NotThere, unknown_link)
csrf.exempt(blueprint)  # each address carries its own proof; see subscriber.py

DONE = (
    "confirmed",
    "saved",
    "unchanged",
    "moved",
    "second_asked",
    "second_confirmed",
    "second_unchanged",
    "second_removed",
)
_MOVING_TO = "moving_to"


@blueprint.get("/m/<token>")
def manage(token: str) -> Response:
    return make_response(_page(token))


@blueprint.post("/m/<token>")
@forms_limit
def save(token: str) -> AnyResponse:
    house = center().house
    number = _whose(token)
    typed = PreferenceForm.typed(request.form, language=page_language(), zone=house.zone)
    try:
        wanted = typed.preferences()
        with center().database.transaction() as db:
            change_preferences(
                db,
                house=house,
                subscriber_id=number,
                preferences=wanted,
                by=f"subscriber {number}",
                now=clock.now(),
            )
    except Refused as refused:
        return make_response(_page(token, preferences=typed, flaws=refused.flaws), 422)
    return redirect(url_for("settings.manage", token=token, done="saved"), 303)


@blueprint.post("/m/<token>/address")
@forms_limit
def move(token: str) -> AnyResponse:
    """Ask the new address; a code is entered on the page that follows, a link is waited for here."""
    house = center().house
    number = _whose(token)
    typed = AddressForm.typed(request.form)
    try:
        channel = typed.read_channel(house)
        with center().database.transaction() as db:
            asked = change_address(
                db,
                house=house,
                subscriber_id=number,
                channel=channel,
                address=typed.address,
                by=f"subscriber {number}",
                now=clock.now(),
            )
    except Refused as refused:
        return make_response(_page(token, address=typed, flaws=refused.flaws), 422)
    if asked.already:
        return redirect(url_for("settings.manage", token=token, done="unchanged"), 303)
    if channel is Channel.SMS:
        page = proofs.page_token(house, asked.confirmation_id)
        return redirect(url_for("subscriber.enter_code", token=page), 303)
    session[_MOVING_TO] = typed.address.strip()[:320]
    return redirect(url_for("settings.manage", token=token, done="moved"), 303)


@blueprint.post("/m/<token>/second")
@forms_limit
def add_another(token: str) -> AnyResponse:
    """Ask a second address, on the other channel; then as for a move."""
    house = center().house
    number = _whose(token)
    typed = request.form.get("second", "")
    try:
        with center().database.transaction() as db:
            channel = _second_channel(db, number)
            asked = add_second(
                db,
                house=house,
                subscriber_id=number,
                address=typed,
                by=f"subscriber {number}",
                now=clock.now(),
            )
    except Refused as refused:
        flaws = tuple(Flaw("second", flaw.code, flaw.message) for flaw in refused.flaws)
        return make_response(_page(token, second=typed, flaws=flaws), 422)
    if asked.already:
        return redirect(url_for("settings.manage", token=token, done="second_unchanged"), 303)
    if channel is Channel.SMS:
        page = proofs.page_token(house, asked.confirmation_id)
        return redirect(url_for("subscriber.enter_code", token=page), 303)
    session[_MOVING_TO] = typed.strip()[:320]
    return redirect(url_for("settings.manage", token=token, done="second_asked"), 303)


@blueprint.post("/m/<token>/second/remove")
def take_away(token: str) -> AnyResponse:
    number = _whose(token)
    with center().database.transaction() as db:
        remove_second(db, subscriber_id=number, by=f"subscriber {number}", now=clock.now())
    return redirect(url_for("settings.manage", token=token, done="second_removed"), 303)


@blueprint.post("/m/<token>/leave")
def leave(token: str) -> AnyResponse:
    number = _whose(token)
    with center().database.transaction() as db:
        unsubscribe(db, house=center().house, subscriber_id=number, now=clock.now())
    return redirect(url_for("settings.manage", token=token), 303)


@blueprint.post("/m/<token>/erase")
def forget(token: str) -> AnyResponse:
    number = _whose(token)
    with center().database.transaction() as db:
        erase(db, house=center().house, subscriber_id=number, now=clock.now())
    session.clear()
    return redirect(url_for("settings.erased"), 303)


@blueprint.get("/m/erased")
def erased() -> str:
    return render_template("subscriber/erased.html")


@blueprint.get("/u/<token>")
def ask_to_leave(token: str) -> str:
    """Shows a button: scanners fetch links, and a GET must not unsubscribe anybody."""
    number = read_unsubscribe(center().house, token)
    with center().database.reading() as db:
        person = db.get(Subscriber, number)
    if person is not None:
        suggest(person.language)
    gone = person is None or people.is_left(person)
    return render_template("subscriber/left.html" if gone else "subscriber/unsubscribe.html", person=person)


@blueprint.post("/u/<token>")
def leave_by_link(token: str) -> str:
    """RFC 8058: the mail program's own button sends no cookie, follows no redirect and may come twice."""
    number = read_unsubscribe(center().house, token)
    with center().database.transaction() as db:
        person = db.get(Subscriber, number)
        if person is not None:
            suggest(person.language)
        unsubscribe(db, house=center().house, subscriber_id=number, now=clock.now())
    return render_template("subscriber/left.html", person=person)


def _whose(token: str) -> int:
    """The subscriber whom this link opens. Raises NotThere also for a link that went to an address they have left."""
    link = read_manage(center().house, token)
    with center().database.reading() as db:
        since = people.subscriber(db, link.subscriber_id).links_since
    if since is not None and link.signed_at < since:
        raise NotThere("this link went to an earlier address")
    return link.subscriber_id


def _second_channel(db: Session, number: int) -> Channel:
    """Refuses with channel.unknown where the house does not offer it."""
    channel = other(people.subscriber(db, number).channel)
    if channel not in channels_offered(center().house):
        raise Refused(Flaw("second", "channel.unknown", "is not offered here"))
    return channel


def _page(
    token: str,
    *,
    preferences: PreferenceForm | None = None,
    address: AddressForm | None = None,
    second: str = "",
    flaws: tuple[Flaw, ...] = (),
) -> str:
    house = center().house
    number = _whose(token)
    stands_at(url_for("settings.manage", token=token))
    with center().database.reading() as db:
        person = people.subscriber(db, number)
        suggest(person.language)
        language = page_language()
        components = component_choices(db, language)
        shown = preferences or PreferenceForm.of(db, person)
    done = request.args.get("done")
    return render_template(
        "subscriber/manage.html",
        token=token,
        person=person,
        done=done if done in DONE and not flaws else None,
        moving_to=session.get(_MOVING_TO) or say("subscriber.manage.new_address"),
        preferences=shown,
        typed=address or AddressForm(channel=person.channel.value),
        second=second_address(person),
        second_channel=other(person.channel),
        typed_second=second,
        errors=said_flaws(flaws),
        channels=channels_offered(house),
        components=components,
        languages=language_choices(house),
        zones=zone_choices(language, str(say("subscriber.form.zone_other"))),
    )
