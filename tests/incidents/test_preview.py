"""What the composer shows while the lead types."""

from datetime import datetime

from incident_center.db import Database
from incident_center.house import House
from incident_center.incidents.verbs import preview, script_for
from incident_center.states import Medium, Phase
from tests.incidents.scenes import declared, publication


def test_every_medium_is_shown_filled_in_the_readers_zone(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        incident = declared(session, house, now=now)
        shown = preview(
            session,
            house=house,
            incident=incident,
            publication=publication(house, incident, now=now),
            language="de",
            zone="Europe/Berlin",
            now=now,
        )
    assert shown.flaws == ()
    assert set(shown.texts) == set(Medium) - {Medium.PAGE}
    assert "SEPA-Auszahlungen nach Deutschland" in shown.subject
    assert "14:30 Uhr (MEZ)" in shown.texts[Medium.SMS]
    assert shown.page is not None
    assert shown.sms is not None
    assert shown.sms.segments == 1
    assert "{" not in "".join(shown.texts.values())


def test_a_flaw_in_one_language_leaves_the_other_to_be_seen(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        incident = declared(session, house, now=now)
        words = script_for(house, incident, Phase.INVESTIGATING)
        words["en"] = words["en"].model_copy(update={"phone": "{oops}"})
        typed = publication(house, incident, now=now, words=words)
        shown = {
            language: preview(
                session,
                house=house,
                incident=incident,
                publication=typed,
                language=language,
                zone="Europe/Berlin",
                now=now,
            )
            for language in house.languages
        }
    assert shown["en"].texts == {}
    assert [flaw.field for flaw in shown["en"].flaws] == ["words.en.phone"]
    assert shown["de"].texts != {}


def test_without_a_time_of_the_next_update_only_that_is_said(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        incident = declared(session, house, now=now)
        typed = publication(house, incident, now=now, next_update_by=None)
        shown = preview(
            session,
            house=house,
            incident=incident,
            publication=typed,
            language="en",
            zone="Europe/Berlin",
            now=now,
        )
    assert [(flaw.field, flaw.code) for flaw in shown.flaws] == [("next_update_by", "missing")]
    assert shown.texts == {}
