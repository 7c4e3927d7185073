"""Providers' health as all workers see it together: who rests, who is probed, and what was said last.

One worker notices the trouble, every worker rests the provider; after the rest one of them tries it with one
letter while the others go on waiting.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, event, or_, select, update
from sqlalchemy.orm import Session

from incident_center.delivery.outcome import Outcome
from incident_center.delivery.retry import Breaker
from incident_center.delivery.sql import changed, insert_ignoring, is_postgres
from incident_center.models import Provider
from incident_center.states import Channel, ProviderState

PROBE_LASTS = timedelta(
    seconds=90
)  # a worker that was lost with its probe must not keep the provider resting
TELL_EVERY = timedelta(seconds=5)  # how often a provider that is well says so
LONGEST_REST = Breaker.LONG + timedelta(minutes=1)  # a rest that ends later was noted by a wrong clock
UNREACHABLE = ("connect", "tls", "timeout")
# Runs with every chunk, so it is built once.
_LOOK = select(Provider.id, Provider.name, Provider.state, Provider.rest_until, Provider.rests).where(
    Provider.name.in_(bindparam("names", expanding=True))
)


@dataclass
class _Seen:
    """One provider's row as last read, and what has happened here since."""

    id: int
    breaker: Breaker
    state: ProviderState = ProviderState.WELL
    rest_until: datetime | None = None
    told_at: datetime | None = None
    news: dict[str, Any] | None = None


