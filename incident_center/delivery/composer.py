"""From the words of an update to what a reader gets: freeze once when it is published, render for each
reader.

Freezing writes the final text for each medium and language with `Parts` whose only open slots are times and
the reader's own (greeting, links). Rendering fills those. Pure as to the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from html import escape
from typing import Any

from incident_center.delivery.templating import html_template, text_template
from incident_center.delivery.texts import FrozenLike, FrozenWording, PageText, Reader, Rendered
from incident_center.house import House
from incident_center.playbooks import (
    LATE,
    Parts,
    Slot,
    Words,
    fill,
    from_json,
    mark,
    normalise_sms,
    parse,
    salutation,
    say_time,
    slots,
    to_json,
    unmark,
)
from incident_center.playbooks import render as render_parts
from incident_center.states import Medium, Phase, UpdateKind

FACTS = ("known", "unknown", "doing", "you_can")
TIMES = frozenset({"started_at", "next_update_by", "last_update_at", "corrected_at"})
READER = frozenset({"salutation", "manage_url", "unsubscribe_url"})
# One colour for each phase: how far away the end is. Dark equals stand in the template's style.
COLOURS = {
    Phase.INVESTIGATING: "#b3261e",
    Phase.IDENTIFIED: "#ad4a00",
    Phase.MONITORING: "#2556b8",
    Phase.RESOLVED: "#1c7c3f",
    Phase.POSTMORTEM: "#1c7c3f",
}


def freeze(
    house: House,
    *,
    words: Mapping[str, Words],
    early: Mapping[str, Mapping[str, str]],
    instants: Mapping[str, datetime],
    kind: UpdateKind,
    phase: Phase,
    now: datetime,
    correction_of: datetime | None = None,
) -> list[FrozenWording]:
    """The wordings of one update: every medium in every language of `words`.

    `early[language]` holds company, incident_ref, status_url and the lead's answers; `instants` the aware
    times behind the time slots; `correction_of` when the corrected update was published. Raises
    PlaceholderError for a text that names something unknown, KeyError for a time that has no instant,
    ValueError for what cannot be sent.
    """
    times = dict(instants) if correction_of is None else {**instants, "corrected_at": correction_of}
    values = {name: instant.isoformat() for name, instant in times.items()}
    frozen = []
    for language, said in words.items():
        chrome = _Chrome(house, language, early[language], kind=kind, phase=phase, times=frozenset(times))
        for medium, content in _contents(chrome, said).items():
            _refuse_open_slots(content, known=frozenset(times) | READER)
            frozen.append(FrozenWording(medium, language, content, values, now))
    return frozen


def render(
    house: House,
    wording: FrozenLike,
    *,
    zone: str,
    now_at: datetime | None = None,
    reader: Reader | None = None,
) -> Rendered:
    """The finished text in the reader's time zone. Works for every medium but the page.

    A date is said where a time is not on the day of `now_at` (the moment of publication by default).
    Without a reader the greeting is neutral and the personal links are shown as `…/m/…`, as in a preview.
    """
    content = wording.content
    times = times_said(wording, zone=zone, now=now_at, short=bool(content.get("sms")))
    values = times | reader_values(house, wording.language, reader)
    subject, html = content.get("subject"), content.get("html")
    text = render_parts(from_json(content["text"]), values)
    escaped = {name: escape(value) for name, value in values.items()}
    return Rendered(
        subject=None if subject is None else render_parts(from_json(subject), values),
        text=normalise_sms(text) if content.get("sms") else text,
        html=None if html is None else render_parts(from_json(html), escaped),
    )


def render_page(house: House, wording: FrozenLike, *, zone: str, now: datetime | None = None) -> PageText:
    """The four facts for a page or an API; `zone` is the house's unless the reader chose one."""
    values = times_said(wording, zone=zone, now=now) | reader_values(house, wording.language, None)

    def said(name: str) -> list[str]:
        return [render_parts(from_json(sentence), values) for sentence in wording.content[name]]

    subject = render_parts(from_json(wording.content["subject"]), values)
    return PageText(subject, said("known"), said("unknown"), said("doing"), said("you_can"))


def times_said(
    wording: FrozenLike, *, zone: str, now: datetime | None = None, short: bool = False
) -> dict[str, str]:
    """The values of the time slots for everybody in `zone`; `short` ones for an SMS."""
    return {
        name: say_time(
            datetime.fromisoformat(iso),
            language=wording.language,
            zone=zone,
            now=now or wording.published_at,
            short=short,
        )
        for name, iso in wording.values.items()
    }


def reader_values(house: House, language: str, reader: Reader | None) -> dict[str, str]:
    """The values of the reader's own slots."""
    name, form = (reader.name, reader.form) if reader else (None, None)
    return {
        "salutation": salutation(house.catalogue, language=language, name=name, form=form),
        "manage_url": reader.manage_url if reader else f"{house.settings.public_url}/m/…",
        "unsubscribe_url": reader.unsubscribe_url if reader else f"{house.settings.public_url}/u/…",
    }


