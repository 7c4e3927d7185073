"""What a courier is given and what it answers: one letter, one honest outcome."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from incident_center.states import Channel

OutcomeState = Literal["accepted", "retry", "failed", "unknown"]
DETAIL_MAX = 300

_ADDRESS = re.compile(r"[^\s<>,;:\"]+@[^\s<>,;:\"]+")
_NUMBER = re.compile(r"\+?\d[\d\s().-]{5,}\d")
_ENDINGS = re.compile(r"\b[A-Za-z0-9_-]{24,}\b")


@dataclass(slots=True, kw_only=True)  # frozen would cost as much again as everything else about it
class Letter:
    """One message to one recipient, finished.

    `raw` is the whole e-mail but for its From line (the provider's own), CRLF, 7-bit; only couriers that say
    `wants_raw` get it, the others take `subject`, `text` and `html`. `message_id` stays the same however
    often the letter is tried, so that mail systems can drop a copy. `dotless` says that no line of `raw` begins
    with a dot and that it ends with a line end, so that it can go out as it is.
    """

    key: int
    channel: Channel
    to: str
    message_id: str = ""
    subject: str | None = None
    text: str = ""
    html: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes = b""
    dotless: bool = False


@dataclass(slots=True, kw_only=True)  # frozen would cost as much again as everything else about it
class Outcome:
    """What became of one letter.

    accepted: the provider has it. retry: it certainly has not, try later. failed: it certainly has not and
    never will. unknown: it may have it. `provider_wide`: the refusal is not about this recipient (bad
    login, policy, unreachable), so nobody is suppressed for it and the provider is rested. `suppress`: the
    mailbox does not exist. `detail` holds the provider's words without addresses. `retry_after` is in
    seconds.
    """

    state: OutcomeState
    code: str = ""
    detail: str = ""
    provider_ref: str | None = None
    suppress: bool = False
    provider_wide: bool = False
    retry_after: float | None = None


def scrub(words: str) -> str:
    """A provider's words without addresses, numbers and tokens, short enough for the ledger.

    Nothing is left in them that a database refuses: PostgreSQL takes no NUL, and no database half a character.
    """
    if not words.isprintable():
        words = "".join(one for one in words if one.isprintable() or one.isspace())
    line = " ".join(words.split())
    line = _ADDRESS.sub("<address>", line)
    line = _ENDINGS.sub("<id>", line)
    return _NUMBER.sub("<number>", line)[:DETAIL_MAX]
