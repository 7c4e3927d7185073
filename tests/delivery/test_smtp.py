"""Every fault at every step of an SMTP conversation ends in one honest outcome."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest
from aiosmtpd.smtp import AuthResult

from incident_center.config import Settings
from incident_center.delivery.courier import SmtpCourier
from incident_center.delivery.letters import header, quoted, raw_email
from incident_center.delivery.outcome import Letter, Outcome
from incident_center.delivery.transports.smtp_replies import message_refused, recipient_refused
from incident_center.delivery.transports.smtp_url import smtp_server
from incident_center.delivery.transports.smtp_wire import stuffed
from incident_center.states import Channel
from tests.builders import NOW
from tests.delivery.servers import DROP, HANG, Mailhost, mailhost, plain, wrong_password

pytestmark = pytest.mark.one_database


def a_letter(to: str = "reader@example.com", text: str = "Payouts are delayed.", key: int = 1) -> Letter:
    identity = f"<update.1.1.{key}@status.example.com>"
    raw = raw_email(
        to=to,
        subject=header("Subject", "Verzögert: Auszahlungen"),
        message_id=identity,
        date=NOW,
        headers={},
        text=quoted(text),
        html=None,
    )
    return Letter(key=key, channel=Channel.EMAIL, to=to, message_id=identity, raw=raw)


@pytest.fixture
def courier(settings: Settings, smtp: Mailhost) -> Iterator[SmtpCourier]:
    made = SmtpCourier("email 1 smtp", smtp_server(settings, smtp.url))
    yield made
    made.close()


@pytest.fixture
def hasty_courier(settings: Settings, smtp: Mailhost) -> Iterator[SmtpCourier]:
    made = SmtpCourier("email 1 smtp", smtp_server(settings, smtp.hasty_url))
    yield made
    made.close()


def send(courier: SmtpCourier, *letters: Letter) -> list[Outcome | None]:
    return courier.send(letters, lambda: True)


def send_one(courier: SmtpCourier, letter: Letter | None = None) -> Outcome:
    (outcome,) = send(courier, letter or a_letter())
    assert outcome is not None
    return outcome


def at(step: str, answer: str) -> object:
    return lambda here, _: answer if here == step else None


def test_an_accepted_message_carries_one_of_each_header_and_the_reference_of_the_server(
    courier: SmtpCourier, smtp: Mailhost
) -> None:
    outcome = send_one(courier)
    assert (outcome.state, outcome.code, outcome.provider_ref) == ("accepted", "250", "Q00001")
    (mail,) = smtp.mails
    for name in ("From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Auto-Submitted"):
        assert len(mail.message.get_all(name, [])) == 1, name
    assert mail.message["Subject"] == "Verzögert: Auszahlungen"
    assert mail.message["From"] == "Example Pay <status@pay.example>"
    assert mail.message["Message-ID"] == "<update.1.1.1@status.example.com>"
    assert plain(mail.message).strip() == "Payouts are delayed."


@pytest.mark.parametrize(
    ("step", "answer", "state", "provider_wide", "suppress"),
    [
        ("mail", "421 4.3.2 closing", "retry", True, False),
        ("mail", "451 4.3.0 try later", "retry", True, False),
        ("mail", "550 5.7.1 sender blocked", "retry", True, False),
        ("mail", DROP, "retry", True, False),
        ("rcpt", "450 4.2.1 greylisted", "retry", False, False),
        ("rcpt", "421 4.3.2 closing", "retry", True, False),
        ("rcpt", "550 5.1.1 no such user", "failed", False, True),
        ("rcpt", "550 mailbox unavailable", "failed", False, False),
        ("rcpt", "552 5.2.2 mailbox full", "failed", False, False),
        ("rcpt", "550 5.7.1 relaying denied", "retry", True, False),
        ("rcpt", "530 5.7.0 log in first", "retry", True, False),
        ("rcpt", "550 relay not permitted", "retry", True, False),
        ("rcpt", "554 <reader@example.com>: Relaying denied", "retry", True, False),
        ("rcpt", "550 relay.example.com says there is no such user", "failed", False, False),
        ("rcpt", "550 5.2.1 The account is disabled", "failed", False, True),
        ("rcpt", "550 5.2.1 The user is receiving mail at a rate that is too high", "failed", False, False),
        ("rcpt", DROP, "retry", True, False),
        ("body", DROP, "retry", True, False),
        ("dot", "451 4.3.0 try later", "retry", False, False),
        ("dot", "554 5.6.0 content refused", "failed", False, False),
        ("dot", "554 Message rejected: Email address is not verified", "retry", True, False),
        ("dot", "550 5.7.1 looks like spam", "retry", True, False),
        ("dot", "421 4.3.2 shutting down", "retry", True, False),
        ("dot", DROP, "unknown", False, False),
    ],
)
def test_each_fault_is_told_apart(
    courier: SmtpCourier,
    smtp: Mailhost,
    step: str,
    answer: str,
    state: str,
    provider_wide: bool,
    suppress: bool,
) -> None:
    smtp.replies = at(step, answer)  # type: ignore[assignment]
    # Longer than what the network takes in at once, so that a drop in the body is noticed in the body.
    outcome = send_one(courier, a_letter(text="news " * 1_000_000 if step == "body" else "news"))
    assert (outcome.state, outcome.provider_wide, outcome.suppress) == (state, provider_wide, suppress)
    assert outcome.code
    smtp.replies = lambda *_: None
    assert send_one(courier, a_letter("next@example.com", key=2)).state == "accepted"


@pytest.mark.parametrize(
    ("step", "state", "provider_wide"), [("mail", "retry", True), ("dot", "unknown", False)]
)
def test_a_server_that_says_nothing_is_not_waited_for_without_end(
    hasty_courier: SmtpCourier, smtp: Mailhost, step: str, state: str, provider_wide: bool
) -> None:
    smtp.replies = at(step, HANG)  # type: ignore[assignment]
    outcome = send_one(hasty_courier)
    assert (outcome.state, outcome.provider_wide, outcome.suppress) == (state, provider_wide, False)
    assert outcome.code
    smtp.replies = lambda *_: None
    assert send_one(hasty_courier, a_letter("next@example.com", key=2)).state == "accepted"


def test_a_server_that_is_not_there_is_tried_once_for_a_whole_batch(settings: Settings) -> None:
    courier = SmtpCourier("email 1 smtp", smtp_server(settings, "smtp://127.0.0.1:9?from=a@b.example"))
    first, *others = send(courier, *(a_letter(key=key) for key in range(5)))
    assert first is not None
    assert (first.state, first.code, first.provider_wide) == ("retry", "connect", True)
    assert others == [None] * 4


def test_a_batch_goes_over_one_connection_and_each_recipient_has_an_outcome_of_their_own(
    courier: SmtpCourier, smtp: Mailhost
) -> None:
    smtp.replies = lambda step, to: (
        "550 5.1.1 no such user" if step == "rcpt" and to.startswith("gone") else None
    )
    letters = [a_letter("one@example.com"), a_letter("gone@example.com"), a_letter("two@example.com")]
    states = [outcome.state for outcome in send(courier, *letters) if outcome]
    assert states == ["accepted", "failed", "accepted"]
    assert smtp.recipients() == ["one@example.com", "two@example.com"]
    assert smtp.connections == 1


def test_after_a_lost_answer_the_rest_of_the_batch_is_not_put_at_the_same_risk(
    hasty_courier: SmtpCourier, smtp: Mailhost
) -> None:
    smtp.replies = at("dot", HANG)  # type: ignore[assignment]
    first, second = send(hasty_courier, a_letter("one@example.com"), a_letter("two@example.com"))
    assert first is not None
    assert (first.state, first.code) == ("unknown", "timeout-after-dot")
    assert second is None


def test_a_connection_that_the_server_has_closed_meanwhile_is_opened_again(
    courier: SmtpCourier, smtp: Mailhost
) -> None:
    assert send_one(courier).state == "accepted"
    busy: list[str] = ["421 4.4.2 idle for too long"]
    smtp.replies = lambda step, _: busy.pop() if step == "mail" and busy else None
    assert send_one(courier, a_letter(key=2)).state == "accepted"
    assert smtp.connections == 2


def test_three_refusals_in_a_row_that_are_not_about_a_recipient_end_the_batch(
    settings: Settings, smtp: Mailhost
) -> None:
    courier = SmtpCourier("email 1 smtp", smtp_server(settings, smtp.url + "&connections=1"))
    smtp.replies = at("rcpt", "550 5.7.1 blocked")  # type: ignore[assignment]
    outcomes = send(courier, *(a_letter(key=key) for key in range(6)))
    courier.close()
    assert [outcome is None for outcome in outcomes] == [False, False, False, True, True, True]


def test_nothing_is_sent_once_the_lease_is_lost(courier: SmtpCourier, smtp: Mailhost) -> None:
    allowed = [True, False, False]
    outcomes = courier.send([a_letter(key=key) for key in range(3)], lambda: allowed.pop(0))
    assert [outcome is None for outcome in outcomes] == [False, True, True]
    assert len(smtp.mails) == 1


def test_details_hold_no_addresses(courier: SmtpCourier, smtp: Mailhost) -> None:
    smtp.replies = at("rcpt", "550 5.1.1 <reader@example.com>: +49 151 12345678 unknown")  # type: ignore[assignment]
    assert send_one(courier).detail == "5.1.1 <<address>>: <number> unknown"


@pytest.mark.parametrize("text", [".", "..", ".\n.", "a\n.\nb", "line\n..dots\n.", "", "ä" * 200])
def test_dots_and_umlauts_arrive_as_they_were_written(
    courier: SmtpCourier, smtp: Mailhost, text: str
) -> None:
    assert send_one(courier, a_letter(text=text)).state == "accepted"
    assert plain(smtp.mails[0].message).rstrip("\n") == text.rstrip("\n")


def test_stuffing_doubles_every_leading_dot_and_ends_the_line() -> None:
    assert stuffed(b".\r\na\r\n..") == b"..\r\na\r\n...\r\n"


def test_an_umlaut_domain_is_written_to_in_ascii(courier: SmtpCourier, smtp: Mailhost) -> None:
    assert send_one(courier, a_letter("juergen@müller.example")).state == "accepted"
    assert smtp.recipients() == ["juergen@xn--mller-kva.example"]


def test_an_umlaut_before_the_at_sign_needs_a_server_that_takes_it(
    courier: SmtpCourier, smtp: Mailhost, settings: Settings
) -> None:
    assert send_one(courier, a_letter("jürgen@müller.example")).state == "accepted"
    assert smtp.recipients() == ["jürgen@xn--mller-kva.example"]
    with mailhost(utf8=False) as old:
        plain_courier = SmtpCourier("email 1 smtp", smtp_server(settings, old.url))
        outcome = send_one(plain_courier, a_letter("jürgen@müller.example"))
        plain_courier.close()
    assert (outcome.state, outcome.code, outcome.suppress) == ("failed", "5.6.7", False)


@pytest.mark.parametrize(
    "address", ["", "no-at", "a@b>\r\nRCPT TO:<c@d.example", "a b@c.example", "a@b c.example"]
)
def test_what_is_no_address_never_reaches_the_wire(
    courier: SmtpCourier, smtp: Mailhost, address: str
) -> None:
    letter = Letter(key=1, channel=Channel.EMAIL, to=address, raw=b"Subject: x\r\n\r\nx\r\n")
    assert send_one(courier, letter).state == "failed"
    assert "rcpt" not in smtp.seen


def test_a_wrong_password_is_the_providers_fault_and_nobodys_address(settings: Settings) -> None:
    with mailhost(auth_required=False, auth_require_tls=False, authenticator=wrong_password) as host:
        url = host.url.replace("smtp://", "smtp://user:secret@") + "&tls=none"
        courier = SmtpCourier("email 1 smtp", smtp_server(settings, url))
        outcome = send_one(courier)
        courier.close()
    assert (outcome.state, outcome.provider_wide, outcome.suppress) == ("retry", True, False)
    assert outcome.code.startswith("535")
    assert "secret" not in outcome.detail


def test_a_password_is_not_sent_in_the_clear(settings: Settings) -> None:
    with mailhost(auth_require_tls=False, authenticator=lambda *_: AuthResult(success=True)) as host:
        url = host.url.replace("smtp://", "smtp://user:secret@")
        courier = SmtpCourier("email 1 smtp", smtp_server(settings, url))
        outcome = send_one(courier)
        courier.close()
    assert (outcome.state, outcome.code) == ("retry", "tls")
    assert host.mails == []


def test_a_certificate_that_nobody_vouches_for_is_refused(settings: Settings) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with mailhost(tls_context=context) as host:
        courier = SmtpCourier("email 1 smtp", smtp_server(settings, host.url))
        outcome = send_one(courier)
        courier.close()
    assert (outcome.state, outcome.code, outcome.provider_wide) == ("retry", "tls", True)
    assert host.mails == []


@pytest.mark.parametrize("code", [-1, 200, 354, 999])
def test_a_reply_that_makes_no_sense_counts_as_refused_before_the_dot_and_as_unknown_after_it(
    code: int,
) -> None:
    assert recipient_refused(code, b"what?").state == "retry"
    assert message_refused(code, b"what?").state == "unknown"