class _Chrome:
    """The words around an update in one language, and the filling of its early values."""

    def __init__(
        self,
        house: House,
        language: str,
        early: Mapping[str, str],
        *,
        kind: UpdateKind,
        phase: Phase,
        times: frozenset[str],
    ) -> None:
        self.house, self.language, self.early = house, language, early
        self.kind, self.phase, self.times = kind, phase, times
        self._allowed = LATE | frozenset(early)

    def filled(self, text: str) -> Parts:
        return fill(parse(text, self._allowed), self.early)

    def say(self, key: str, **values: str) -> str:
        return self.house.catalogue.say(self.language, f"message.{key}", **values)

    @property
    def state(self) -> str:
        """One line that says where things stand; a correction names the update that it corrects."""
        if self.kind is UpdateKind.CORRECTION and "corrected_at" in self.times:
            return self.say("kind.correction", corrected_at=_slot("corrected_at"))
        if self.kind is UpdateKind.HOLDING:
            return self.say("kind.holding")
        return self.say(f"phase.{self.phase.value}")

    @property
    def next_update(self) -> str | None:
        if "next_update_by" not in self.times:
            return None
        return self.say("update.next_update", next_update_by=_slot("next_update_by"))


def _slot(name: str) -> str:
    return mark((Slot(name),))


def _contents(chrome: _Chrome, words: Words) -> dict[Medium, dict[str, Any]]:
    subject = chrome.filled(words.subject)
    facts = {name: [chrome.filled(text) for text in getattr(words, name)] for name in FACTS}
    sms = fill(parse(normalise_sms(words.sms), LATE | frozenset(chrome.early)), _for_sms(chrome.early))
    return {
        Medium.EMAIL: _email(chrome, subject, facts),
        Medium.SMS: {"text": to_json(sms), "sms": True},
        Medium.PHONE: {"text": to_json(chrome.filled(words.phone))},
        Medium.CHAT: {"text": to_json(_chat(chrome, facts))},
        Medium.PAGE: {
            "subject": to_json(subject),
            **{name: [to_json(sentence) for sentence in sentences] for name, sentences in facts.items()},
        },
    }


def _for_sms(early: Mapping[str, str]) -> dict[str, str]:
    return {name: normalise_sms(value) for name, value in early.items()}


def _email(chrome: _Chrome, subject: Parts, facts: Mapping[str, list[Parts]]) -> dict[str, Any]:
    house, folder = chrome.house, chrome.house.settings.templates_dir
    values = {
        "language": chrome.language,
        "company": house.company,
        "reference": chrome.say("update.reference", incident_ref=chrome.early["incident_ref"]),
        "subject": mark(subject),
        "preview": " ".join(mark(sentence) for sentence in facts["known"][:2]),
        "state": chrome.state,
        "phase": chrome.phase.value,
        "colour": COLOURS[chrome.phase],
        "facts": [
            {"heading": chrome.say(f"heading.{name}"), "sentences": [mark(text) for text in facts[name]]}
            for name in FACTS
            if facts[name]
        ],
        "next_update": chrome.next_update,
        "read_on": chrome.say("update.read_on"),
        "status_url": chrome.early["status_url"],
        "why": chrome.say("update.why", company=house.company),
        "manage": chrome.say("update.manage"),
        "unsubscribe": chrome.say("update.unsubscribe"),
        **{name: _slot(name) for name in READER},
    }
    return {
        "subject": to_json(subject),
        "text": to_json(unmark(text_template(folder, "update/email.txt").render(values))),
        "html": to_json(unmark(html_template(folder, "update/email.mjml").render(values))),
    }


def _chat(chrome: _Chrome, facts: Mapping[str, list[Parts]]) -> Parts:
    """Two lines of what matters most, then the link and the next update: chat windows are small."""
    template = text_template(chrome.house.settings.templates_dir, "update/chat.txt")
    text = template.render(
        correction=chrome.kind is UpdateKind.CORRECTION,
        state=chrome.state,
        known=" ".join(mark(sentence) for sentence in facts["known"]),
        useful=" ".join(mark(sentence) for sentence in (*facts["doing"][:1], *facts["you_can"][:1])),
        status_url=chrome.early["status_url"],
        next_update=chrome.next_update,
    )
    return unmark(text.strip())


def _refuse_open_slots(content: Mapping[str, Any], *, known: frozenset[str]) -> None:
    """A slot that nobody will fill must stop the publication, not a message at three in the morning."""
    for name, value in content.items():
        if not isinstance(value, list):
            continue
        texts = value if name in FACTS else [value]
        for parts in texts:
            open_slots = slots(from_json(parts)) - known
            if open_slots:
                raise KeyError(f"{name}: no value for {{{min(open_slots)}}}")
