"""Which language a public page speaks, and its words: `?lang=de`, remembered, else what the browser prefers."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_timedelta
from flask import Response, current_app, g, request
from markupsafe import Markup, escape

from incident_center import clock
from incident_center.house import House
from incident_center.playbooks import Slot, say_time
from incident_center.web.context import center

COOKIE = "language"
ARGUMENT = "lang"
_A_YEAR = 365 * 24 * 3600
_AFTER_THE_FIGURES = re.compile(r"(?<=\d:\d\d) (?=\w)")
_LOCALES = {"en": "en_GB"}  # the house's English is British


@dataclass(frozen=True)
class LanguageLink:
    """A way to the same page in another language; `current` for the one that is shown."""

    language: str
    name: str
    url: str
    current: bool


def page_language() -> str:
    """The language of this request, chosen once."""
    if "page_language" not in g:
        g.page_language = _choose(center().house)
    language: str = g.page_language
    return language


def suggest(language: str) -> None:
    """A person's own language, for pages behind their personal links; a choice made by link comes first."""
    house = center().house
    if language in house.languages and _chosen(house) is None:
        g.page_language = language


def remember(response: Response) -> Response:
    """Keeps a language that was chosen by link, and tells caches what a page depends on."""
    response.vary.update(["Accept-Language", "Cookie"])
    if request.args.get(ARGUMENT) in center().house.languages:
        response.set_cookie(
            COOKIE,
            page_language(),
            max_age=_A_YEAR,
            httponly=True,
            samesite="Lax",
            secure=bool(current_app.config["SESSION_COOKIE_SECURE"]),
        )
    return response


def say(key: str, **values: object) -> Markup:
    """Words of the catalogue in the page's language. Values may be markup, everything else is escaped."""
    return say_in(page_language(), key, **values)


def say_in(language: str, key: str, **values: object) -> Markup:
    said = Markup()
    for part in center().house.catalogue.parts(language, key):
        if isinstance(part, Slot) and part.name not in values:
            raise KeyError(f"“{key}” needs a value for {{{part.name}}}")
        said += escape(values[part.name] if isinstance(part, Slot) else part)
    return said


def said_time(instant: datetime, *, now: datetime | None = None, zone: str | None = None) -> Markup:
    """A <time> element: as people say it, in the house's zone, which is named; machines read `datetime`. No line ends
    between "2:04" and "am"; in texts that may go by SMS there are ordinary blanks alone."""
    words = say_time(
        instant, language=page_language(), zone=zone or center().house.zone, now=now or clock.now()
    )
    words = _AFTER_THE_FIGURES.sub("\N{NO-BREAK SPACE}", words)
    machine = instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Markup('<time datetime="{}">{}</time>').format(machine, words)


def said_day(instant: datetime) -> Markup:
    """A <time> element with the day alone, "20 November 2026", in the house's zone."""
    local = instant.astimezone(ZoneInfo(center().house.zone))
    words = format_date(local.date(), "long", locale=locale_of(page_language()))
    return Markup('<time datetime="{}">{}</time>').format(local.date().isoformat(), words)


def said_span(span: timedelta) -> str:
    """How long something took: "45 minutes", "3 hours"."""
    return format_timedelta(
        max(span, timedelta(minutes=1)), granularity="minute", threshold=2, locale=locale_of(page_language())
    )


@lru_cache(maxsize=16)
def locale_of(language: str) -> Locale:
    return Locale.parse(_LOCALES.get(language, language), sep="_" if language in _LOCALES else "-")


def language_name(language: str) -> str:
    """A language's name for itself: "Deutsch"."""
    own = locale_of(language)
    name = own.languages.get(own.language) or language
    return name[:1].upper() + name[1:]


def stands_at(path: str) -> None:
    """Where the page that answers a POST can be read again; without it, language links lead to the POST's own
    address."""
    g.page_path = path


def language_links() -> list[LanguageLink]:
    """One for each language that the house speaks."""
    shown = page_language()
    path = g.get("page_path", request.path)
    kept = [(name, value) for name, value in request.args.items(multi=True) if name != ARGUMENT]
    return [
        LanguageLink(
            language=language,
            name=language_name(language),
            url=f"{path}?{urlencode([*kept, (ARGUMENT, language)])}",
            current=language == shown,
        )
        for language in sorted(center().house.languages, key=language_name)
    ]


def template_words() -> dict[str, Callable[..., object] | object]:
    """What every public template may use."""
    return {
        "say": say,
        "said_time": said_time,
        "said_day": said_day,
        "said_span": said_span,
        "language": page_language(),
        "language_links": language_links(),
        "company": center().house.company,
    }


def _chosen(house: House) -> str | None:
    """What the visitor asked for, now or before."""
    for wanted in (request.args.get(ARGUMENT), request.cookies.get(COOKIE)):
        if wanted is not None and wanted in house.languages:
            return wanted
    return None


def _choose(house: House) -> str:
    fallback = "en" if "en" in house.languages else house.languages[0]
    return _chosen(house) or request.accept_languages.best_match(house.languages, fallback) or fallback
