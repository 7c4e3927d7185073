"""The welcome says how things stand: people subscribe when they are worried about their money."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy.orm import Session

from incident_center.audience.present import standing
from incident_center.audience.verbs import confirm_by_code, confirm_by_token, subscribe
from incident_center.db import Database
from incident_center.delivery.standing import State
from incident_center.house import House
from incident_center.incidents import questions
from incident_center.incidents.keeper import keep_promises
from incident_center.incidents.verbs import correction_script, set_component_status
from incident_center.models import Component, Incident, Message, Update
from incident_center.playbooks import count_sms
from incident_center.states import Channel, ComponentStatus, MessageKind, Phase, UpdateKind
from tests.audience.cast import ANNA, PHONE, a_wish, code_in, mail, token_in
from tests.builders import LEAD, a_component, a_subscriber, an_incident
from tests.incidents.scenes import declared, published

HEADLINE = {"en": "Delayed: SEPA payouts to Germany", "de": "Verzögert: SEPA-Auszahlungen nach Deutschland"}
ALL_WELL = {
    "en": "All payout routes that you follow are working normally.",
    "de": "Alle Auszahlungswege, über die wir Sie informieren, laufen normal.",
}
CHECKING = {
    "en": "We are looking into a problem",
    "de": "Wir gehen gerade einem Problem mit Auszahlungen nach",
}


def welcomed(
    session: Session,
    house: House,
    now: datetime,
    *,
    address: str = ANNA,
    language: str = "en",
    **parts: object,
) -> Message:
    """Somebody subscribes and says yes; answers the welcome that was queued for them."""
    request = a_wish(address, language=language, **parts)
    asked = subscribe(session, house=house, request=request, source="web", by=None, now=now)
    question = mail(session)[-1]
    if request.channel is Channel.EMAIL:
        confirm_by_token(session, house=house, token=token_in(question), now=now)
    else:
        answer = confirm_by_code(
            session, house=house, confirmation_id=asked.confirmation_id, code=code_in(question), now=now
        )
        assert answer.subscriber is not None
    [welcome] = [message for message in mail(session) if message.kind is MessageKind.WELCOME]
    return welcome


def an_open_incident(session: Session, house: House, now: datetime) -> tuple[Incident, Update]:
    """SEPA Instant and cards are down; the first update promises 14:30 in Berlin."""
    incident = declared(session, house, now=now)
    return incident, published(session, house, incident, now=now)


def corrected(session: Session, house: House, incident: Incident, wrong: Update, now: datetime) -> Update:
    return published(
        session,
        house,
        incident,
        now=now,
        kind=UpdateKind.CORRECTION,
        corrects_update_id=wrong.id,
        words=correction_script(house),
        answers={
            "wrong": {"en": "Cards are not affected.", "de": "Karten sind nicht betroffen."},
            "right": {"en": "Cards are delayed too.", "de": "Auch Karten sind verzögert."},
        },
        confirmed=frozenset(),
    )


@pytest.mark.parametrize(
    ("language", "as_of"), [("en", "Status at 2:00 pm CET"), ("de", "Stand: 14:00 Uhr (MEZ)")]
)
def test_while_all_is_well_the_letter_says_so_and_when_it_was_true(
    database: Database, house: House, now: datetime, language: str, as_of: str
) -> None:
    with database.transaction() as session:
        a_component(session)
        letter = welcomed(session, house, now, language=language)
        for body in (letter.text or "", letter.html or ""):
            assert ALL_WELL[language] in body
            assert as_of in body


@pytest.mark.parametrize(
    ("language", "said"),
    [("en", "Your payout routes are working normally."), ("de", "Ihre Auszahlungswege laufen normal.")],
)
def test_while_all_is_well_one_segment_of_sms_says_so(
    database: Database, house: House, now: datetime, language: str, said: str
) -> None:
    with database.transaction() as session:
        a_component(session)
        text = welcomed(session, house, now, address=PHONE, language=language).text or ""
        assert said in text
        assert "/m/" in text
        count = count_sms(text)
        assert (count.encoding, count.segments) == ("gsm7", 1)


@pytest.mark.parametrize("language", ["en", "de"])
def test_an_incident_without_words_is_neither_denied_nor_told(
    database: Database, house: House, now: datetime, language: str
) -> None:
    with database.transaction() as session:
        an_incident(session)
        text = welcomed(session, house, now, language=language).text or ""
        assert CHECKING[language] in text
        assert ALL_WELL[language] not in text
        sms = welcomed_by_sms(session, house, now, language)
        assert count_sms(sms).segments == 1


def welcomed_by_sms(session: Session, house: House, now: datetime, language: str) -> str:
    for message in mail(session):
        session.delete(message)
    return welcomed(session, house, now, address=PHONE, language=language).text or ""


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (ComponentStatus.PARTIAL_OUTAGE, State.CHECKING),
        (ComponentStatus.DEGRADED_PERFORMANCE, State.CHECKING),
        (ComponentStatus.UNDER_MAINTENANCE, State.MAINTENANCE),
        (ComponentStatus.OPERATIONAL, State.ALL_WELL),
    ],
)
def test_a_component_that_is_not_well_is_never_called_normal(
    database: Database, house: House, now: datetime, status: ComponentStatus, expected: State
) -> None:
    with database.transaction() as session:
        cards, wallet = a_component(session, "cards"), a_component(session, "wallet")
        set_component_status(session, component_id=cards.id, status=status, by=LEAD, now=now)
        everything = a_subscriber(session)
        others = a_subscriber(session, components=[wallet])
        found = standing(session, house=house, person=everything, now=now)
        assert found.state is expected
        assert found.worked_on == (("Card payouts",) if expected is State.MAINTENANCE else ())
        assert standing(session, house=house, person=others, now=now).state is State.ALL_WELL


def test_planned_work_is_named_and_not_called_a_problem(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        a_component(session, "cards", status=ComponentStatus.UNDER_MAINTENANCE)
        letter = welcomed(session, house, now, language="de")
        assert "geplante Arbeiten: Auszahlungen auf Karten." in (letter.text or "")
        sms = welcomed_by_sms(session, house, now, "de")
        assert "Geplante Arbeiten: Auszahlungen auf Karten." in sms


def test_what_concerns_other_components_does_not_worry_a_newcomer(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        an_open_incident(session, house, now)
        wallet = a_component(session, "wallet")
        letter = welcomed(session, house, now, component_ids=frozenset({wallet.id}))
        assert ALL_WELL["en"] in (letter.text or "")
        assert HEADLINE["en"] not in (letter.text or "")


@pytest.mark.parametrize(
    ("language", "zone", "facts"),
    [
        (
            "en",
            "America/New_York",
            [
                "Status at 8:00 am EST",
                "Since 7:40 am EST, SEPA payouts to Germany have been delayed or rejected.",
                "What you can do",
                "Please do not submit the same payout again",
                "Next update by 8:30 am EST",
            ],
        ),
        (
            "de",
            "Europe/Berlin",
            [
                "Stand: 14:00 Uhr (MEZ)",
                "Seit 13:40 Uhr (MEZ) verzögern sich SEPA-Auszahlungen nach Deutschland",
                "Was Sie tun können",
                "Bitte reichen Sie dieselbe Auszahlung nicht noch einmal ein",
                "Nächste Nachricht bis 14:30 Uhr (MEZ)",
            ],
        ),
    ],
)
def test_during_an_incident_the_letter_tells_it_in_the_readers_language_and_zone(
    database: Database, house: House, now: datetime, language: str, zone: str, facts: list[str]
) -> None:
    with database.transaction() as session:
        an_open_incident(session, house, now)
        letter = welcomed(session, house, now, language=language, zone=zone)
        for body in (letter.text or "", letter.html or ""):
            assert HEADLINE[language] in body
            assert all(fact in body for fact in facts), body
            assert ALL_WELL[language] not in body


def test_after_a_holding_update_a_newcomer_still_learns_what_the_matter_is(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        an_open_incident(session, house, now)
    now += timedelta(minutes=30)
    keep_promises(database, house, now=now)
    with database.transaction() as session:
        assert questions.open_promise(session, 1) is not None
        text = welcomed(session, house, now).text or ""
        assert HEADLINE["en"] in text
        assert "have been delayed or rejected" in text
        assert "Next update by 3:00 pm CET" in text, "the promise is the holding update's"
        assert "not forgotten you" not in text
        assert HEADLINE["en"] in welcomed_by_sms(session, house, now, "en")


@pytest.mark.parametrize(
    ("language", "heading", "right", "sms"),
    [
        (
            "en",
            "Correction to our update of 2:00 pm CET",
            "This is right: Cards are delayed too.",
            "corrected",
        ),
        (
            "de",
            "Berichtigung unserer Nachricht von 14:00 Uhr (MEZ)",
            "Richtig ist: Auch Karten",
            "berichtigt",
        ),
    ],
)
def test_after_a_correction_the_facts_come_with_what_was_wrong_in_them(
    database: Database, house: House, now: datetime, language: str, heading: str, right: str, sms: str
) -> None:
    with database.transaction() as session:
        incident, first = an_open_incident(session, house, now)
        corrected(session, house, incident, first, now + timedelta(minutes=5))
        now += timedelta(minutes=10)
        text = welcomed(session, house, now, language=language).text or ""
        assert text.index(HEADLINE[language]) < text.index(heading) < text.index(right)
        assert sms in welcomed_by_sms(session, house, now, language)


def test_what_a_newer_update_says_is_no_longer_corrected(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        incident, first = an_open_incident(session, house, now)
        corrected(session, house, incident, first, now + timedelta(minutes=5))
        now += timedelta(minutes=10)
        published(session, house, incident, now=now, phase=Phase.IDENTIFIED)
        text = welcomed(session, house, now).text or ""
        assert "Still delayed, repair under way: SEPA payouts to Germany" in text
        assert "Correction" not in text


def test_a_time_that_has_passed_is_not_promised(database: Database, house: House, now: datetime) -> None:
    with database.transaction() as session:
        an_open_incident(session, house, now)
        text = welcomed(session, house, now + timedelta(minutes=32)).text or ""
        assert HEADLINE["en"] in text
        assert "Next update by" not in text


def test_after_the_end_all_is_well_again(database: Database, house: House, now: datetime) -> None:
    with database.transaction() as session:
        incident, _ = an_open_incident(session, house, now)
        now += timedelta(minutes=20)
        published(session, house, incident, now=now, phase=Phase.RESOLVED)
        assert {one.status for one in session.query(Component)} == {ComponentStatus.OPERATIONAL}
        assert ALL_WELL["en"] in (welcomed(session, house, now).text or "")


@pytest.mark.parametrize("language", ["en", "de"])
def test_by_sms_the_headline_of_each_open_incident_fits_two_segments(
    database: Database, house: House, now: datetime, language: str
) -> None:
    with database.transaction() as session:
        an_open_incident(session, house, now)
        one = welcomed_by_sms(session, house, now, language)
        assert HEADLINE[language] in one.splitlines()
        assert count_sms(one).segments <= (1 if language == "en" else 2)
        for number in range(8):
            scope = {"scope": {"en": f"payouts of group {number}", "de": f"Auszahlungen der Gruppe {number}"}}
            other = declared(session, house, now=now + timedelta(minutes=number), answers=scope)
            published(session, house, other, now=now + timedelta(minutes=number))
        for message in mail(session):
            session.delete(message)
        many = welcomed(session, house, now, address="+4915123456780", language=language).text or ""
        count = count_sms(many)
        assert (count.encoding, count.segments) == ("gsm7", 2)
        assert {"en": "Delayed: payouts of group 7", "de": "Verzögert: Auszahlungen der Gruppe 7"}[
            language
        ] in many.splitlines()
        assert "..." in many
        assert "/m/" in many.splitlines()[-1], "the way to the settings is never cut"


def test_a_lead_s_markup_stays_text(database: Database, house: House, now: datetime) -> None:
    with database.transaction() as session:
        scope = {"scope": {"en": "<b>SEPA</b> & cards", "de": "<b>SEPA</b> & Karten"}}
        incident = declared(session, house, now=now, answers=scope)
        published(session, house, incident, now=now)
        letter = welcomed(session, house, now)
        assert "Delayed: <b>SEPA</b> & cards" in (letter.text or "")
        assert "Delayed: &lt;b&gt;SEPA&lt;/b&gt; &amp; cards" in (letter.html or "")
        assert "<b>SEPA" not in (letter.html or "")