class Health:
    """One lane's view. Not for several threads."""

    def __init__(self, names: Mapping[str, Channel | None], *, owner: str) -> None:
        self._names, self._owner = dict(names), owner
        self._seen: dict[str, _Seen] = {}
        self.unconnected: set[str] = set()  # all connections that they allow are other workers'

    @property
    def ids(self) -> dict[str, int]:
        return {name: seen.id for name, seen in self._seen.items()}

    def register(self, session: Session) -> None:
        """Gives each configured provider its row. Call it once, in a writing transaction."""
        new = [
            {"name": name, "channel": channel, "state": ProviderState.WELL, "rests": 0}
            for name, channel in self._names.items()
        ]
        insert_ignoring(session, Provider, new)
        self.look(session)

    @property
    def registered(self) -> bool:
        return self._seen.keys() == self._names.keys()

    def look(self, session: Session) -> None:
        """Reads how the others see the providers; takes no lock."""
        for row in session.connection().execute(_LOOK, {"names": list(self._names)}):
            seen = self._seen.setdefault(row.name, _Seen(row.id, Breaker()))
            seen.state, seen.rest_until = row.state, row.rest_until
            seen.breaker.rests = row.rests

    def usable(self, name: str, now: datetime) -> bool:
        """Whether it may be asked now: it is well, or its rest is over."""
        seen = self._seen.get(name)
        if name in self.unconnected:
            return False
        return seen is None or seen.state is ProviderState.WELL or self._due_for_probe(seen, now)

    def _due_for_probe(self, seen: _Seen, now: datetime) -> bool:
        return seen.rest_until is None or not now < seen.rest_until <= now + LONGEST_REST

    def take(self, session: Session, names: Iterable[str], now: datetime) -> tuple[list[str], bool]:
        """The usable ones of `names`, and whether the first of them is probed: then it gets one letter.

        Of several workers one gets the probe; for the others the provider goes on resting.
        """
        ready: list[str] = []
        probing = False
        for name in names:
            seen = self._seen[name]
            if name in self.unconnected:
                continue
            if seen.state is ProviderState.WELL:
                ready.append(name)
            elif not ready and self._due_for_probe(seen, now) and self._probe(session, seen, now):
                ready.append(name)
                probing = True
        return ready, probing

    def _probe(self, session: Session, seen: _Seen, now: datetime) -> bool:
        rested = or_(
            Provider.rest_until.is_(None),
            Provider.rest_until <= now,
            Provider.rest_until > now + LONGEST_REST,
        )
        mine = update(Provider).where(Provider.id == seen.id, Provider.state != ProviderState.WELL, rested)
        values = {
            "state": ProviderState.PROBED,
            "probed_by": self._owner,
            "probed_at": now,
            "rest_until": now + PROBE_LASTS,
        }
        if not changed(session, mine.values(values)):
            return False
        seen.state = ProviderState.PROBED
        return True

    def spare(self, session: Session, now: datetime) -> None:
        """Nobody was there to be written to: whoever finds somebody next may try the provider."""
        for seen in self._seen.values():
            if seen.state is not ProviderState.PROBED:
                continue
            mine = update(Provider).where(
                Provider.id == seen.id,
                Provider.state == ProviderState.PROBED,
                Provider.probed_by == self._owner,
            )
            free = {"state": ProviderState.RESTING, "rest_until": now, "probed_by": None}
            if changed(session, mine.values(free)):
                seen.state, seen.rest_until = ProviderState.RESTING, now

    def note(self, name: str, outcomes: Iterable[Outcome | None], now: datetime) -> None:
        """What a provider has answered; `tell` makes it known to the others.

        Whoever was refused for their own sake has been answered, so the provider works. One that leaves us in
        the dark does not, though nobody's letter goes elsewhere for it.
        """
        seen = self._seen.get(name)
        if seen is None:
            return
        for outcome in outcomes:
            if outcome is None:
                continue
            if outcome.state == "accepted" or not (outcome.provider_wide or outcome.state == "unknown"):
                self._worked(seen, now)
            else:
                self._failed(seen, outcome, now)

    def _worked(self, seen: _Seen, now: datetime) -> None:
        seen.breaker.worked()
        was_ill = seen.state is not ProviderState.WELL
        if was_ill or seen.told_at is None or now - seen.told_at >= TELL_EVERY:
            seen.told_at = now
            seen.breaker.rests = 0
            well = {"state": ProviderState.WELL, "rest_until": None, "rests": 0, "probed_by": None}
            self._keep(seen, {**well, "last_ok_at": now})
            seen.state, seen.rest_until = ProviderState.WELL, None

    def _failed(self, seen: _Seen, outcome: Outcome, now: datetime) -> None:
        trouble: dict[str, Any] = {
            "last_trouble_at": now,
            "last_code": outcome.code[:24],
            "last_words": outcome.detail[:300] or None,
        }
        rest = None
        if seen.state is not ProviderState.RESTING or self._due_for_probe(seen, now):
            # Otherwise it was on the wire when the rest began: nothing new.
            at_once = outcome.code.startswith(UNREACHABLE) or seen.state is ProviderState.PROBED
            rest = seen.breaker.failed(at_once=at_once)
        if rest is not None:
            seen.state, seen.rest_until = ProviderState.RESTING, now + rest
            trouble |= {
                "state": ProviderState.RESTING,
                "rest_until": seen.rest_until,
                "rests": seen.breaker.rests,
                "probed_by": None,
            }
        self._keep(seen, trouble)

    def _keep(self, seen: _Seen, news: dict[str, Any]) -> None:
        seen.news = {**(seen.news or {}), **news}

    def tell(self, session: Session) -> None:
        """Writes what is new; nothing when nothing is. What is not committed in the end is told again."""
        told = [(seen, seen.news) for seen in self._seen.values() if seen.news]
        if not told:
            return
        if is_postgres(session):  # whoever changes several rows takes them in the same order as the others
            rows = select(Provider.id).where(Provider.id.in_(self.ids.values())).order_by(Provider.id)
            session.execute(rows.with_for_update()).all()
        for seen, news in told:
            session.execute(update(Provider).where(Provider.id == seen.id).values(news))
        event.listen(session, "after_commit", lambda _: self._told(told), once=True)

    def _told(self, told: list[tuple[_Seen, dict[str, Any]]]) -> None:
        for seen, _ in told:
            seen.news = None
