"""Files of subscribers: a bad line is named, a good one is taken, nobody who left is brought back."""

import io
from collections.abc import Iterator
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from incident_center.audience.imports import BATCH
from incident_center.audience.verbs import (
    ImportReport,
    export_rows,
    import_csv,
    open_csv,
    unsubscribe,
    write_csv,
)
from incident_center.db import Database
from incident_center.errors import Refused
from incident_center.house import House
from incident_center.models import AuditEntry, Subscriber
from incident_center.states import Channel, FormOfAddress, MessageKind, SubscriberState
from tests.audience.cast import ANNA, PHONE, mail
from tests.builders import a_component, a_subscriber


def take(
    database: Database, house: House, text: str | bytes, now: datetime, *, confirmed: bool = True
) -> ImportReport:
    content = text.encode() if isinstance(text, str) else text
    return import_csv(
        database,
        house=house,
        stream=io.BytesIO(content),
        confirmed=confirmed,
        by="command line",
        clock=lambda: now,
    )


def test_good_lines_are_taken_and_bad_ones_named_with_number_and_reason(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        a_component(session, "cards")
    text = (
        "email,phone,channel,language,zone,name,form,components\n"
        f"{ANNA},,,de,Europe/Berlin,Anna Berg,ms,cards\n"
        "not an address,,,de,,,,\n"
        f",{PHONE},sms,en,Mars/Base,,,\n"
        "\n"
        "o'brien+payout@example.com,,email,en,Europe/London,\"O'Brien, Olivia\",,all\n"
        "b@x.example,,,en,,,,nothing\n"
        "c@x.example,en\n"
        ",+12125550123,,en,America/New_York,,,\n"
    )
    report = take(database, house, text, now)
    assert report.taken == 3
    assert [(bad.number, bad.field) for bad in report.bad] == [
        (3, "email"),
        (4, "zone"),
        (7, "components"),
        (8, "line"),
    ]
    assert str(report.bad[2]) == "line 7: components: there is no component 'nothing'"
    with database.reading() as session:
        anna, olivia, mai = session.scalars(select(Subscriber).order_by(Subscriber.id))
        assert (anna.language, anna.form, anna.all_components) == ("de", FormOfAddress.MS, False)
        assert anna.state is SubscriberState.CONFIRMED
        assert (olivia.email, olivia.name) == ("o'brien+payout@example.com", "O'Brien, Olivia")
        assert (mai.channel, mai.phone) == (Channel.SMS, "+12125550123")
        [entry] = session.scalars(select(AuditEntry))
        assert entry.detail == {"taken": 3, "confirmed": True}


def test_people_whom_nobody_vouches_for_are_asked_first(
    database: Database, house: House, now: datetime
) -> None:
    report = take(database, house, f"email,phone\n{ANNA},{PHONE}\n,{PHONE}\n", now, confirmed=False)
    assert (report.taken, [bad.field for bad in report.bad]) == (1, ["phone"])
    with database.reading() as session:
        person = session.scalars(select(Subscriber)).one()
        assert (person.state, person.phone) == (SubscriberState.PENDING, None)
        assert [message.kind for message in mail(session)] == [MessageKind.CONFIRM]


def test_an_import_never_brings_back_who_left_nor_changes_who_is_there(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        left = a_subscriber(session, email=ANNA)
        unsubscribe(session, house=house, subscriber_id=left.id, now=now)
        a_subscriber(session, email="here@x.example", language="en")
    text = f"email,language\n{ANNA.upper()},de\nHERE@x.example,de\nnew@x.example,de\nNew@x.example,en\n"
    report = take(database, house, text, now)
    assert (report.taken, report.known, report.suppressed, report.bad) == (1, 2, 1, [])
    with database.reading() as session:
        by_key = {person.email_key: person for person in session.scalars(select(Subscriber))}
        assert by_key[ANNA].state is SubscriberState.UNSUBSCRIBED
        assert by_key["here@x.example"].language == "en"


def test_the_same_file_twice_changes_nothing(database: Database, house: House, now: datetime) -> None:
    text = "email\n" + "".join(f"reader{number}@x.example\n" for number in range(BATCH + 20))
    assert take(database, house, text, now).taken == BATCH + 20
    again = take(database, house, text, now)
    assert (again.taken, again.known) == (0, BATCH + 20)
    with database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Subscriber)) == BATCH + 20


