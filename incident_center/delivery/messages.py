"""The words of single messages: confirm, welcome, already subscribed, goodbye. Finished texts, ready to
queue.

A confirmation may reach somebody who never heard of us: it greets nobody by name and repeats nothing that was
typed, so that nobody can send their own words in our name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from incident_center.delivery.links import manage_url, unsubscribe_url
from incident_center.delivery.standing import Standing, State, fitted
from incident_center.delivery.templating import html_template, text_template
from incident_center.house import House
from incident_center.playbooks import normalise_sms, salutation, say_time
from incident_center.states import Channel


@dataclass(frozen=True)
class SingleText:
    """What `singles.queue_message` takes: `subject`, `html` and `headers` are an e-mail's only."""

    text: str
    subject: str | None = None
    html: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def confirm_email(house: House, *, language: str, confirm_url: str, hours: int) -> SingleText:
    """The link opens a page with a button: mail scanners fetch links, and a GET must not confirm."""
    say = _Say(house, language, "confirm_email")
    return _letter(
        house,
        language=language,
        subject=say("subject"),
        paragraphs=[say("ask", company=house.company)],
        button=say("button"),
        button_url=confirm_url,
        after=[say("valid", hours=str(hours)), say("not_you")],
    )


def confirm_sms(house: House, *, language: str, code: str, minutes: int) -> SingleText:
    return _sms(house, language, "confirm_sms", company=house.company, code=code, minutes=str(minutes))


def welcome(
    house: House,
    *,
    channel: Channel,
    language: str,
    subscriber_id: int,
    standing: Standing,
    name: str | None = None,
    form: str | None = None,
) -> SingleText:
    """Sent once the address is confirmed; says how things stand, because people subscribe when they are worried."""
    if channel is Channel.SMS:
        return _welcome_sms(house, language, subscriber_id, standing)
    say = _Say(house, language, "welcome_email")
    as_of = say_time(standing.at, language=language, zone=standing.zone, now=standing.at)
    sentence = (
        None
        if standing.state is State.OPEN
        else say(standing.state.value, components=", ".join(standing.worked_on))
    )
    return _letter(
        house,
        language=language,
        subscriber_id=subscriber_id,
        greeting=salutation(house.catalogue, language=language, name=name, form=form),
        subject=say("subject"),
        paragraphs=[say("done")],
        status={"heading": say("as_of", as_of=as_of), "sentence": sentence, "matters": standing.matters},
        preview=sentence or standing.matters[0].headline,
        closing=[say("promise")],
        button=say("button"),
        button_url=house.settings.public_url,
    )


def _welcome_sms(house: House, language: str, subscriber_id: int, standing: Standing) -> SingleText:
    """An open incident's link and next time are left to its latest update, which follows at once."""
    say = _Say(house, language, "welcome_sms")
    headlines = [
        say("corrected", headline=matter.headline) if matter.corrected else matter.headline
        for matter in standing.matters
    ]
    manage = manage_url(house, subscriber_id)

    def said(what: str) -> str:
        return say(
            standing.state.value, company=house.company, headlines=what, components=what, manage_url=manage
        )

    return SingleText(fitted("\n".join(dict.fromkeys(headlines)) or ", ".join(standing.worked_on), said))


def already(house: House, *, channel: Channel, language: str, subscriber_id: int) -> SingleText:
    """For somebody who subscribes a second time. Whoever typed the address must not learn anything: no
    name."""
    if channel is Channel.SMS:
        links = {"manage_url": manage_url(house, subscriber_id)}
        return _sms(house, language, "already_sms", company=house.company, **links)
    say = _Say(house, language, "already_email")
    return _letter(
        house,
        language=language,
        subscriber_id=subscriber_id,
        subject=say("subject"),
        paragraphs=[say("known")],
        button=say("button"),
        button_url=manage_url(house, subscriber_id),
        after=[say("not_you")],
    )


def goodbye(house: House, *, channel: Channel, language: str) -> SingleText:
    """The last message; it carries no personal link, because there is nothing left to manage."""
    subscribe_url = f"{house.settings.public_url}/subscribe"
    if channel is Channel.SMS:
        return _sms(house, language, "goodbye_sms", company=house.company, subscribe_url=subscribe_url)
    say = _Say(house, language, "goodbye_email")
    return _letter(
        house,
        language=language,
        subject=say("subject"),
        paragraphs=[say("done"), say("back")],
        button=say("button"),
        button_url=subscribe_url,
    )


@dataclass(frozen=True)
class _Say:
    house: House
    language: str
    message: str

    def __call__(self, key: str, **values: str) -> str:
        return self.house.catalogue.say(self.language, f"message.{self.message}.{key}", **values)


def _sms(house: House, language: str, key: str, **values: str) -> SingleText:
    return SingleText(normalise_sms(house.catalogue.say(language, f"message.{key}", **values)))


def _letter(
    house: House,
    *,
    language: str,
    subject: str,
    paragraphs: list[str],
    button: str,
    button_url: str,
    after: list[str] | None = None,
    closing: list[str] | None = None,
    status: Mapping[str, object] | None = None,
    preview: str | None = None,
    greeting: str | None = None,
    subscriber_id: int | None = None,
) -> SingleText:
    """`preview` is what a list of mails shows beside the subject: the first paragraph unless something says more.
    `status` stands between `paragraphs` and `closing`."""
    manage = None if subscriber_id is None else manage_url(house, subscriber_id)
    unsubscribe = None if subscriber_id is None else unsubscribe_url(house, subscriber_id)
    values = {
        "language": language,
        "company": house.company,
        "greeting": greeting or salutation(house.catalogue, language=language, name=None, form=None),
        "subject": subject,
        "preview": preview or paragraphs[0],
        "paragraphs": paragraphs,
        "status": status,
        "closing": closing or [],
        "button": button,
        "button_url": button_url,
        "after": after or [],
        "manage": house.catalogue.say(language, "message.update.manage"),
        "unsubscribe": house.catalogue.say(language, "message.update.unsubscribe"),
        "manage_url": manage,
        "unsubscribe_url": unsubscribe,
    }
    folder = house.settings.templates_dir
    return SingleText(
        text=text_template(folder, "letter/email.txt").render(values),
        subject=subject,
        html=html_template(folder, "letter/email.mjml").render(values),
        headers=one_click(unsubscribe) if unsubscribe else {},
    )


def one_click(url: str) -> dict[str, str]:
    """The headers of RFC 8058: the mail program's own unsubscribe button posts to `url`."""
    return {"List-Unsubscribe": f"<{url}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
