"""The agent's page: the same words as everybody's, as of when, and loud when they are old."""

from datetime import timedelta

import pytest
from flask import Flask
from freezegun.api import FrozenDateTimeFactory
from sqlalchemy import select

from incident_center.center import Center
from incident_center.delivery.composer import render
from incident_center.incidents import questions
from incident_center.incidents.verbs import current_words, fix_typo
from incident_center.models import Confirmation, Incident, Message, Subscriber
from incident_center.states import Channel, ComponentStatus, Medium, Phase, SubscriberState
from incident_center.web.agent.phrases import find_phrases
from tests.builders import NOW, a_component
from tests.incidents.scenes import declared, published
from tests.web.browser import Browser, ids_of, signed_in, text_of

pytestmark = pytest.mark.one_database


@pytest.fixture
def agent(app: Flask, freezer: FrozenDateTimeFactory) -> Browser:
    freezer.move_to(NOW)
    return signed_in(app, "agent", email="ada@example.com")


@pytest.fixture
def incident(center: Center, agent: Browser) -> Incident:
    with center.database.transaction() as session:
        row = declared(session, center.house, now=NOW)
        published(session, center.house, row, now=NOW)
    return row


def _publish(center: Center, incident: Incident, phase: Phase) -> None:
    with center.database.transaction() as session:
        row = session.get_one(Incident, incident.id)
        published(session, center.house, row, now=NOW + timedelta(minutes=5), phase=phase)


def _news_url(page: str) -> str:
    return page.split('id="news"')[1].split('hx-get="')[1].split('"', maxsplit=1)[0].replace("&amp;", "&")


def test_all_is_well_is_said_in_words_to_copy(agent: Browser, center: Center) -> None:
    page = text_of(agent.get("/agent/").text)
    assert "All is well" in page
    for language in center.house.languages:
        words = center.house.catalogue.say(
            language,
            "snippet.all_well.chat",
            company="Example Pay",
            components="",
            status_url="https://status.example.com",
        )
        assert " ".join(words.split()) in page


def test_nobody_says_that_all_is_well_while_an_incident_has_no_words(agent: Browser, center: Center) -> None:
    with center.database.transaction() as session:
        declared(session, center.house, now=NOW)
    page = text_of(agent.get("/agent/").text)
    assert "All is well" not in page
    assert "Being looked into" in page


def test_a_component_that_is_down_by_hand_is_not_all_well(agent: Browser, center: Center) -> None:
    with center.database.transaction() as session:
        a_component(session, "cards", status=ComponentStatus.MAJOR_OUTAGE)
    assert "All is well" not in agent.get("/agent/").text


def test_the_agent_has_the_very_words_that_customers_get(
    agent: Browser, center: Center, incident: Incident
) -> None:
    page = text_of(agent.get("/agent/").text)
    with center.database.reading() as session:
        update = questions.latest_update(session, incident.id)
        assert update is not None
        for medium in (Medium.CHAT, Medium.PHONE, Medium.SMS):
            for language in ("en", "de"):
                wording = questions.wording(session, update.id, medium=medium, language=language)
                said = render(center.house, wording, zone="Europe/Berlin").text
                assert " ".join(said.split()) in page, (medium, language)


def test_the_page_says_as_of_when_and_until_when(agent: Browser, incident: Incident) -> None:
    page = text_of(agent.get("/agent/").text)
    assert "As of 14:00 CET" in page
    assert "Next update by 14:30 CET" in page


def test_an_e_mail_snippet_greets_and_carries_no_readers_links(agent: Browser, incident: Incident) -> None:
    page = agent.get("/agent/").text
    assert "/u/…" not in page
    assert "/m/…" not in page
    assert "Guten Tag" in page


def test_words_on_screen_stay_until_the_agent_takes_the_newer_ones(
    agent: Browser, center: Center, incident: Incident
) -> None:
    page = agent.get("/agent/").text
    url = _news_url(page)
    fresh = agent.get(url, htmx=True).text
    assert "out of date" not in fresh
    assert "hx-trigger" in fresh
    _publish(center, incident, Phase.IDENTIFIED)
    stale = agent.get(url, htmx=True).text
    assert "These words are out of date" in stale
    assert "data-stale" in stale
    assert "hx-trigger" not in stale  # old is old: nothing more to ask
    assert "We have found the cause" not in stale  # the words themselves are not swapped away
    assert "We have found the cause" in text_of(agent.get("/agent/").text)


@pytest.mark.parametrize("deed", ["fix", "resolve", "declare another"])
def test_every_change_of_the_words_makes_the_page_stale(
    agent: Browser, center: Center, incident: Incident, deed: str
) -> None:
    url = _news_url(agent.get("/agent/").text)
    if deed == "resolve":
        _publish(center, incident, Phase.RESOLVED)
    elif deed == "fix":
        with center.database.transaction() as session:
            update = questions.latest_update(session, incident.id)
            assert update is not None
            words = {
                language: found.model_copy(update={"phone": found.phone + " "})
                if language == "de"
                else found.model_copy(update={"phone": found.phone.replace("sorry", "very sorry")})
                for language, found in current_words(session, update).items()
            }
            fix_typo(
                session,
                house=center.house,
                update_id=update.id,
                words=words,
                reason="kinder",
                by="lea@example.com",
                now=NOW,
            )
    else:
        with center.database.transaction() as session:
            other = declared(session, center.house, now=NOW)
            published(session, center.house, other, now=NOW)
    assert "data-stale" in agent.get(url, htmx=True).text