def test_what_spreadsheets_write_is_read(database: Database, house: House, now: datetime) -> None:
    text = f"\ufeffEmail;Name;Components\r\n{ANNA};Jürgen Groß;\r\n".encode()
    assert take(database, house, text, now).taken == 1
    latin = f"email;name\r\nb@x.example;{'Jürgen'}\r\nc@x.example;Ann\r\n".encode("latin-1")
    report = take(database, house, latin, now)
    assert (report.taken, report.bad[0].number) == (1, 2)
    assert "UTF-8" in report.bad[0].reason


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "file.empty"),
        ("name,language\n", "file.no_address_column"),
        ("email,phon\n", "file.unknown_column"),
        ("email,email\n", "file.repeated_column"),
    ],
)
def test_a_file_without_proper_columns_is_refused(text: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        list(open_csv(io.BytesIO(text.encode())))
    assert refused.value.flaws[0].code == code


def test_lines_are_read_one_by_one() -> None:
    """A file of any length: reading the first line must not read the rest."""

    class Endless(io.RawIOBase):
        given = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: object) -> int:
            view = memoryview(buffer)  # type: ignore[arg-type]  # the buffer that RawIOBase.read hands in
            chunk = (b"email\n" + b"a@x.example\n" * 8000)[: len(view)]
            view[: len(chunk)] = chunk
            self.given += 1
            return len(chunk)

    source = Endless()
    lines: Iterator[object] = open_csv(io.BufferedReader(source))
    next(lines)
    assert source.given < 5


def test_a_second_address_is_taken_over_only_where_the_company_vouches_for_it(
    database: Database, house: House, now: datetime
) -> None:
    head = "email,phone,channel,fallback\n"
    lines = "a@x.example,+12125550101,sms,Yes\nb@x.example,+12125550102,,no\nc@x.example,+12125550103,,\n"
    bad = take(database, house, head + "d@x.example,,,yes\ne@x.example,+12125550105,,perhaps\n", now).bad
    assert [(line.number, line.field) for line in bad] == [(2, "fallback"), (3, "fallback")]
    assert take(database, house, head + lines, now).taken == 3
    unsure = take(database, house, head + "f@x.example,+12125550106,,yes\n", now, confirmed=False)
    assert unsure.taken == 1
    with database.reading() as session:
        second = {person.email: person for person in session.scalars(select(Subscriber))}
    assert second["a@x.example"].channel is Channel.SMS
    since = {email: person.fallback_since for email, person in second.items()}
    assert since == {"a@x.example": now, "b@x.example": None, "c@x.example": None, "f@x.example": None}
    assert second["f@x.example"].phone is None


def test_an_export_reads_back_as_the_same_people(database: Database, house: House, now: datetime) -> None:
    with database.transaction() as session:
        cards = a_component(session, "cards")
        a_subscriber(session, email="=cmd@x.example", name="O'Brien, Olivia", form=FormOfAddress.MS)
        a_subscriber(session, phone=PHONE, language="de", components=[cards])
        a_subscriber(session, email="left@x.example", state=SubscriberState.UNSUBSCRIBED)
        a_subscriber(session, email="both@x.example", phone="+12125550123", fallback_since=now)
        a_subscriber(session, email="before@x.example", phone="+12125550199")  # its number allows nothing
    with database.reading() as session:
        before = list(export_rows(session))
    text = "".join(write_csv(before))
    assert "\n=" not in text
    assert "left@x.example" not in text
    with database.transaction() as session:
        for person in session.scalars(select(Subscriber)):
            person.email = person.email_key = person.phone = None
    assert take(database, house, text, now).taken == 4
    assert [row["fallback"] for row in before] == ["", "", "yes", ""]
    with database.reading() as session:
        assert list(export_rows(session)) == before


_CELL = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\n\x00"), max_size=30).map(
    str.strip
)


@given(st.lists(st.tuples(_CELL, _CELL), min_size=1, max_size=5))
def test_every_cell_survives_writing_and_reading(cells: list[tuple[str, str]]) -> None:
    rows = [{"email": f"x{email}", "name": name} for email, name in cells if not name.startswith("'")]
    text = "".join(write_csv(rows)).encode()
    read = [line.cells for line in open_csv(io.BytesIO(text))]
    assert [(cells["email"], cells["name"]) for cells in read] == [(r["email"], r["name"]) for r in rows]
