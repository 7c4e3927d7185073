"""Subscribing and confirming. Every page works without JavaScript; a GET never changes anything."""

from flask import Blueprint, Response, make_response, redirect, render_template, request, session, url_for
from flask_wtf.csrf import CSRFError
from werkzeug.wrappers import Response as AnyResponse

from incident_center import clock
from incident_center.audience import confirmations, people, proofs
from incident_center.audience.addresses import masked
from incident_center.audience.confirm import MOST_TRIES, waiting
from incident_center.audience.requests import Flaws, SubscribeRequest
from incident_center.audience.verbs import ask_again, confirm_by_code, confirm_by_token, subscribe
from incident_center.delivery.links import manage_url
from incident_center.delivery.second import second_address
from incident_center.errors import Flaw, NotThere, Refused
from incident_center.house import House
from incident_center.models import Confirmation, Subscriber
from incident_center.states import Channel, SubscriberState
from incident_center.web.context import center, csrf, limiter
from incident_center.web.language import page_language, remember, say, stands_at, suggest, template_words
from incident_center.web.subscriber_forms import (
    AddressForm,
    PreferenceForm,
    channels_offered,
    component_choices,
    language_choices,
    said_flaws,
    zone_choices,
)

blueprint = Blueprint("subscriber", __name__)
blueprint.context_processor(template_words)
blueprint.after_request(remember)

SOURCE = "web"
_ASKED = "asked_address"  # in the visitor's own session, to say where the message went


def too_many(_: object) -> Response:
    """Somebody tries very often: a page in their language instead of the staff's."""
    stands_at(url_for("public.home"))
    return make_response(render_template("subscriber/too_many.html"), 429)


forms_limit = limiter.shared_limit("20 per 10 minutes", scope="subscriber forms", on_breach=too_many)
codes_limit = limiter.limit("30 per 10 minutes", on_breach=too_many)


@blueprint.get("/subscribe")
def ask() -> Response:
    house = center().house
    channel = request.args.get("channel", Channel.EMAIL.value)
    preferences = PreferenceForm(language=page_language(), zone=house.zone)
    return make_response(_form(AddressForm(channel=channel), preferences, ()))


@blueprint.post("/subscribe")
@forms_limit
def begin() -> AnyResponse:
    """Answers the same whether the address is known or not."""
    house = center().house
    typed = AddressForm.typed(request.form)
    preferences = PreferenceForm.typed(request.form, language=page_language(), zone=house.zone)
    try:
        wish = _wish(house, typed, preferences)
        with center().database.transaction() as db:
            done = subscribe(db, house=house, request=wish, source=SOURCE, by=None, now=clock.now())
    except Refused as refused:
        return make_response(_form(typed, preferences, refused.flaws), 422)
    if wish.channel is Channel.SMS:
        token = proofs.page_token(house, done.confirmation_id)
        return redirect(url_for("subscriber.enter_code", token=token), 303)
    session[_ASKED] = wish.address.strip()[:320]
    return redirect(url_for("subscriber.sent"), 303)


@blueprint.get("/subscribe/sent")
def sent() -> str:
    return render_template("subscriber/sent.html", address=session.get(_ASKED))


@blueprint.get("/confirm/<token>")
def enter_code(token: str) -> Response:
    return make_response(_code_page(token))


@blueprint.post("/confirm/<token>")
@codes_limit
def check_code(token: str) -> AnyResponse:
    house = center().house
    number = proofs.read_page_token(house, token)
    with center().database.transaction() as db:  # a wrong code's count is committed too
        answer = confirm_by_code(
            db, house=house, confirmation_id=number, code=request.form.get("code", ""), now=clock.now()
        )
        asked = confirmations.by_id(db, number)
    if answer.subscriber is not None:
        return _to_settings(house, answer.subscriber, asked)
    flaws = (answer.flaw,) if answer.flaw else ()
    return make_response(
        _code_page(token, flaws=flaws, typed=request.form.get("code", ""), left=answer.tries_left), 422
    )


