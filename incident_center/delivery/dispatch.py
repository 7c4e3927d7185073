"""From marked people to outcomes: compose, choose a provider, hand over, fall back to the next one.

No database here. A provider whose errors pile up is rested; the next one takes over only what has certainly
not been accepted, never what is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from incident_center.delivery.courier import Courier, MayGo
from incident_center.delivery.ledger import Due, Result
from incident_center.delivery.mailer import Mailer
from incident_center.delivery.outcome import Letter, Outcome
from incident_center.delivery.postbox import Single
from incident_center.delivery.providers import Providers
from incident_center.delivery.retry import Breaker
from incident_center.delivery.rules import Try
from incident_center.delivery.team import reached
from incident_center.states import Channel

_UNREACHABLE = ("connect", "tls", "timeout")


class Dispatch:
    """One worker's providers with their breakers."""

    def __init__(self, providers: Providers, mailer: Mailer, *, clock: Callable[[], datetime]) -> None:
        self._providers, self._mailer, self._clock = providers, mailer, clock
        self._breakers: dict[str, Breaker] = {}

    def ready(self, channel: Channel, now: datetime) -> list[Courier]:
        """The channel's providers that are not resting, first preferred."""
        couriers = self._providers.by_channel.get(channel, [])
        return [courier for courier in couriers if not self._breaker(courier).resting(now)]

    def probing(self, channel: Channel, now: datetime) -> bool:
        """The provider whose turn it is has just rested: it gets one letter before it gets fifty."""
        ready = self.ready(channel, now)
        return bool(ready) and self._breaker(ready[0]).probing

    def send(self, channel: Channel, people: Sequence[Due], may_go: MayGo) -> list[Result]:
        """One result a person, in their order. A person who was not tried has no tries and no poison."""
        results = {(due.update_id, due.subscriber_id): Result(due) for due in people}
        for name in {due.provider for due in people if due.resend}:
            own = [due for due in people if due.resend and due.provider == name]
            self._resend(channel, name, [results[due.update_id, due.subscriber_id] for due in own], may_go)
        fresh = [result for result in results.values() if not result.due.resend]
        for courier in self.ready(channel, self._clock()):
            fresh = self._hand_over(courier, fresh, may_go)
            if not fresh or not may_go():
                break
        return list(results.values())

    def _resend(self, channel: Channel, name: str | None, own: list[Result], may_go: MayGo) -> None:
        """What may have been accepted goes to the same provider again, with the same Message-ID, or nowhere.

        A worker that was lost could not say whom it had asked: then it is the one that it would have asked
        first.
        """
        couriers = self._providers.by_channel.get(channel, [])
        chosen = [courier for courier in couriers if name in {courier.name, None}][:1]
        for courier in chosen:
            if not self._breaker(courier).resting(self._clock()):
                self._hand_over(courier, own, may_go)

    def _hand_over(self, courier: Courier, wanted: Sequence[Result], may_go: MayGo) -> list[Result]:
        """Sends one batch; answers who may be handed to the next provider."""
        now = self._clock()
        composed: list[tuple[Result, Letter]] = []
        for result in wanted:
            try:
                letter, result.wording_id = self._mailer.letter(result.due, raw=courier.wants_raw, now=now)
            except Exception as error:  # noqa: BLE001 (whatever it is, it must not stop the other forty-nine)
                result.poison = _poison(error)
            else:
                composed.append((result, letter))
        outcomes = self._send(courier, [letter for _, letter in composed], may_go)
        elsewhere = []
        for (result, _), outcome in zip(composed, outcomes, strict=True):
            if outcome is not None:
                result.tries.append(Try(courier.name, outcome))
            if outcome is None or (outcome.state == "retry" and outcome.provider_wide):
                elsewhere.append(result)
        return elsewhere

    def _send(self, courier: Courier, letters: Sequence[Letter], may_go: MayGo) -> list[Outcome | None]:
        if not letters:
            return []
        outcomes = courier.send(letters, may_go)
        for outcome in outcomes:
            if outcome is not None:
                self._note(courier, outcome)
        return outcomes

    def send_single(self, single: Single, may_go: MayGo) -> tuple[list[Try], str | None]:
        """The tries of one message, or why it could not be composed."""
        tries: list[Try] = []
        if single.channel is None:
            return tries, "it has no channel"
        for courier in self.ready(single.channel, self._clock()):
            if single.resend and single.provider not in {courier.name, None}:
                continue
            try:
                letter = self._mailer.single(single, raw=courier.wants_raw)
            except Exception as error:  # noqa: BLE001 (see _hand_over)
                return tries, _poison(error)
            outcome = self._send(courier, [letter], may_go)[0]
            if outcome is None:
                break
            tries.append(Try(courier.name, outcome))
            if single.resend or outcome.state != "retry" or not outcome.provider_wide:
                break
        return tries, None

    def tell_staff(self, single: Single) -> list[Try]:
        """One outcome for each of the group's staff URLs that has not had it."""
        return [
            Try(staff.name, staff.tell(single.subject, single.text))
            for staff in reached(self._providers.staff, single.headers.get("group", ""))
            if staff.name not in single.told
        ]

    def _note(self, courier: Courier, outcome: Outcome) -> None:
        breaker = self._breaker(courier)
        unreachable = outcome.code.startswith(_UNREACHABLE)
        if outcome.state == "accepted":
            breaker.worked()
        elif unreachable or outcome.provider_wide:
            breaker.failed(self._clock(), at_once=unreachable)

    def _breaker(self, courier: Courier) -> Breaker:
        return self._breakers.setdefault(courier.name, Breaker())


def _poison(error: Exception) -> str:
    """What kind of error it was; its text may hold somebody's name."""
    return f"could not be composed: {type(error).__name__}"
