"""Wordings: frozen once, rendered for each reader, safe whatever was typed."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from incident_center.delivery.composer import freeze, render, render_page, times_said
from incident_center.delivery.letters import header, message_id, quoted, raw_email, wire_address
from incident_center.delivery.prepared import LinkBases, PreparedEmail, PreparedSms, ReaderParts, greeting
from incident_center.delivery.texts import FrozenWording, Reader
from incident_center.house import House
from incident_center.playbooks import PlaceholderError, Words, count_sms
from incident_center.states import Medium, Phase, UpdateKind
from tests.builders import NOW
from tests.delivery.servers import html, plain
from tests.delivery.stories import WORDS

pytestmark = pytest.mark.one_database

STARTED = NOW - timedelta(minutes=20)
DUE = NOW + timedelta(minutes=30)
READER = Reader(
    language="en",
    name="Olivia <O'Brien> & {sons}",
    manage_url="https://status.example.com/m/1.token",
    unsubscribe_url="https://status.example.com/u/1.token",
)


def frozen(
    house: House,
    words: dict[str, Words] | None = None,
    *,
    kind: UpdateKind = UpdateKind.UPDATE,
    phase: Phase = Phase.INVESTIGATING,
    next_update: bool = True,
    corrects: datetime | None = None,
    **answers: str,
) -> dict[tuple[Medium, str], FrozenWording]:
    words = words or WORDS
    early = {
        "company": house.company,
        "incident_ref": "INC-14",
        "status_url": house.incident_url(14),
        **answers,
    }
    instants = {"started_at": STARTED, "last_update_at": STARTED}
    if next_update:
        instants["next_update_by"] = DUE
    made = freeze(
        house,
        words=words,
        early=dict.fromkeys(words, early),
        instants=instants,
        kind=kind,
        phase=phase,
        now=NOW,
        correction_of=corrects,
    )
    return {(wording.medium, wording.language): wording for wording in made}


class _Reading(HTMLParser):
    """The words of a page, its links and its tags."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_every_medium_is_frozen_in_every_language(house: House) -> None:
    made = frozen(house)
    assert made.keys() == {(medium, language) for medium in Medium for language in ("en", "de")}


def test_an_email_says_the_four_facts_the_promise_and_where_to_go(house: House) -> None:
    said = render(house, frozen(house)[Medium.EMAIL, "en"], zone="Europe/London", reader=READER)
    assert said.subject == "Delayed: payouts"
    assert said.html is not None
    for text in (said.text, _Reading(said.html).text):
        for wanted in (
            "Dear Olivia <O'Brien> & {sons}",
            "What we know",
            "Since 12:40 pm GMT, payouts have been delayed.",
            "What we do not know yet",
            "What we are doing",
            "What you can do",
            "Please do not submit the same payout again.",
            "Next update by 1:30 pm GMT",
            "Reference INC-14",
            "Example Pay",
            "Unsubscribe",
        ):
            assert wanted in text
    assert READER.unsubscribe_url in said.text
    assert {READER.manage_url, READER.unsubscribe_url, "https://status.example.com/i/14"} <= set(
        _Reading(said.html).links
    )


def test_an_email_loads_nothing_from_anywhere(house: House) -> None:
    said = render(house, frozen(house)[Medium.EMAIL, "de"], zone="Europe/Berlin", reader=READER)
    assert said.html is not None
    assert all(link.startswith("https://status.example.com") for link in _Reading(said.html).links)
    assert not {"img", "script", "link", "iframe", "form"} & set(_Reading(said.html).tags)
    assert "@import" not in said.html
    assert 'lang="de"' in said.html
    assert "prefers-color-scheme: dark" in said.html


def test_an_email_is_light_and_its_headings_are_headings(house: House) -> None:
    """A million of them go out at once: each kilobyte is a gigabyte, and a screen reader goes by headings."""
    said = render(house, frozen(house)[Medium.EMAIL, "de"], zone="Europe/Berlin", reader=READER)
    assert said.html is not None
    assert len(said.html) - len(_Reading(said.html).text) < 9_000
    tags = _Reading(said.html).tags
    assert (tags.count("h1"), tags.count("h2")) == (1, 4)


