"""Letters that were handed over together: a ticket for their outcomes, and when to stop trying."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from incident_center.delivery.outcome import Letter, Outcome

MayGo = Callable[[], bool]

_GIVE_UP_AFTER = 3  # letters in a row without an answer, or with one that is not about a recipient
_STOPPERS = ("connect", "tls", "timeout")  # each of these costs seconds or minutes; the next one would too


class Posted:
    """The letters of one `post`, with one outcome for each of them, in their order.

    None says that a letter was not tried: `may_go` said no, or the provider was given up.
    """

    __slots__ = ("letters", "may_go", "outcomes", "refusals", "stopped", "waiting")

    def __init__(self, letters: Sequence[Letter], may_go: MayGo) -> None:
        self.letters = letters
        self.may_go = may_go
        self.outcomes: list[Outcome | None] = [None] * len(letters)
        self.waiting = len(letters)  # letters that are neither settled nor given back yet
        self.refusals = 0
        self.stopped = False

    def accept(self, place: int, outcome: Outcome) -> None:
        """The plain case, without the questions that the others raise."""
        self.outcomes[place] = outcome
        self.waiting -= 1
        self.refusals = 0

    def settle(self, place: int, outcome: Outcome) -> None:
        """The one outcome of one letter; what it says about the provider decides about the others."""
        if outcome.state == "accepted":
            self.accept(place, outcome)
            return
        self.outcomes[place] = outcome
        self.waiting -= 1
        unwell = outcome.provider_wide or outcome.state == "unknown"
        self.refusals = self.refusals + 1 if unwell else 0
        if outcome.code.startswith(_STOPPERS) or self.refusals >= _GIVE_UP_AFTER:
            self.stopped = True  # the others are not tried, and are due as before

    def give_back(self) -> None:
        """One letter is not tried; it is due as before."""
        self.waiting -= 1