@blueprint.post("/confirm/<token>/again")
@forms_limit
def new_code(token: str) -> AnyResponse:
    house = center().house
    number = proofs.read_page_token(house, token)
    with center().database.transaction() as db:
        asked = ask_again(db, house=house, confirmation_id=number, now=clock.now())
    token = proofs.page_token(house, asked.confirmation_id)
    return redirect(url_for("subscriber.enter_code", token=token), 303)


@blueprint.get("/c/<token>")
def look_at_link(token: str) -> Response:
    """Shows a button and does nothing: mail scanners fetch every link."""
    house = center().house
    with center().database.reading() as db:
        try:
            entry = waiting(db, house=house, token=token, now=clock.now())
        except Refused:
            return make_response(render_template("subscriber/expired.html"), 410)
        person = people.subscriber(db, entry.subscriber_id)
        suggest(person.language)
        return make_response(
            render_template(
                "subscriber/confirm.html",
                address=entry.address,
                second=entry.as_fallback,
                channel=entry.channel,
                moving=person.state is SubscriberState.CONFIRMED and entry.used_at is None,
            )
        )


@blueprint.post("/c/<token>")
def press_button(token: str) -> AnyResponse:
    house = center().house
    try:
        with center().database.transaction() as db:
            asked = waiting(db, house=house, token=token, now=clock.now())
            person = confirm_by_token(db, house=house, token=token, now=clock.now())
    except Refused:
        return make_response(render_template("subscriber/expired.html"), 410)
    return _to_settings(house, person, asked)


# Whoever holds such a link's token may do what it is for; no cookie adds to that, so there is nothing that another
# site could ride on, and mail programs' own windows often keep no cookies.
for view in (check_code, new_code, press_button):
    csrf.exempt(view)


@blueprint.errorhandler(CSRFError)
def stale(_: CSRFError) -> Response:
    return make_response(render_template("subscriber/stale.html"), 400)


@blueprint.errorhandler(NotThere)
def not_there(_: NotThere) -> Response:
    return make_response(render_template("subscriber/not_there.html"), 404)


def settings_token(house: House, subscriber_id: int) -> str:
    """The part of a settings link that names and proves the subscriber."""
    return manage_url(house, subscriber_id).rpartition("/m/")[2]


def _to_settings(house: House, person: Subscriber, asked: Confirmation) -> AnyResponse:
    done = "second_confirmed" if second_address(person) == asked.address else "confirmed"
    return redirect(url_for("settings.manage", token=settings_token(house, person.id), done=done), 303)


def _wish(house: House, typed: AddressForm, preferences: PreferenceForm) -> SubscribeRequest:
    flaws = Flaws()
    channel = flaws.collect(lambda: typed.read_channel(house))
    wanted = flaws.collect(preferences.preferences)
    flaws.refuse()
    if channel is None or wanted is None:
        raise Refused(*flaws.found)
    return SubscribeRequest(channel=channel, address=typed.address, **vars(wanted))


def _form(typed: AddressForm, preferences: PreferenceForm, flaws: tuple[Flaw, ...]) -> str:
    house, language = center().house, page_language()
    with center().database.reading() as db:
        components = component_choices(db, language)
    return render_template(
        "subscriber/subscribe.html",
        typed=typed,
        preferences=preferences,
        errors=said_flaws(flaws),
        channels=channels_offered(house),
        components=components,
        languages=language_choices(house),
        zones=zone_choices(language, str(say("subscriber.form.zone_other"))),
    )


def _code_page(token: str, *, flaws: tuple[Flaw, ...] = (), typed: str = "", left: int = MOST_TRIES) -> str:
    number = proofs.read_page_token(center().house, token)
    with center().database.reading() as db:
        entry = confirmations.by_id(db, number)
    if entry.channel is not Channel.SMS:
        raise NotThere("This confirmation takes no code.")
    return render_template(
        "subscriber/code.html",
        token=token,
        address=masked(entry.channel, entry.address),
        errors=said_flaws(flaws),
        closed=any(flaw.code.startswith("confirm.") for flaw in flaws),
        typed=typed,
        left=left,
    )