def test_a_reader_who_is_not_known_is_greeted_neutrally_and_gets_no_personal_link(house: House) -> None:
    said = render(house, frozen(house)[Medium.EMAIL, "de"], zone="Europe/Berlin")
    assert said.text.startswith("Guten Tag\n")
    assert "/u/…" in said.text


def test_an_sms_is_one_segment_with_who_what_when_and_where(house: House) -> None:
    said = render(house, frozen(house)[Medium.SMS, "en"], zone="America/New_York")
    assert said.text == (
        "Example Pay: Payouts delayed since 7:40 am EST. Next update by 8:30 am EST. https://status.example.com/i/14"
    )
    assert count_sms(said.text).segments == 1
    assert (said.subject, said.html) == (None, None)


def test_an_sms_is_in_gsm_7_even_when_a_lead_pastes_typography(house: House) -> None:
    words = WORDS["en"].model_copy(update={"sms": "“Payouts” – {scope}… {next_update_by} {status_url}"})
    said = render(
        house, frozen(house, {"en": words}, scope="cards’ – all…")[Medium.SMS, "en"], zone="Asia/Kolkata"
    )
    assert count_sms(said.text).encoding == "gsm7"
    assert said.text.startswith('"Payouts" - cards\' - all...... 7:00 pm')


def test_a_chat_is_two_lines_then_the_link_and_the_promise(house: House) -> None:
    said = render(house, frozen(house)[Medium.CHAT, "en"], zone="Europe/Berlin")
    assert said.text.splitlines() == [
        "Since 1:40 pm CET, payouts have been delayed.",
        "Our engineers are looking for the cause. Please do not submit the same payout again.",
        "https://status.example.com/i/14 · Next update by 2:30 pm CET",
    ]


def test_the_last_update_promises_nothing(house: House) -> None:
    resolved = {
        language: words.model_copy(update={"sms": "{company}: over. {status_url}", "phone": "It is over."})
        for language, words in WORDS.items()
    }
    made = frozen(house, resolved, phase=Phase.RESOLVED, next_update=False)
    for key in made:
        if key[0] is not Medium.PAGE:
            assert "Next update" not in render(house, made[key], zone="Europe/Berlin").text
    state = render(house, made[Medium.EMAIL, "en"], zone="Europe/Berlin").text.splitlines()[2]
    assert state == house.catalogue.say("en", "message.phase.resolved")


def test_a_correction_says_that_it_is_one_and_of_what(house: House) -> None:
    made = frozen(house, kind=UpdateKind.CORRECTION, corrects=NOW - timedelta(hours=2))
    english = render(house, made[Medium.EMAIL, "en"], zone="Europe/London")
    assert "Correction to our update of 11:00 am GMT" in english.text
    german = render(house, made[Medium.CHAT, "de"], zone="Europe/Berlin")
    assert german.text.splitlines()[0] == "Berichtigung unserer Nachricht von 12:00 Uhr (MEZ)"


def test_a_holding_update_says_that_there_is_no_news(house: House) -> None:
    said = render(house, frozen(house, kind=UpdateKind.HOLDING)[Medium.EMAIL, "en"], zone="Europe/London")
    assert said.text.splitlines()[2] == house.catalogue.say("en", "message.kind.holding")


def test_a_page_has_the_facts_as_lists_and_a_date_when_it_is_read_another_day(house: House) -> None:
    page = frozen(house)[Medium.PAGE, "en"]
    assert render_page(house, page, zone="Europe/London").known == [
        "Since 12:40 pm GMT, payouts have been delayed."
    ]
    later = render_page(house, page, zone="Europe/London", now=NOW + timedelta(days=2))
    assert later.known == ["Since 12:40 pm GMT on Friday, 20 November, payouts have been delayed."]


def test_an_unknown_placeholder_or_a_time_without_an_instant_stops_the_publication(house: House) -> None:
    with pytest.raises(PlaceholderError):
        frozen(house, {"en": WORDS["en"].model_copy(update={"subject": "{nobody}"})})
    with pytest.raises(KeyError, match="next_update_by"):
        frozen(house, next_update=False)


TYPED = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Co", "Zl", "Zp")), min_size=1
).filter(str.strip)


