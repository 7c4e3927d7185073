"""A batch of letters: joined from bytes that readers share, and still the letter that each reader would get alone."""

from __future__ import annotations

import email
import email.policy
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from itsdangerous import Signer, TimestampSigner

from incident_center import clock
from incident_center.db import Database
from incident_center.delivery import mailer as mailer_module
from incident_center.delivery.composer import render
from incident_center.delivery.ledger import Due
from incident_center.delivery.letters import _checked_address, wire_address
from incident_center.delivery.links import LinkTokens, read_manage, read_unsubscribe
from incident_center.delivery.mailer import Mailer
from incident_center.delivery.outcome import Letter
from incident_center.delivery.texts import Reader
from incident_center.house import House
from incident_center.models import Update, Wording
from incident_center.playbooks import salutation
from incident_center.playbooks.parts import odd_character
from incident_center.states import Channel, Medium
from tests.builders import NOW
from tests.delivery.servers import html, plain
from tests.delivery.stories import WORDS, keep_wordings, publish

pytestmark = pytest.mark.one_database

SLOW_FIXTURES = [HealthCheck.function_scoped_fixture]
GREETED = {
    language: words.model_copy(
        update={"subject": "{salutation}: " + words.subject, "sms": "{salutation} " + words.sms}
    )
    for language, words in WORDS.items()
}
Loads = Callable[..., Mailer]


@pytest.fixture
def update(database: Database, house: House) -> Update:
    with database.transaction() as session:
        return publish(session, house)


@pytest.fixture
def greeting_update(database: Database, house: House) -> Update:
    """Its subject and its SMS greet the reader."""
    with database.transaction() as session:
        return publish(session, house, words=GREETED)


@pytest.fixture
def loads(database: Database, house: House) -> Loads:
    """A worker's mailer that has read the words of these updates."""

    def loaded(*updates: Update, channel: Channel = Channel.EMAIL, house: House = house) -> Mailer:
        mailer = Mailer(house)
        with database.reading() as session:
            mailer.load(session, {update.id for update in updates}, channel)
        return mailer

    return loaded


def due(update: Update, number: int = 1, **parts: Any) -> Due:
    given: dict[str, Any] = {
        "update_id": update.id,
        "incident_id": update.incident_id,
        "subscriber_id": number,
        "channel": Channel.EMAIL,
        "address": f"reader{number}@example.com",
        "language": "en",
        "zone": "Europe/Berlin",
        "name": None,
        "form": None,
        "since": NOW,
    }
    return Due(**(given | parts))


def sms_due(update: Update, number: int = 1, **parts: Any) -> Due:
    return due(update, number, channel=Channel.SMS, address=f"+49151{number:08}", **parts)


def letters(mailer: Mailer, people: list[Due], *, raw: bool = True, now: datetime = NOW) -> list[Letter]:
    made = []
    for one in mailer.batch(people, raw=raw, now=now):
        assert not isinstance(one, Exception), one
        made.append(one[0])
    return made


def read(raw: bytes) -> EmailMessage:
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def wording(database: Database, update: Update, medium: Medium, language: str) -> Wording:
    with database.reading() as session:
        return session.query(Wording).filter_by(update_id=update.id, medium=medium, language=language).one()


PEOPLE = st.lists(
    st.fixed_dictionaries(
        {
            "language": st.sampled_from(["en", "de", "de-AT", "fr"]),
            "zone": st.sampled_from(["Europe/Berlin", "America/St_Johns", "Asia/Kathmandu"]),
            "name": st.none()
            | st.text(max_size=40)
            | st.sampled_from(["Weber", "x\r\nBcc: a@b.example", "."]),
            "form": st.sampled_from(["mr", "ms", None]),
            "subscriber_id": st.integers(min_value=1, max_value=2**63 - 1),
        }
    ),
    min_size=1,
    max_size=6,
)


