"""The delivery panel as its template shows it: read in one session, worded for a lead."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from incident_center.config import Settings
from incident_center.delivery import installation, panel, resend, speed
from incident_center.delivery.fanout import LIVE
from incident_center.delivery.not_reached import LISTED
from incident_center.delivery.panel import Reason, Wire
from incident_center.delivery.questions import Progress, progress
from incident_center.delivery.state_words import STATES
from incident_center.models import Fanout, Update, WorkerBeat
from incident_center.states import Channel, DeliveryState, FanoutState
from incident_center.web.console import delivery_words as words
from incident_center.web.console.blueprint import blueprint
from incident_center.web.console.board import WORKER_SILENT

OFTEN, SELDOM = 2, 10  # seconds between two looks
_MUCH = 20_000  # rows to be counted at each look: then it looks less often
_WAITING = (DeliveryState.DUE, DeliveryState.SENDING)
_COUNTED_ROW_BY_ROW = set(DeliveryState).difference(_WAITING, [DeliveryState.ACCEPTED])
_NOT_REACHED = tuple(state for state in LISTED if state is not DeliveryState.SUPERSEDED)


@dataclass(frozen=True)
class Line:
    """One row of the table."""

    state: DeliveryState
    label: str
    hint: str
    cells: list[int]

    @property
    def total(self) -> int:
        return sum(self.cells)


@dataclass(frozen=True)
class Provider:
    name: str
    mood: str
    state: str
    last_ok_at: datetime | None
    last_trouble_at: datetime | None
    code: str | None
    words: str | None


@dataclass(frozen=True)
class ReasonView:
    reason: Reason
    state: str
    when: str
    people: list[tuple[int, str]] | None  # None while it is folded


@dataclass(frozen=True)
class Panel:
    """Everything that moves. `standing`: going, finished, stopped, overtaken or too_old."""

    update: Update
    progress: Progress
    standing: str
    channels: list[Channel]
    lines: list[Line]
    sums: list[int]
    wire: Wire
    speed: str
    time_left: str
    oldest: str
    next_try: str | None
    reasons: list[ReasonView]
    providers: list[Provider]
    resting: list[Channel]
    not_reached: int
    worker_seen: datetime | None
    unwatched: bool
    held: bool
    may_stop: bool
    may_resend: bool
    open_reason: str
    every: int | None  # seconds until the next look; None ends the polling

    @property
    def settled(self) -> int:
        return self.progress.audience - self.progress.waiting


def read_panel(
    session: Session,
    update: Update,
    *,
    settings: Settings,
    zone: str,
    readings: speed.Readings,
    open_reason: str,
    now: datetime,
) -> Panel:
    told = progress(session, update.id)
    fanout = session.scalar(select(Fanout).where(Fanout.update_id == update.id))
    wire = panel.wire(session, update.id, told)
    going = not told.finished or wire.to_be_resent > 0
    live = fanout is not None and fanout.state in LIVE and fanout.expires_at > now
    waiting = panel.total(told, *_WAITING)
    moving = live and waiting > 0
    rate = readings.rate(update.id, panel.handed_over(told), at=now)
    seconds = speed.seconds_left(waiting, rate)
    seen = session.scalar(select(func.max(WorkerBeat.beat_at)))
    providers = panel.health(session, settings, told.by_channel or Channel)
    return Panel(
        update=update,
        progress=told,
        standing=_standing(fanout, going=going, now=now),
        channels=list(told.by_channel),
        lines=_lines(told),
        sums=[sum(states.values()) for states in told.by_channel.values()],
        wire=wire,
        speed=words.speed(rate, moving=moving),
        time_left=words.time_left(
            seconds,
            measuring=rate is None,
            moving=moving,
            all_found=fanout is None or fanout.state is not FanoutState.OPEN,
        ),
        oldest=words.age(wire.oldest, now=now),
        next_try=words.next_try(wire.next_try, now=now, zone=zone),
        reasons=_reasons(session, update.id, zone=zone, open_reason=open_reason),
        providers=[_provider(one, zone=zone, now=now) for one in providers],
        resting=_all_resting(providers, now=now) if moving else [],
        not_reached=panel.total(told, *_NOT_REACHED),
        worker_seen=seen,
        unwatched=going and (seen is None or now - seen > WORKER_SILENT),
        held=going and installation.is_held(session),
        may_stop=live and not told.finished,
        may_resend=live and panel.total(told, *resend.AGAIN) > 0,
        open_reason=open_reason,
        every=look_every(told) if going else None,
    )


def _standing(fanout: Fanout | None, *, going: bool, now: datetime) -> str:
    if fanout is not None and fanout.state is FanoutState.CANCELLED:
        return "stopped"
    if fanout is not None and fanout.state is FanoutState.SUPERSEDED:
        return "overtaken"
    if going and fanout is not None and fanout.expires_at <= now:
        return "too_old"
    return "going" if going else "finished"


def _lines(told: Progress) -> list[Line]:
    lines = []
    for state, (label, hint) in STATES.items():
        cells = [states.get(state, 0) for states in told.by_channel.values()]
        if sum(cells) or state is DeliveryState.ACCEPTED:
            lines.append(Line(state, label, hint, cells))
    return lines


def _reasons(session: Session, update_id: int, *, zone: str, open_reason: str) -> list[ReasonView]:
    found = []
    for reason in panel.reasons(session, update_id):
        people = None
        if reason.key == open_reason:
            people = [
                (who, words.exact(at, zone=zone)) for who, at in panel.people(session, update_id, reason)
            ]
        when = words.span(reason.first, reason.last, zone=zone)
        found.append(ReasonView(reason, words.state_words(reason.state), when, people))
    return found


def _provider(one: panel.Health, *, zone: str, now: datetime) -> Provider:
    mood, state = words.provider_state(one, now=now, zone=zone)
    return Provider(
        name=words.provider_name(one.name, one.channel),
        mood=mood,
        state=state,
        last_ok_at=one.last_ok_at,
        last_trouble_at=one.last_trouble_at,
        code=one.code,
        words=one.words,
    )


def _all_resting(providers: list[panel.Health], *, now: datetime) -> list[Channel]:
    """Channels on which nothing goes out at the moment, because each of their providers rests."""
    rests = {one.name: bool(one.rest_until and one.rest_until > now) for one in providers}
    return [
        channel
        for channel in Channel
        if (own := [one for one in providers if one.channel is channel])
        and all(rests[one.name] for one in own)
    ]


@blueprint.app_template_filter()
def look_every(told: Progress) -> int:
    """Seconds. Looks less often when a look is dear, or when only people to be tried again are left.

    An audience of nobody yet is one that is about to be found: a second later a dozen may be told.
    """
    dear = panel.total(told, *_COUNTED_ROW_BY_ROW) > _MUCH
    later = told.audience > 0 and not panel.total(told, *_WAITING)
    return SELDOM if dear or later else OFTEN
