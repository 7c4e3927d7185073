"""A provider without a wire: what it does with each letter is chosen, and it knows the truth of who got what."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from incident_center.delivery.courier import MayGo, Posted, StandsStill
from incident_center.delivery.limits import NO_LIMITS, ProviderLimits
from incident_center.delivery.outcome import Letter, Outcome
from tests.storms.smtpd import of_update


class Crashed(BaseException):
    """The worker dies here: no handler of the product's may catch it."""


@dataclass(frozen=True)
class Arrived:
    """One letter of an update that has reached its reader; `number` is what the provider calls it."""

    update_id: int
    subscriber_id: int
    number: str = field(default="", compare=False)


# What becomes of a letter: the outcome that the worker hears, and whether the reader has got it.
FATES: dict[str, tuple[Outcome | None, bool]] = {
    "accepted": (Outcome(state="accepted", code="250", provider_ref="Q1"), True),
    "greylisted": (Outcome(state="retry", code="450"), False),
    "provider down": (Outcome(state="retry", code="421", provider_wide=True), False),
    "refused": (Outcome(state="failed", code="550"), False),
    "no such mailbox": (Outcome(state="failed", code="550 5.1.1", suppress=True), False),
    "lost, but taken": (Outcome(state="unknown", code="lost-after-dot"), True),
    "lost, not taken": (Outcome(state="unknown", code="lost-after-dot"), False),
}


@dataclass
class World:
    """What all couriers share. `meanwhile` happens once, while letters are on the wire."""

    fates: list[str] = field(default_factory=list)  # of the next letters; accepted when there are no more
    arrived: list[Arrived] = field(default_factory=list)
    left: dict[int, set[int]] = field(
        default_factory=dict
    )  # who has left, and what was in flight to them then
    trespasses: list[Arrived] = field(default_factory=list)  # marked after they had left
    crash_after: int | None = None  # letters that still go out before the worker dies
    meanwhile: Callable[[], None] | None = None

    def look(self, about: Arrived) -> None:
        """What is handed over now was marked before; only what was marked before they left may be."""
        if about.subscriber_id in self.left and about.update_id not in self.left[about.subscriber_id]:
            self.trespasses.append(about)

    def deliver(self, letter: Letter) -> Outcome | None:
        if self.crash_after is not None:
            if self.crash_after == 0:
                self.crash_after = None
                raise Crashed
            self.crash_after -= 1
        outcome, taken = FATES[self.fates.pop() if self.fates else "accepted"]
        about = of_update(letter.message_id.strip("<>"))
        if not taken or about is None:
            return outcome
        number = f"Q{len(self.arrived)}"
        self.arrived.append(Arrived(*about, number))
        return replace(outcome, provider_ref=number) if outcome and outcome.provider_ref else outcome


class WorldCourier(StandsStill):
    """A courier of one worker. Half of a ticket goes out at once, the rest while it is collected."""

    wants_raw = False
    limits: ProviderLimits = NO_LIMITS

    def __init__(self, name: str, world: World) -> None:
        self.name = name
        self._world = world

    def post(self, letters: Sequence[Letter], may_go: MayGo) -> Posted:
        for letter in letters:
            about = of_update(letter.message_id.strip("<>"))
            if about is not None:
                self._world.look(Arrived(*about))
        posted = Posted(letters, may_go)
        self._send(posted, upto=len(letters) // 2)
        return posted

    def collect(self, posted: Posted) -> list[Outcome | None]:
        meanwhile, self._world.meanwhile = self._world.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        self._send(posted, upto=len(posted.letters))
        return posted.outcomes

    def send(self, letters: Sequence[Letter], may_go: MayGo) -> list[Outcome | None]:
        return self.collect(self.post(letters, may_go))

    def _send(self, posted: Posted, *, upto: int) -> None:
        done = len(posted.letters) - posted.waiting
        for place in range(done, upto):
            outcome = None
            if not posted.stopped and posted.may_go():
                outcome = self._world.deliver(posted.letters[place])
            if outcome is None:
                posted.give_back()
            else:
                posted.settle(place, outcome)

    def allow(self, connections: int) -> None:
        """There are no connections to be counted."""

    def close(self) -> None:
        """Nothing is kept open."""

    def abort(self) -> None:
        """Nothing is waited for."""