def test_a_promise_that_passes_does_not_make_true_words_stale(
    agent: Browser, incident: Incident, freezer: FrozenDateTimeFactory
) -> None:
    url = _news_url(agent.get("/agent/").text)
    freezer.move_to(NOW + timedelta(minutes=32))
    news = agent.get(url, htmx=True).text
    assert "data-stale" not in news
    assert "An update is late" in news
    assert "Update was due" in text_of(agent.get("/agent/").text)


def test_phrases_are_found_by_any_of_their_words_in_either_language(center: Center, agent: Browser) -> None:
    everything = list(center.house.library.phrases.values())
    assert find_phrases(everything, "  ") == everything
    for phrase in everything:
        for language in ("en", "de"):
            assert phrase in find_phrases(everything, phrase.say[language][0].upper())
    assert find_phrases(everything, "xylophone") == []
    partial = agent.get("/agent/phrases?q=xylophone", htmx=True)
    assert "No phrase has these words" in partial.text
    assert "<html" not in partial.text
    assert "<html" in agent.get("/agent/phrases?q=money").text


def test_ids_on_the_agents_pages_are_unique(agent: Browser, center: Center, incident: Incident) -> None:
    with center.database.transaction() as session:
        other = declared(session, center.house, now=NOW)
        published(session, center.house, other, now=NOW)
    for url in ("/agent/", "/agent/enrol", "/agent/phrases"):
        ids = ids_of(agent.get(url).text)
        assert len(ids) == len(set(ids)), [i for i in ids if ids.count(i) > 1]


CALLER = {
    "channel": "sms",
    "address": "0151 23456789",
    "language": "de",
    "zone": "Europe/Berlin",
    "name": "Groß",
    "form": "mr",
    "scope": "all",
}


def _code(center: Center) -> str:
    with center.database.reading() as session:
        text = session.scalars(select(Message.text).order_by(Message.id.desc())).first() or ""
    return next(
        word for word in text.replace(".", " ").replace(":", " ").split() if word.isdigit() and len(word) == 6
    )


def test_a_caller_reads_the_code_back_and_is_enrolled(agent: Browser, center: Center) -> None:
    asked = agent.post("/agent/enrol", CALLER)
    assert asked.status_code == 303, text_of(asked.text)
    url = asked.headers["Location"]
    assert "+4915123456789" in agent.get(url).text
    assert agent.post(url, {"code": _code(center)}).status_code == 303
    assert "is confirmed" in agent.get(url).text
    with center.database.reading() as session:
        person = session.scalars(select(Subscriber)).one()
        assert person.state is SubscriberState.CONFIRMED
        assert (person.source, person.enrolled_by) == ("agent", "ada@example.com")


def test_a_wrong_code_is_counted_and_said(agent: Browser, center: Center) -> None:
    url = agent.post("/agent/enrol", CALLER).headers["Location"]
    wrong = "000000" if _code(center) != "000000" else "111111"
    answer = agent.post(url, {"code": wrong})
    assert answer.status_code == 422
    assert "4 tries left" in answer.text
    with center.database.reading() as session:
        assert session.scalars(select(Confirmation.tries)).one() == 1


def test_by_e_mail_the_caller_gets_a_link_and_no_code_is_asked_for(agent: Browser, center: Center) -> None:
    asked = agent.post("/agent/enrol", CALLER | {"channel": "email", "address": "o'brien+payout@example.com"})
    page = agent.get(asked.headers["Location"]).text
    assert "A link is on its way" in page
    assert 'name="code"' not in page
    with center.database.reading() as session:
        assert session.scalars(select(Subscriber.email)).one() == "o'brien+payout@example.com"
        assert session.scalars(select(Subscriber.channel)).one() is Channel.EMAIL


@pytest.mark.parametrize(
    ("channel", "address", "said"),
    [
        ("sms", "", "The mobile number is missing"),
        ("sms", "+49 900 1234567", "The mobile number is a number that costs extra"),
        ("email", "a@x.example,b@x.example", "The e-mail address holds several addresses"),
    ],
)
def test_a_refused_address_is_spoken_of_in_plain_words(
    agent: Browser, channel: str, address: str, said: str
) -> None:
    answer = agent.post("/agent/enrol", CALLER | {"channel": channel, "address": address})
    assert answer.status_code == 422
    assert said in text_of(answer.text)


def test_a_refused_enrolment_keeps_what_was_typed(agent: Browser, center: Center) -> None:
    typed = CALLER | {
        "address": "a@b@c",
        "channel": "email",
        "scope": "some",
        "zone": "Mars/Base",
        "name": "Gr<oß",
    }
    answer = agent.post("/agent/enrol", typed)
    assert answer.status_code == 422
    kept = agent.form_in(answer.text, "")
    for name in ("address", "zone", "name", "form", "scope", "channel", "language"):
        assert kept[name] == [typed[name]], name
    with center.database.reading() as session:
        assert session.scalars(select(Subscriber)).all() == []