@given(
    people=PEOPLE,
    public_url=st.sampled_from(
        ["https://s.example", "https://status.example.com", f"https://example.com/{'long=' * 30}&x"]
    ),
)
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=SLOW_FIXTURES)
def test_every_email_of_a_batch_reads_as_what_is_rendered_for_its_reader(
    house: House,
    database: Database,
    update: Update,
    loads: Loads,
    people: list[dict[str, Any]],
    public_url: str,
) -> None:
    house = replace(house, settings=replace(house.settings, public_url=public_url))
    now = clock.now()
    readers = [due(update, **parts) for parts in people]
    for reader, letter in zip(
        readers, letters(loads(update, house=house), readers, raw=True, now=now), strict=True
    ):
        tokens, own = LinkTokens(house, at=now), reader.subscriber_id
        language = "de" if reader.language.startswith("de") else "en"
        unsubscribe = f"{public_url}/u/{tokens.unsubscribe(own).decode()}"
        said = render(
            house,
            wording(database, update, Medium.EMAIL, language),
            zone=reader.zone,
            reader=Reader(
                language=language,
                name=reader.name,
                form=reader.form,
                manage_url=f"{public_url}/m/{tokens.manage(own).decode()}",
                unsubscribe_url=unsubscribe,
            ),
        )
        message = read(letter.raw)
        assert plain(message).strip() == said.text.strip()
        assert html(message).strip() == (said.html or "").strip()
        assert message["Subject"] == said.subject == letter.subject
        assert message["To"] == reader.address == letter.to
        assert message["Message-ID"] == letter.message_id
        assert f".{own}@" in letter.message_id
        assert f"\r\nList-Unsubscribe: <{unsubscribe}>\r\n".encode() in letter.raw
        assert letter.key == own


@given(people=PEOPLE)
@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=SLOW_FIXTURES)
def test_the_bytes_are_what_any_mail_server_takes(
    greeting_update: Update, loads: Loads, people: list[dict[str, Any]]
) -> None:
    readers = [due(greeting_update, **parts) for parts in people]
    for letter in letters(loads(greeting_update), readers):
        assert letter.raw.isascii()
        assert not {b"\r", b"\n"} & {bytes([byte]) for byte in letter.raw.replace(b"\r\n", b"")}
        head, _, body = letter.raw.partition(b"\r\n\r\n")
        assert max(map(len, head.split(b"\r\n"))) <= 998
        assert max(map(len, body.split(b"\r\n"))) <= 76
        names = [
            line.partition(b":")[0].decode() for line in head.split(b"\r\n") if not line.startswith(b" ")
        ]
        assert names == [
            *("To", "Date", "Message-ID", "References", "List-Unsubscribe", "List-Unsubscribe-Post"),
            *("Subject", "Auto-Submitted", "X-Auto-Response-Suppress", "MIME-Version", "Content-Type"),
        ]


def test_a_subject_may_greet_its_reader(greeting_update: Update, loads: Loads) -> None:
    people = [due(greeting_update, 1, name="Weber", form="ms"), due(greeting_update, 2)]
    made = letters(loads(greeting_update), [*people, replace(people[0], subscriber_id=3)])
    subjects = [
        "Dear Ms Weber: Delayed: payouts",
        "Hello: Delayed: payouts",
        "Dear Ms Weber: Delayed: payouts",
    ]
    assert [letter.subject for letter in made] == subjects
    assert [read(letter.raw)["Subject"] for letter in made] == subjects


def test_a_provider_that_wants_text_gets_the_same_words(update: Update, loads: Loads) -> None:
    mailer, person = loads(update), due(update, name="<b>O'Brien", language="de")
    (as_bytes,), (as_text,) = letters(mailer, [person]), letters(mailer, [person], raw=False)
    message = read(as_bytes.raw)
    assert as_text.text.strip() == plain(message).strip()
    assert as_text.html is not None
    assert as_text.html.strip() == html(message).strip()
    assert "&lt;b&gt;O&#x27;Brien" in as_text.html
    assert "<b>O'Brien" in as_text.text
    assert (as_text.raw, as_bytes.text, as_bytes.html) == (b"", "", None)


def test_who_cannot_be_written_to_stops_nobody_else(update: Update, loads: Loads) -> None:
    hostile = "x@example.com>\r\nBcc: everybody@example.com\r\n"
    people = [
        due(update, 1),
        due(update, 2, address=hostile),
        due(update, 3),
        due(update, 4, update_id=update.id + 1),
        due(update, 5, address="nobody"),
        due(update, 6),
    ]
    mailer = loads(update)
    made = mailer.batch(people, raw=True, now=NOW)
    told = [None if isinstance(one, Exception) else one[0].key for one in made]
    assert told == [1, None, 3, None, None, 6]
    for person in (people[1], people[3]):
        with pytest.raises(ValueError, match=r"address|no words"):
            mailer.letter(person, raw=True, now=NOW)


