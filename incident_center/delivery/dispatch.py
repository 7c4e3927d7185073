"""From marked people to outcomes: compose, choose a provider, hand over, fall back to the next one.

A wave is started and finished later, so that the next one can be marked while it is on the wire. A provider
whose errors pile up is rested; the next one takes over only what has certainly not been accepted, never what is
unknown. No database here: `health` says who may be asked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from incident_center.delivery.courier import Courier, MayGo
from incident_center.delivery.health import Health
from incident_center.delivery.ledger import Due, Result
from incident_center.delivery.mailer import Mailer
from incident_center.delivery.outcome import Letter, Outcome
from incident_center.delivery.postbox import Single
from incident_center.delivery.providers import Providers
from incident_center.delivery.rules import Try
from incident_center.delivery.team import reached
from incident_center.delivery.transports.posted import Posted
from incident_center.exchange import wait_for
from incident_center.states import Channel

_log = structlog.get_logger()


@dataclass(slots=True)
class Wave:
    """People whose letters are with a courier. `results` holds all of them, `composed` those who have a letter."""

    channel: Channel
    results: list[Result]
    may_go: MayGo
    composed: list[Result]
    courier: Courier | None = None
    posted: Posted | None = None


class Dispatch:
    """One worker's providers."""

    def __init__(
        self, providers: Providers, mailer: Mailer, *, health: Health, clock: Callable[[], datetime]
    ) -> None:
        self._providers, self._mailer, self._health, self._clock = providers, mailer, health, clock
        self._asked_last: Courier | None = None

    def names(self, channel: Channel) -> list[str]:
        return [courier.name for courier in self._providers.by_channel.get(channel, [])]

    def ready(self, channel: Channel, now: datetime) -> list[Courier]:
        """The channel's providers that may be asked, first preferred."""
        couriers = self._providers.by_channel.get(channel, [])
        return [courier for courier in couriers if self._health.usable(courier.name, now)]

    def start(self, channel: Channel, people: Sequence[Due], may_go: MayGo) -> Wave:
        """Composes for the first provider that may be asked and hands over, without waiting where it can."""
        wave = Wave(channel, [Result(due) for due in people], may_go, [])
        for courier in self.ready(channel, self._clock())[:1]:
            self._post(wave, courier, wave.results)
        return wave

    def until_readable(self, socket: int) -> None:
        """Until something can be read from that socket; what is on the wire goes on meanwhile, at the provider that was
        asked last. Never raises: whoever waits has outcomes to write down."""
        try:
            if self._asked_last is not None:
                self._asked_last.until_readable(socket)
                return
        except Exception:  # noqa: BLE001 (who collects the letters meets it again, with nothing to lose)
            _log.exception("wire_broke_off")
        wait_for(socket)

    def rest(self, seconds: float) -> None:
        """Waits for the database to come back. What is on the wire goes on: no mail server waits for half a message for
        ever. Never raises."""
        try:
            if self._asked_last is not None:
                self._asked_last.rest(seconds)
                return
        except Exception:  # noqa: BLE001 (see above)
            _log.exception("wire_broke_off")
        time.sleep(seconds)

    def finish(self, wave: Wave) -> list[Result]:
        """One result a person, in their order. A person who was not tried has no tries and no poison."""
        elsewhere = self._collect(wave)
        asked = {wave.courier.name} if wave.courier else set()
        while elsewhere and wave.may_go():
            others = [c for c in self.ready(wave.channel, self._clock()) if c.name not in asked]
            # Its pace was not reserved for these people; they are due again at once, and then it is asked first.
            if not others or others[0].limits.rate is not None:
                break
            asked.add(others[0].name)
            self._post(wave, others[0], elsewhere)
            elsewhere = self._collect(wave)
        return wave.results

    def send(self, channel: Channel, people: Sequence[Due], may_go: MayGo) -> list[Result]:
        """Both at once. What may have been accepted goes to the same provider again, with the same Message-ID, or
        nowhere; a worker that was lost could not say whom it had asked: then it is the one that comes first."""
        results = {id(due): Result(due) for due in people}
        for name in {due.provider for due in people if due.resend}:
            again = [due for due in people if due.resend and due.provider == name]
            for courier in self._same(channel, name):
                wave = Wave(channel, [results[id(due)] for due in again], may_go, [])
                self._post(wave, courier, wave.results)
                self._collect(wave)
        fresh = [due for due in people if not due.resend]
        if fresh and may_go():
            for result in self.finish(self.start(channel, fresh, may_go)):
                results[id(result.due)] = result
        return list(results.values())

    def _same(self, channel: Channel, name: str | None) -> list[Courier]:
        couriers = [c for c in self._providers.by_channel.get(channel, []) if name in {c.name, None}][:1]
        return [courier for courier in couriers if self._health.usable(courier.name, self._clock())]

    def _post(self, wave: Wave, courier: Courier, wanted: Sequence[Result]) -> None:
        wave.courier, wave.posted, wave.composed = courier, None, []
        self._asked_last = courier
        courier.move_on()  # composing takes as long as the server needs for what is on the wire
        letters: list[Letter] = []
        made = self._mailer.batch([result.due for result in wanted], raw=courier.wants_raw, now=self._clock())
        for result, letter in zip(wanted, made, strict=True):
            if isinstance(letter, Exception):
                result.poison = _poison(letter)
            else:
                letters.append(letter[0])
                result.wording_id = letter[1]
                wave.composed.append(result)
        if letters:
            wave.posted = courier.post(letters, wave.may_go)

    def _collect(self, wave: Wave) -> list[Result]:
        """Waits for the outcomes; answers who may be handed to the next provider."""
        if wave.courier is None or wave.posted is None:
            return []
        outcomes = wave.courier.collect(wave.posted)
        self._health.note(wave.courier.name, outcomes, self._clock())
        name, elsewhere = wave.courier.name, []
        for result, outcome in zip(wave.composed, outcomes, strict=True):
            if outcome is not None:
                result.tries.append(Try(name, outcome))
            if outcome is None or (outcome.state == "retry" and outcome.provider_wide):
                elsewhere.append(result)
        return elsewhere

    def send_single(self, single: Single, may_go: MayGo) -> tuple[list[Try], str | None]:
        """The tries of one message, or why it could not be composed."""
        tries: list[Try] = []
        if single.channel is None:
            return tries, "it has no channel"
        ready = self.ready(single.channel, self._clock())
        for courier in self._same(single.channel, single.provider) if single.resend else ready:
            try:
                letter = self._mailer.single(single, raw=courier.wants_raw)
            except Exception as error:  # noqa: BLE001 (whatever it is, it must not stop the others)
                return tries, _poison(error)
            outcome = self._one(courier, letter, may_go)
            if outcome is None:
                break
            tries.append(Try(courier.name, outcome))
            if single.resend or outcome.state != "retry" or not outcome.provider_wide:
                break
        return tries, None

    def _one(self, courier: Courier, letter: Letter, may_go: MayGo) -> Outcome | None:
        outcome = courier.send([letter], may_go)[0]
        self._health.note(courier.name, [outcome], self._clock())
        return outcome

    def tell_staff(self, single: Single, may_go: MayGo) -> list[Try]:
        """One outcome for each of the group's staff URLs that has not had it; none when nobody was told now."""
        group = reached(self._providers.staff, single.headers.get("group", ""))
        left = [staff for staff in group if staff.name not in single.told]
        tries: list[Try] = []
        for staff in left:
            if not may_go():
                break
            tries.append(Try(staff.name, staff.tell(single.subject, single.text)))
        if not tries:
            return []
        later = Outcome(state="retry", code="ending", detail="the worker was told to end")
        return tries + [Try(staff.name, later) for staff in left[len(tries) :]]


def _poison(error: Exception) -> str:
    """What kind of error it was; its text may hold somebody's name."""
    return f"could not be composed: {type(error).__name__}"
