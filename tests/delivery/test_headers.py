"""Whatever a lead types into a subject: one header line that says it, or a refusal; never a second header."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import default

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from incident_center.delivery.letters import header

pytestmark = pytest.mark.one_database


def _read(line: bytes) -> tuple[list[str], str]:
    mail = message_from_bytes(line + b"To: olivia@example.com\r\n\r\nbody\r\n", policy=default)
    return mail.keys(), mail["Subject"]


@pytest.mark.parametrize(
    "subject",
    [
        "Payouts\u00a0are late",  # a no-break space, as word processors paste it
        "We are back \U0001f468\u200d\U0001f469\u200d\U0001f467",  # an emoji held together by joiners
        "Auszahlungs\u00adverzug",
        "پرداخت\u200cها",  # Persian needs the non-joiner
        "Payouts at 15:00\u202fUhr",
    ],
)
def test_what_cannot_be_seen_costs_nobody_their_mail(subject: str) -> None:
    assert _read(header("Subject", subject)) == (["Subject", "To"], subject)


@given(st.text(max_size=300))
@example("Late\r\nBcc: everybody@example.com")
@example("Late\nBcc: everybody@example.com")
@example("Late\u2028Bcc: everybody@example.com")
@example("Late\x85Bcc: everybody@example.com")
@example("=?utf-8?q?Late=0D=0ABcc:_everybody@example.com?=")
def test_no_text_makes_a_second_header(subject: str) -> None:
    try:
        line = header("Subject", subject)
    except ValueError:
        return
    first, *more = line.removesuffix(b"\r\n").split(b"\r\n")
    assert first.startswith(b"Subject:")
    assert all(part.startswith((b" ", b"\t")) for part in more)
    assert not {b"\r", b"\n"} & {line.replace(b"\r\n", b"")[i : i + 1] for i in range(len(line))}
    assert _read(line)[0] == ["Subject", "To"]