def test_one_letter_is_a_batch_of_one(update: Update, loads: Loads) -> None:
    mailer, person = loads(update), due(update, name="Weber")
    assert [mailer.letter(person, raw=True, now=NOW)] == mailer.batch([person], raw=True, now=NOW)


@given(name=st.none() | st.text(max_size=40), language=st.sampled_from(["en", "de"]))
@hypothesis_settings(max_examples=30, deadline=None, suppress_health_check=SLOW_FIXTURES)
def test_an_sms_that_greets_reads_as_what_is_rendered(
    house: House, database: Database, greeting_update: Update, loads: Loads, name: str | None, language: str
) -> None:
    person = sms_due(greeting_update, name=name, language=language, zone="America/New_York")
    (letter,) = letters(loads(greeting_update, channel=Channel.SMS), [person], raw=False)
    reader = Reader(language=language, name=name, manage_url="-", unsubscribe_url="-")
    frozen = wording(database, greeting_update, Medium.SMS, language)
    assert letter.text == render(house, frozen, zone="America/New_York", reader=reader).text
    assert letter.to == person.address


def test_an_sms_without_a_greeting_is_one_text_for_everybody_in_a_zone(update: Update, loads: Loads) -> None:
    mailer = loads(update, channel=Channel.SMS)
    one, two, there = letters(
        mailer,
        [sms_due(update, 1, name="A"), sms_due(update, 2), sms_due(update, 3, zone="America/New_York")],
    )
    assert one.text is two.text
    assert "7:00 pm" not in one.text
    assert there.text != one.text
    assert one.message_id != two.message_id


@pytest.mark.parametrize("channel", list(Channel))
def test_a_silent_fix_reaches_whoever_still_waits(
    database: Database, house: House, update: Update, channel: Channel
) -> None:
    mailer, person = Mailer(house), due(update) if channel is Channel.EMAIL else sms_due(update)
    with database.transaction() as session:
        mailer.load(session, {update.id}, channel)
        before, first = mailer.letter(person, raw=False, now=NOW)
        fixed = WORDS["en"].model_copy(update={"sms": "Fixed.", "known": ("Fixed.",)})
        row = session.get_one(Update, update.id)
        keep_wordings(session, house, row.incident, row, words={"en": fixed}, now=NOW, revision=1)
        mailer.load(session, {update.id}, channel)
        after, second = mailer.letter(person, raw=False, now=NOW)
        german = replace(person, language="de")
        unfixed, _ = mailer.letter(german, raw=False, now=NOW)
    assert "Fixed." not in before.text
    assert "Fixed." in after.text
    assert "Fixed." not in unfixed.text
    assert first < second
    assert before.message_id == after.message_id


def test_more_words_than_are_kept_are_read_again_and_nobody_goes_without(
    monkeypatch: pytest.MonkeyPatch, update: Update, greeting_update: Update, loads: Loads
) -> None:
    monkeypatch.setattr(mailer_module, "_WORDINGS_KEPT", 1)
    people = [due(one, language=language) for one in (update, greeting_update) for language in ("en", "de")]
    assert len(letters(loads(update, greeting_update), people)) == 4


def test_the_words_of_the_wave_before_stay_while_the_next_one_s_are_read(
    monkeypatch: pytest.MonkeyPatch, database: Database, house: House, loads: Loads
) -> None:
    """A letter that its provider did not take is composed again for the next one, perhaps after other updates' words
    have been read."""
    monkeypatch.setattr(mailer_module, "_UPDATES_KEPT", 2)
    with database.transaction() as session:
        updates = [publish(session, house) for _ in range(3)]
    mailer = loads(updates[0])
    for update in updates[1:]:
        with database.reading() as session:
            mailer.load(session, {update.id}, Channel.EMAIL)
    assert len(letters(mailer, [due(update) for update in updates[1:]])) == 2
    with pytest.raises(ValueError, match="no words"):
        mailer.letter(due(updates[0]), raw=False, now=NOW)


def test_memory_does_not_grow_with_the_audience(
    monkeypatch: pytest.MonkeyPatch, update: Update, loads: Loads
) -> None:
    monkeypatch.setattr(mailer_module, "_TIMES_KEPT", 5)
    monkeypatch.setattr(mailer_module, "_PREPARED_KEPT", 2)
    mailer = loads(update)
    zones = [
        "Europe/Berlin",
        "Asia/Tokyo",
        "America/New_York",
        "Asia/Kolkata",
        "Africa/Cairo",
        "Nowhere/At_All",
    ]
    for first in range(0, 6000, 25):
        people = [
            due(update, number + 1, name=f"Reader {number}", zone=zones[number % 6])
            for number in range(first, first + 25)
        ]
        letters(mailer, people)
    assert mailer._greeting.cache_info().currsize == mailer_module._GREETINGS_KEPT
    assert len(mailer._times) == 5
    assert len(mailer._prepared) == 2