@given(answer=TYPED)
@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_whatever_a_lead_answers_is_text_everywhere_and_never_markup(house: House, answer: str) -> None:
    words = WORDS["en"].model_copy(update={"known": ("Affected: {scope}.",), "subject": "State of {scope}"})
    made = frozen(house, {"en": words}, scope=answer)
    said = render(house, made[Medium.EMAIL, "en"], zone="Europe/Berlin", reader=READER)
    plain_words = frozen(house, {"en": words}, scope="x")
    usual = render(house, plain_words[Medium.EMAIL, "en"], zone="Europe/Berlin", reader=READER)
    assert said.html is not None
    assert usual.html is not None
    assert f"Affected: {answer}." in said.text
    assert _Reading(said.html).tags == _Reading(usual.html).tags
    assert _Reading(said.html).links == _Reading(usual.html).links
    assert render_page(house, made[Medium.PAGE, "en"], zone="UTC").known == [f"Affected: {answer}."]


@given(
    name=st.text(max_size=60), zone=st.sampled_from(["Europe/Berlin", "Asia/Kathmandu", "America/St_Johns"])
)
@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_bytes_that_are_joined_read_as_what_is_rendered(house: House, name: str, zone: str) -> None:
    wording = frozen(house)[Medium.EMAIL, "de"]
    links = LinkBases("https://x/=20/m/", "https://x/?a&b=u/")
    reader = Reader(
        language="de",
        name=name,
        form="ms",
        manage_url=f"{links.manage}1.t-_",
        unsubscribe_url=f"{links.unsubscribe}1.u",
    )
    said = render(house, wording, zone=zone, reader=reader)
    times = times_said(wording, zone=zone)
    prepared = PreparedEmail(wording, times=times, thread="<thread@x>", links=links)
    own = ReaderParts(greeting(said.text.splitlines()[0]), b"1.t-_", b"1.u")
    raw = prepared.raw(
        own, to=b"o'brien@example.com", message_id=b"<1@x>", date=b"Fri, 20 Nov 2026 13:00:00 +0000"
    )
    assert raw.isascii()
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert b"\n" not in raw.replace(b"\r\n", b"")
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert plain(message).strip() == said.text.strip()
    assert html(message).strip() == (said.html or "").strip()
    assert message["Subject"] == said.subject == prepared.subject(own)
    assert message["To"] == "o'brien@example.com"
    assert message["References"] == "<thread@x>"


def test_an_sms_without_a_greeting_is_the_same_text_for_everybody(house: House) -> None:
    wording = frozen(house)[Medium.SMS, "de"]
    times = times_said(wording, zone="Asia/Tokyo", short=True)
    prepared = PreparedSms(wording, times=times, links=LinkBases("https://x/m/", "https://x/u/"))
    assert prepared.same == render(house, wording, zone="Asia/Tokyo").text


@pytest.mark.parametrize("value", ["x\r\nBcc: a@b.example", "x\ny", "x\u2028y", "x\x00"])
def test_a_header_cannot_be_broken_out_of(value: str) -> None:
    with pytest.raises(ValueError, match="control character"):
        header("Subject", value)


def test_a_long_subject_is_folded_and_reads_as_one(house: House) -> None:
    subject = "Verzögert: SEPA- und Kartenauszahlungen nach Deutschland, Österreich und in die Schweiz " * 3
    raw = raw_email(
        to="a@b.example",
        subject=header("Subject", subject.strip()),
        message_id="<1@x>",
        date=NOW,
        headers={},
        text=quoted("x"),
        html=None,
    )
    assert max(map(len, raw.split(b"\r\n"))) < 100
    assert email.message_from_bytes(raw, policy=email.policy.default)["Subject"] == subject.strip()


@given(local=st.from_regex(r"[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]{1,40}", fullmatch=True))
def test_a_local_part_is_never_touched(local: str) -> None:
    assert wire_address(f"{local}@Example.com") == f"{local}@Example.com"


def test_a_message_id_is_stable_and_differs_by_reader_update_and_database() -> None:
    def made(reader: int = 1, about: int = 1, at: datetime = NOW) -> str:
        return message_id("https://status.example.com", kind="update", about=about, reader=reader, at=at)

    assert made() == made()
    assert len({made(), made(reader=2), made(about=2), made(at=datetime(2027, 1, 1, tzinfo=UTC))}) == 4
