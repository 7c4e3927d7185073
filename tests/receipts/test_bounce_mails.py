"""Mails that came back: read as servers write them, believed only as far as they can be about a letter of ours."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from incident_center.cli import cli
from incident_center.config import Settings
from incident_center.db import Database
from incident_center.delivery.bounce_mail import keep_returned_mail
from incident_center.delivery.bounces import Returned, read_returned
from incident_center.delivery.links import unsubscribe_url
from incident_center.house import House
from incident_center.models import Delivery
from incident_center.states import DeliveryState
from tests.builders import NOW, a_subscriber
from tests.receipts.cast import PUBLIC_URL, a_row, an_update, letter_of, reasons, the_row

pytestmark = pytest.mark.one_database
S = DeliveryState
OLIVIA = "o'brien+payout@example.com"
OURS = "<update.1795179420.3.7@status.example.com>"
LINK = "https://status.example.com/u/7.sig"


_AS_POSTFIX = """\
Return-Path: <>
Date: Fri, 20 Nov 2026 13:59:08 +0100 (CET)
From: MAILER-DAEMON@relay.example.net (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: status@example.com
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="4C5D51C0A2.1795179548/relay.example.net"
Message-Id: <20261120125908.7A3421C0A5@relay.example.net>

This is a MIME-encapsulated message.

--4C5D51C0A2.1795179548/relay.example.net
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

This is the mail system at host relay.example.net.

--4C5D51C0A2.1795179548/relay.example.net
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.example.net
X-Postfix-Queue-ID: 4C5D51C0A2
Arrival-Date: Fri, 20 Nov 2026 13:59:07 +0100 (CET)

Final-Recipient: rfc822; {recipient}
{first}Action: {action}
Status: {status}
Remote-MTA: dns; mx.example.com
Diagnostic-Code: {words}

--4C5D51C0A2.1795179548/relay.example.net
Content-Description: Undelivered Message Headers
Content-Type: {returned}

Received: from app (localhost [127.0.0.1]) by relay.example.net
To: {olivia}
From: Example Pay <status@example.com>
Subject: Delayed: payouts
Message-ID: {letter}
List-Unsubscribe: <{link}>

--4C5D51C0A2.1795179548/relay.example.net--
"""


def a_report(
    letter: str = OURS,
    *,
    recipient: str = OLIVIA,
    action: str = "failed",
    status: str = "5.1.1",
    words: str = "smtp; 550 5.1.1 <o'brien+payout@example.com>: Recipient address rejected: User unknown",
    returned: str = "text/rfc822-headers",
    original: str = "",
    link: str = LINK,
) -> bytes:
    """As Postfix writes it."""
    first = f"Original-Recipient: rfc822;{original}\n" if original else ""
    lines = _AS_POSTFIX.format(
        first=first,
        recipient=recipient,
        action=action,
        status=status,
        words=words,
        returned=returned,
        olivia=OLIVIA,
        letter=letter,
        link=link,
    )
    return lines.replace("\n", "\r\n").encode()


def a_complaint(letter: str = OURS, *, kind: str = "abuse", to: str = OLIVIA, link: str = LINK) -> bytes:
    """As RFC 5965 shows it."""
    return f"""\
From: <abusedesk@example.com>
Date: Fri, 20 Nov 2026 13:58:00 +0100
Subject: FW: Delayed: payouts
To: <abuse@example.com>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="part1_13d.2e68ed54_boundary"

--part1_13d.2e68ed54_boundary
Content-Type: text/plain; charset="US-ASCII"

This is an email abuse report.
--part1_13d.2e68ed54_boundary
Content-Type: message/feedback-report

Feedback-Type: {kind}
User-Agent: SomeGenerator/1.0
Version: 1
Original-Mail-From: <status@example.com>
Original-Rcpt-To: <{to}>

--part1_13d.2e68ed54_boundary
Content-Type: message/rfc822
Content-Disposition: inline

From: Example Pay <status@example.com>
To: <{to}>
Subject: Delayed: payouts
Message-ID: {letter}
List-Unsubscribe: <{link}>

The words of the letter.
--part1_13d.2e68ed54_boundary--
""".encode()


def keep(database: Database, house: House, raw: bytes) -> int:
    with database.transaction() as session:
        return keep_returned_mail(session, house=house, raw=raw, now=NOW)


def told(database: Database) -> tuple[DeliveryState, list[str]]:
    with database.reading() as session:
        return the_row(session).state, reasons(session)


@pytest.mark.parametrize("returned", ["text/rfc822-headers", "message/rfc822", "message/global-headers"])
def test_a_report_is_read(returned: str) -> None:
    [one] = read_returned(a_report(returned=returned, original=OLIVIA))
    assert (one.kind, one.message_id, one.status, one.is_gone) == ("failed", OURS, "5.1.1", True)
    assert set(one.recipients) == {OLIVIA}
    assert one.words.startswith("550 5.1.1")
    assert one.at is not None
    assert one.at.isoformat() == "2026-11-20T12:59:08+00:00"


@pytest.mark.parametrize(
    ("status", "words", "found", "gone"),
    [
        ("5.1.10", "smtp; 550 5.1.10 RESOLVER.ADR.RecipientNotFound", "5.1.10", True),
        ("5.0.0", "smtp; 550-5.1.1 The email account does not exist", "5.1.1", True),
        ("5.0.0", "X-Postfix; unknown user", "5.0.0", False),
        ("5.7.1", "smtp; 550 5.7.1 blocked by policy", "5.7.1", False),
        ("5.2.2", "smtp; 552 5.2.2 mailbox full", "5.2.2", False),
        ("5.2.1", "smtp; 550-5.2.1 The email account that you tried to reach is inactive.", "5.2.1", True),
        ("5.2.1", "smtp; 550 5.2.1 Mailbox disabled", "5.2.1", True),
        (
            "5.2.1",
            "smtp; 550-5.2.1 The user you are trying to contact is receiving mail at a rate that",
            "5.2.1",
            False,
        ),
        ("4.4.1", "smtp; 451 4.4.1 then 5.1.1", "4.4.1", False),
        ("5.4.4 (unable to route)", "", "5.4.4", False),
        ("", "", "", False),
    ],
)
def test_only_a_mailbox_that_is_gone_is_for_good(status: str, words: str, found: str, gone: bool) -> None:
    [one] = read_returned(a_report(status=status, words=words))
    assert (one.status, one.is_gone) == (found, gone)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe\x00",
        b"Subject: Out of office\n\nBack on Monday.\n",
        a_report(action="relayed"),
        a_report(letter=""),
        a_report().replace(b"rfc822;", b"x400;"),
        a_report().replace(b"text/rfc822-headers", b"text/plain"),
        a_report().replace(b"message/delivery-status", b"text/plain"),
        a_complaint(kind="not-spam"),
        a_complaint(kind="auth-failure"),
    ],
    ids=range(10),
)
def test_other_mails_say_nothing(raw: bytes) -> None:
    assert read_returned(raw) == []


@given(
    st.sampled_from([a_report(), a_complaint()]),
    st.lists(st.tuples(st.integers(0, 3000), st.binary(max_size=3), st.integers(0, 40)), max_size=6),
)
def test_a_broken_mail_breaks_nothing(raw: bytes, damage: list[tuple[int, bytes, int]]) -> None:
    for place, instead, length in damage:
        raw = raw[:place] + instead + raw[place + length :]
    assert all(isinstance(one, Returned) for one in read_returned(raw))


@pytest.mark.parametrize(
    ("report", "state", "reason"),
    [
        ({}, S.BOUNCED, ["bounce"]),
        ({"status": "5.7.1", "words": "smtp; 550 5.7.1 no"}, S.BOUNCED, []),
        ({"action": "delayed", "status": "4.4.1", "words": ""}, S.ACCEPTED, []),
        ({"action": "delivered", "status": "2.0.0", "words": ""}, S.DELIVERED, []),
        ({"recipient": "forwarded@elsewhere.example", "original": OLIVIA}, S.BOUNCED, ["bounce"]),
        ({"recipient": "somebody.else@example.com"}, S.BOUNCED, ["bounce"]),
        ({"recipient": "somebody.else@example.com", "link": LINK}, S.ACCEPTED, []),
        ({"link": LINK}, S.BOUNCED, []),
        ({"link": ""}, S.BOUNCED, []),
        ({"letter": "<update.1.1.1@status.example.com>"}, S.ACCEPTED, []),
        ({"letter": "<20261120.1@elsewhere.example>"}, S.ACCEPTED, []),
    ],
)
def test_a_report_about_our_letter_is_applied_once(
    database: Database,
    house: House,
    letter: Delivery,
    report: dict[str, str],
    state: DeliveryState,
    reason: list[str],
) -> None:
    given = {"letter": letter_of(letter), "link": unsubscribe_url(house, letter.subscriber_id)}
    raw = a_report(**(given | report))
    keep(database, house, raw)
    assert keep(database, house, raw) == 0
    assert told(database) == (state, reason)


def test_a_report_about_somebody_who_was_sent_nothing_is_not_believed(
    database: Database, house: House
) -> None:
    """Whoever knows how our Message-IDs are made can name a letter that was never sent."""
    with database.transaction() as session:
        update = an_update(session)
        victim = a_subscriber(session, email="victim@example.com")
        a_row(session, update, a_subscriber(session))
        unsent = letter_of(Delivery(update_id=update.id, subscriber_id=victim.id))
    keep(database, house, a_report(unsent, recipient="victim@example.com"))
    assert told(database) == (S.ACCEPTED, [])


def test_a_forged_bounce_of_another_reader_ends_no_subscription_and_the_true_one_does(
    database: Database, house: House, letter: Delivery
) -> None:
    """A reader of the same update knows all of the Message-ID but the number, and has a link of their own."""
    forged = a_report(letter_of(letter), link=unsubscribe_url(house, letter.subscriber_id + 1))
    assert keep(database, house, forged) == 1
    assert told(database) == (S.BOUNCED, []), "it is noted, and the address is written to again"
    true = a_report(letter_of(letter), link=unsubscribe_url(house, letter.subscriber_id))
    assert keep(database, house, true) == 1, "the forged one does not stand in its way"
    assert told(database) == (S.BOUNCED, ["bounce"])


@pytest.mark.parametrize("kind", ["abuse", "opt-out"])
def test_a_complaint_without_the_letters_own_link_is_not_believed(
    database: Database, house: House, letter: Delivery, kind: str
) -> None:
    """Whatever address it names: a forger names many."""
    other = unsubscribe_url(house, letter.subscriber_id + 1)
    for link in (LINK, other, "https://elsewhere.example/u/1.x", ""):
        assert keep(database, house, a_complaint(letter_of(letter), kind=kind, link=link)) == 0
    assert told(database) == (S.ACCEPTED, [])


@pytest.mark.parametrize("to", [OLIVIA, "redacted"])
def test_a_complaint_is_proved_by_the_letters_own_link(
    database: Database, house: House, letter: Delivery, to: str
) -> None:
    own = unsubscribe_url(house, letter.subscriber_id)
    assert keep(database, house, a_complaint(letter_of(letter), to=to, link=own)) == 1
    assert told(database) == (S.COMPLAINED, ["complaint"])


def test_an_opt_out_report_unsubscribes(database: Database, house: House, letter: Delivery) -> None:
    own = unsubscribe_url(house, letter.subscriber_id)
    assert keep(database, house, a_complaint(letter_of(letter), kind="opt-out", link=own)) == 1
    assert told(database) == (S.ACCEPTED, ["unsubscribed"])


@pytest.fixture
def environment(settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("INCIDENT_CENTER_")]:
        monkeypatch.delenv(name)
    given = {
        "DATABASE_URL": database_url,
        "DATA_DIR": str(settings.data_dir),
        "SECRET_KEY": settings.secret_key,
        "PUBLIC_URL": PUBLIC_URL,
        "COMPANY": settings.company,
    }
    for name, value in given.items():
        monkeypatch.setenv(f"INCIDENT_CENTER_{name}", value)


@pytest.mark.usefixtures("environment", "hands")
def test_the_mail_servers_pipe(database: Database, house: House, letter: Delivery) -> None:
    true = a_report(letter_of(letter), link=unsubscribe_url(house, letter.subscriber_id))
    done = CliRunner().invoke(cli, ["bounces"], input=true)
    assert done.exit_code == 0, done.output
    assert OLIVIA not in done.output
    assert told(database) == (S.BOUNCED, ["bounce"])
    assert CliRunner().invoke(cli, ["bounces"], input=b"Subject: hello\n\nhello\n").exit_code == 0


@pytest.mark.usefixtures("environment", "hands")
def test_a_maildir_is_read_and_tidied(
    database: Database, house: House, letter: Delivery, tmp_path: Path
) -> None:
    for name in ("new", "tmp", "cur"):
        (tmp_path / "mails" / name).mkdir(parents=True)
    true = a_report(letter_of(letter), link=unsubscribe_url(house, letter.subscriber_id))
    for number, raw in enumerate((true, b"Subject: hello\n\n", b"\xff")):
        (tmp_path / "mails" / "new" / f"179517954{number}.M1.host").write_bytes(raw)
    done = CliRunner().invoke(cli, ["bounces", "--maildir", str(tmp_path / "mails")])
    assert (done.exit_code, done.stdout) == (0, "3 mails read, 1 reports were news\n")
    assert not list((tmp_path / "mails" / "new").iterdir())
    assert len(list((tmp_path / "mails" / "cur").glob("*:2,S"))) == 3
    assert told(database) == (S.BOUNCED, ["bounce"])


@pytest.mark.usefixtures("environment")
def test_while_the_database_is_away_the_mail_server_keeps_the_mail(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("INCIDENT_CENTER_DATABASE_URL", f"sqlite:///{tmp_path}/empty.db")
    done = CliRunner().invoke(cli, ["bounces"], input=a_report())
    assert done.exit_code == os.EX_TEMPFAIL
    assert "OperationalError" in done.stderr
    monkeypatch.delenv("INCIDENT_CENTER_SECRET_KEY")
    assert CliRunner().invoke(cli, ["bounces"], input=a_report()).exit_code == os.EX_TEMPFAIL


def test_the_house_is_known_by_its_public_name(database: Database, house: House, letter: Delivery) -> None:
    moved = replace(house, settings=replace(house.settings, public_url="https://other.example.com"))
    assert keep(database, moved, a_report(letter_of(letter))) == 0
