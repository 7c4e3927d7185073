"""What a mail server's replies and silences mean: one honest outcome each.

The rules of RFC 5321: until the final dot is sent, nothing was accepted; once it is sent, only the server's reply
can tell.
"""

from __future__ import annotations

import re

from incident_center.delivery.bounces import says_gone
from incident_center.delivery.outcome import Outcome, scrub

_BAD_DOMAIN = "5.1.2"  # a relay's own DNS may be what is wrong, so it suppresses nobody here
# A word of its own, and no part of a host's name.
_RELAYING = re.compile(r"(?<![\w.@-])relay(?:ing)?(?![\w-]|\.\w)", re.IGNORECASE)
_ENHANCED = re.compile(r"\b([245]\.\d{1,3}\.\d{1,3})\b")
_QUEUED_AS = re.compile(rb"(?:queued as|id=|Message accepted:)\s*<?([\w.@-]{4,100})", re.IGNORECASE)
_USUAL = re.compile(rb"queued as ([\w.@-]{4,100})")
_SHORTEST_REFERENCE = len("id=1234")


def lost(error: Exception, *, dot_sent: bool) -> Outcome:
    """The connection ended, or nothing came for too long."""
    # The system's words for a connection that ran into a time-out differ; they have these two in common.
    kind = "timeout" if "timed out" in str(error) else "lost"
    if dot_sent:
        words = "the connection ended after the message was sent and before the server's reply"
        return Outcome(state="unknown", code=f"{kind}-after-dot", detail=words)
    words = f"the connection ended before the message was complete ({type(error).__name__})"
    return Outcome(state="retry", code=kind, detail=words, provider_wide=True)


def unreachable(code: str, error: Exception) -> Outcome:
    return Outcome(
        state="retry", code=code, detail=scrub(str(error)) or type(error).__name__, provider_wide=True
    )


def _text(words: bytes | str) -> str:
    return words.decode("utf-8", "replace") if isinstance(words, bytes) else words


def _code(code: int, words: str) -> str:
    found = _ENHANCED.search(words[:20])
    return f"{code} {found.group(1)}" if found else str(code)


def provider_refused(code: int, words: bytes | str) -> Outcome:
    """A refusal before any recipient was named: it concerns us, not a customer. Tried again, nobody is
    given up."""
    said = _text(words)
    return Outcome(state="retry", code=_code(code, said), detail=scrub(said), provider_wide=True)


def recipient_refused(code: int, words: bytes | str) -> Outcome:
    """What a reply to RCPT TO other than 250 means."""
    said = _text(words)
    named = _code(code, said)
    enhanced = named.partition(" ")[2]
    if code == 421 or not 400 <= code <= 599 or _is_policy(code, enhanced, said):
        return Outcome(state="retry", code=named, detail=scrub(said), provider_wide=True)
    if code < 500:
        return Outcome(state="retry", code=named, detail=scrub(said))
    gone = enhanced != _BAD_DOMAIN and says_gone(enhanced, said)
    return Outcome(state="failed", code=named, detail=scrub(said), suppress=gone)


def message_refused(code: int, words: bytes | str) -> Outcome:
    """What a reply to DATA or to the final dot other than 250 means. It is never the recipient's fault, and a 554 that
    says no more is about us: SES says it to a sender that is not verified."""
    said = _text(words)
    named = _code(code, said)
    if not 400 <= code <= 599:
        return Outcome(state="unknown", code=named, detail="the server's reply makes no sense")
    if code == 421 or named == "554" or _is_policy(code, named.partition(" ")[2], said):
        return Outcome(state="retry", code=named, detail=scrub(said), provider_wide=True)
    return Outcome(state="retry" if code < 500 else "failed", code=named, detail=scrub(said))


def _is_policy(code: int, enhanced: str, said: str) -> bool:
    """Bad login or a policy of the provider: everybody would be refused, so nobody is given up for it. Servers without
    enhanced codes say in words that they do not relay for us."""
    if code in {530, 534, 535, 538} or enhanced.startswith("5.7."):
        return True
    return code >= 500 and not enhanced and _RELAYING.search(said) is not None


def reference(words: bytes) -> str | None:
    """The provider's own name for an accepted message. Called for each message, so the usual words come first."""
    if len(words) < _SHORTEST_REFERENCE:
        return None
    found = _USUAL.search(words) or _QUEUED_AS.search(words)
    return found.group(1).decode() if found else None