def test_zones_that_say_a_time_alike_share_one_preparation(update: Update, loads: Loads) -> None:
    mailer = loads(update)
    people = [
        due(update, number, zone=zone)
        for number, zone in enumerate(("Europe/Berlin", "Europe/Paris", "Europe/Rome", "Asia/Tokyo"), start=1)
    ]
    letters(mailer, people)
    assert len(mailer._prepared) == 2


def test_a_zone_that_is_no_more_reads_the_houses_time(house: House, update: Update, loads: Loads) -> None:
    lost, at_home = letters(
        loads(update),
        [due(update, 1, zone="Nowhere/At_All"), due(update, 1, zone=house.zone)],
    )
    assert lost == at_home


class _Standing(TimestampSigner):
    """itsdangerous at a given second."""

    second = 0

    def get_timestamp(self) -> int:
        return self.second


@given(
    secret=st.text(min_size=1, max_size=80),
    subscriber_id=st.integers(min_value=1, max_value=2**63 - 1),
    at=st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2400, 1, 1)),  # noqa: DTZ001 (made aware below)
)
@hypothesis_settings(deadline=None, suppress_health_check=SLOW_FIXTURES)
def test_tokens_are_what_itsdangerous_signs(
    house: House, secret: str, subscriber_id: int, at: datetime
) -> None:
    house = replace(house, settings=replace(house.settings, secret_key=secret))
    at = at.replace(tzinfo=UTC)
    tokens = LinkTokens(house, at=at)
    standing = _Standing(secret, salt="manage-subscription")
    standing.second = int(at.timestamp())
    assert tokens.manage(subscriber_id) == standing.sign(str(subscriber_id))
    assert tokens.unsubscribe(subscriber_id) == Signer(secret, salt="unsubscribe").sign(str(subscriber_id))
    assert read_unsubscribe(house, tokens.unsubscribe(subscriber_id).decode()) == subscriber_id


def test_a_settings_link_says_when_it_was_made(house: House) -> None:
    made = clock.now() - timedelta(days=3)
    link = read_manage(house, LinkTokens(house, at=made).manage(7).decode())
    assert (link.subscriber_id, link.signed_at) == (7, made.replace(microsecond=0))


def _answer(check: Callable[[str], str], address: str) -> str | None:
    try:
        return check(address)
    except ValueError:
        return None


VISIBLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7F), max_size=12)


@given(
    st.one_of(
        st.text(max_size=30),
        st.builds("{}@{}".format, VISIBLE, VISIBLE),
        st.builds("{}@{}".format, st.text(max_size=8), st.text(max_size=8)),
        st.builds("{}@{}@{}".format, VISIBLE, VISIBLE, VISIBLE),
        st.emails(),
    )
)
@example("o'brien@example.com")
@example("a@b\n")
@example("a@b\r\nBcc: c@d")
@example("a b@example.com")
@example('"a b"@example.com')
@example("<a@b>")
@example("a@")
@example("@b")
@example("a@b@c")
@example("ä@bücher.example")
@example("a\x7f@b")
@hypothesis_settings(max_examples=600, deadline=None)
def test_an_ordinary_address_gets_the_answer_of_the_full_check(address: str) -> None:
    answer = _answer(wire_address, address)
    assert answer == _answer(_checked_address, address)
    if answer is not None:
        assert not set(answer) & {"\r", "\n", "<", ">"}
        assert answer.rpartition("@")[2].isascii()


def test_a_name_that_can_be_printed_holds_nothing_that_must_be_taken_out() -> None:
    """The short cut in salutation(), over every character that there is."""
    odd = [
        character
        for character in map(chr, range(sys.maxunicode + 1))
        if character.isprintable()
        and (odd_character(character, keep="") is not None or (character.isspace() and character != " "))
    ]
    assert odd == []


def test_blanks_in_a_name_are_one_blank_whichever_way_it_goes(house: House) -> None:
    for name in ("  Alex   Kim ", "\tAlex\r\n Kim", "Alex\u00a0\u2003Kim"):
        assert salutation(house.catalogue, language="en", name=name, form=None) == "Dear Alex Kim"
