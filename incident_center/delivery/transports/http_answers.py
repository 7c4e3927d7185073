"""What an HTTP status means for one message, where the provider's own code says nothing more exact."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from incident_center.delivery.outcome import Outcome, scrub
from incident_center.delivery.retry import parse_retry_after
from incident_center.delivery.transports.http_line import HttpAnswer, Unanswered, Unsent

# A gateway asked the provider and lost the answer (520, 522 and 524 are Cloudflare's words for the same).
_ANSWER_LOST = frozenset({502, 504, 520, 522, 524})
# Not known there, no time for it, or nobody reached behind Cloudflare. Any other 5xx may come from a provider that
# had put the message into its queue before it failed.
_TOOK_NOTHING = frozenset({501, 503, 521, 523, 525, 526})
_BUSY = frozenset({408, 425, 429})


def by_status(answer: HttpAnswer, *, now: datetime, code: str = "", words: str = "") -> Outcome:
    """For every status but 2xx. Nothing here is the recipient's fault, so nobody is given up for it."""
    named = (f"{answer.status} {code}" if code else str(answer.status))[:24]
    said = scrub(words)
    if may_have_taken(answer.status):
        return Outcome(state="unknown", code=named, detail=said or lost_words(answer.status))
    return Outcome(
        state="retry",
        code=named,
        detail=said or _own_words(answer.status),
        provider_wide=True,
        retry_after=_wait(answer, now=now),
    )


def may_have_taken(status: int) -> bool:
    """Whether the message may be on its way all the same."""
    return 500 <= status < 600 and status not in _TOOK_NOTHING


def lost_words(status: int) -> str:
    if status in _ANSWER_LOST:
        return "a gateway lost the provider's answer"
    return "the provider failed, and may have taken the message before"


def said_nothing(answer: HttpAnswer) -> Outcome:
    """A yes that names no message proves nothing: a captive portal says 200, too."""
    words = "the provider said yes but named no message"
    return Outcome(state="unknown", code=f"{answer.status} no-id", detail=words)


def unsent(error: Unsent) -> Outcome:
    return Outcome(state="retry", code=error.code, detail=error.words, provider_wide=True)


def unanswered(error: Unanswered) -> Outcome:
    return Outcome(state="unknown", code=error.code, detail=error.words)


def json_object(body: bytes) -> dict[str, Any]:
    """The body as a JSON object; empty for anything else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _wait(answer: HttpAnswer, *, now: datetime) -> float | None:
    if answer.status not in _BUSY | {503} or answer.retry_after is None:
        return None
    return parse_retry_after(answer.retry_after, now=now)


def _own_words(status: int) -> str:
    if 300 <= status < 400:
        return "the provider points elsewhere, and a message is not sent to where somebody points"
    if status in _BUSY or status >= 500:
        return "the provider is busy"
    if status in {401, 402, 403}:
        return "the provider refuses us: check the URL, the key and the account"
    return "the provider refused this request"
