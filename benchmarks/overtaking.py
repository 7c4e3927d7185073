"""A second update while the first is still going out: how soon is nothing of the first due any more, and does anybody
get the older words after the newer?"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import exists, select

from benchmarks.delivery import PATIENCE, smtp_url
from benchmarks.installation import KINDS, PUBLIC_URL, Installation
from benchmarks.recorder import Arrival, Recorder
from benchmarks.relay import wait_for_progress, wait_until
from benchmarks.scenarios import Bench, Result
from benchmarks.workers import Workers
from incident_center.delivery.letter_ids import read_letter_id
from incident_center.models import Chunk, Delivery
from incident_center.states import ChunkState, DeliveryState

_NOT_YET = (DeliveryState.DUE, DeliveryState.SENDING, DeliveryState.RETRY)
_PART = 4  # the newer update comes when a fourth of the people have the older one
_SETTLE_SECONDS = 60.0


@dataclass(frozen=True)
class Overtaken:
    database: str
    people: int
    older_before: int  # who had the older one when the newer was published
    older_after: int  # who got it after that: it was on the wire
    older_after_newer: int  # people who got the older words after the newer ones; must be 0
    settled_seconds: float  # from the newer's publication until nothing of the older is due
    last_older_seconds: float  # … and until the last older message came to the relay
    everybody_seconds: float  # … and until everybody has the newer one


def overtaking(bench: Bench) -> Result:
    runs = []
    for kind in KINDS:
        with bench.made.fresh(kind, bench.size.overtaken) as installation, Recorder(bench.folder) as recorder:
            runs.append(overtake(installation, recorder))
        bench.say(f"{kind}: the older update was settled after {runs[-1].settled_seconds:.2f} s")
    return {"runs": [asdict(run) for run in runs]}


def overtake(installation: Installation, recorder: Recorder, workers: int = 2) -> Overtaken:
    people = installation.audience
    with Workers(installation, workers, smtp_url(recorder.address)):
        older = installation.publish()
        wait_until(
            lambda: recorder.taken() >= people // _PART, seconds=PATIENCE, every=0.02, problem="nothing came"
        )
        had_older = recorder.taken()
        newer = installation.publish()
        published, published_at = time.perf_counter(), time.time()
        settled = wait_until(
            lambda: not anything_due(installation, older),
            seconds=_SETTLE_SECONDS,
            every=0.02,
            problem="the older update is still due",
        )
        everybody = wait_for_progress(
            lambda: installation.stored(newer),
            goal=people,
            every=0.1,
            patience=PATIENCE,
            problem="the ledger",
        )
    arrivals = recorder.arrivals()
    late = [one.at for one in arrivals if update_of(one) == older and one.at > published_at]
    must_have_the_newer(arrivals, newer, people)
    return Overtaken(
        database=installation.kind,
        people=people,
        older_before=had_older,
        older_after=len(late),
        older_after_newer=out_of_order(arrivals),
        settled_seconds=round(settled - published, 3),
        last_older_seconds=round(max(late, default=published_at) - published_at, 3),
        everybody_seconds=round(everybody - published, 3),
    )


def anything_due(installation: Installation, update_id: int) -> bool:
    """Somebody might still be written to about this update."""
    open_chunk = exists(select(Chunk.id).where(Chunk.update_id == update_id, Chunk.state == ChunkState.OPEN))
    waiting = exists(
        select(Delivery.update_id).where(Delivery.update_id == update_id, Delivery.state.in_(_NOT_YET))
    )
    with installation.database.reading() as session:
        return bool(session.scalar(select(open_chunk | waiting)))


def update_of(arrival: Arrival) -> int:
    """The update's id. Raises ValueError for a Message-ID that does not name one: then nothing could be proved."""
    named = read_letter_id(arrival.message_id, public_url=PUBLIC_URL)
    if named is None:
        raise ValueError(f"no update in {arrival.message_id}")
    return named.about


def out_of_order(arrivals: Sequence[Arrival]) -> int:
    """People to whom an older update came after a newer one."""
    newest: dict[str, int] = {}
    wronged = set()
    for arrival in arrivals:
        update_id = update_of(arrival)
        if update_id < newest.get(arrival.recipient, 0):
            wronged.add(arrival.recipient)
        newest[arrival.recipient] = max(update_id, newest.get(arrival.recipient, 0))
    return len(wronged)


def must_have_the_newer(arrivals: Sequence[Arrival], newer: int, people: int) -> None:
    copies = Counter(one.recipient for one in arrivals if update_of(one) == newer)
    if len(copies) != people or max(copies.values()) != 1:
        raise RuntimeError(
            f"{len(copies):,} of {people:,} people got the newer update, some {max(copies.values())} times"
        )
