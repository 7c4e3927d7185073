"""Does an update take as long to publish with 100 subscribers as with 100,000? It should: nobody is counted.

    python -m benchmarks.publish_cost [--rounds 60] [--json FILE]

Each round publishes one update over the JSON API (through Flask's test client: parsing, sign-in, the verb, the
commit) to a small and to a big audience, in turn and in changing order, so that whatever else the machine does
meets both alike. The medians are compared. PostgreSQL is the test suite's own server, which does not sync to
disk; the ratio is what counts, not the milliseconds.
"""

import argparse
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flask.testing import FlaskClient
from sqlalchemy import insert, text

from benchmarks.installation import settings
from incident_center import create_app, schema
from incident_center.center import Center, build_center
from incident_center.models import Subscriber
from incident_center.staff.tokens import add_token
from incident_center.states import Channel, SubscriberState
from tests.builders import a_component
from tests.support.postgres import PostgresServer, new_folder

SMALL, BIG = 100, 100_000
WARM_UP = 5
RESULTS = Path(__file__).parent / "results" / "publish_cost.json"
ROWS_AT_ONCE = 5_000


@dataclass(frozen=True)
class Measured:
    """Milliseconds from the request to its 201, over all rounds."""

    database: str
    audience: int
    rounds: int
    median_ms: float
    quickest_ms: float
    slowest_ms: float


class Publisher:
    """An installation with an audience and an open incident, and a program that publishes."""

    def __init__(self, url: str, folder: Path, audience: int) -> None:
        self.audience = audience
        self.center = build_center(replace(settings(url, folder), testing=True))
        schema.upgrade(self.center.database, self.center.settings.migrations_dir)
        now = datetime.now(UTC)
        with self.center.database.transaction() as session:
            component_id = a_component(session).id
            self._token = add_token(session, name="benchmark", role="lead", days=1, now=now)
        _fill(self.center, audience, now)
        self.client: FlaskClient = create_app(center=self.center).test_client()
        self._incident = self._declare(component_id, now)

    def publish(self) -> float:
        """Seconds that one update took to be answered."""
        body: dict[str, object] = {
            "phase": "investigating",
            "next_update_by": (datetime.now(UTC) + timedelta(minutes=30)).isoformat(),
        }
        begin = time.perf_counter()
        self._post(f"incidents/{self._incident}/updates", body)
        return time.perf_counter() - begin

    def close(self) -> None:
        self.center.database.dispose()

    def _declare(self, component_id: int, now: datetime) -> int:
        scope = {"en": "SEPA payouts to Germany", "de": "SEPA-Auszahlungen nach Deutschland"}
        declared = self._post(
            "incidents",
            {
                "playbook": "payout-gateway-down",
                "components": [component_id],
                "impact": "major",
                "started_at": now.isoformat(),
                "answers": {"scope": scope},
            },
        )
        return int(declared["id"])

    def _post(self, path: str, body: dict[str, object]) -> dict[str, int]:
        headers = {"Authorization": f"Bearer {self._token}"}
        answer = self.client.post(f"/api/v1/{path}", json=body, headers=headers)
        if answer.status_code != 201:
            raise RuntimeError(f"{path} answered {answer.status_code}: {answer.get_data(as_text=True)}")
        said: dict[str, int] = answer.get_json()
        return said


def measure(database: str, publishers: list[Publisher], rounds: int) -> list[Measured]:
    """Publishes `rounds` updates from each, in turn; who goes first changes every round."""
    taken: dict[int, list[float]] = {publisher.audience: [] for publisher in publishers}
    for number in range(WARM_UP + rounds):
        for publisher in publishers if number % 2 else reversed(publishers):
            seconds = publisher.publish()
            if number >= WARM_UP:
                taken[publisher.audience].append(seconds * 1000)
    return [
        Measured(
            database=database,
            audience=audience,
            rounds=rounds,
            median_ms=round(statistics.median(times), 2),
            quickest_ms=round(min(times), 2),
            slowest_ms=round(max(times), 2),
        )
        for audience, times in taken.items()
    ]


def ratio(results: list[Measured]) -> float:
    """The big audience's median as a multiple of the small one's."""
    small, big = sorted(results, key=lambda measured: measured.audience)
    return round(big.median_ms / small.median_ms, 3)


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, Iterator[str]]]:
    """For each kind of database, as many fresh ones as are asked for."""
    server = PostgresServer(new_folder(), run_pid=os.getpid())
    try:
        yield {
            "SQLite": (f"sqlite:///{folder}/bench-{number}.db" for number in itertools.count()),
            "PostgreSQL": (server.create(f"bench_{os.getpid()}_{number}") for number in itertools.count()),
        }
    finally:
        server.stop()


def table(results: dict[str, list[Measured]]) -> str:
    lines = [f"{'':<12}{f'{SMALL:,} subscribers':>22}{f'{BIG:,} subscribers':>22}{'ratio':>9}"]
    for database, measured in results.items():
        medians = "".join(f"{one.median_ms:>19.2f} ms" for one in measured)
        lines.append(f"{database:<12}{medians}{ratio(measured):>9.2f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--json", type=Path, default=RESULTS, help=f"default: {RESULTS}")
    asked = parser.parse_args()
    results: dict[str, list[Measured]] = {}
    with tempfile.TemporaryDirectory() as scratch, databases(Path(scratch)) as kinds:
        for kind, urls in kinds.items():
            publishers = [Publisher(next(urls), Path(scratch), audience) for audience in (SMALL, BIG)]
            results[kind] = measure(kind, publishers, asked.rounds)
            for publisher in publishers:
                publisher.close()
    print(table(results))
    asked.json.parent.mkdir(parents=True, exist_ok=True)
    told = {
        kind: {"ratio": ratio(all_), "runs": [asdict(one) for one in all_]} for kind, all_ in results.items()
    }
    asked.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def _fill(center: Center, audience: int, now: datetime) -> None:
    """Confirmed e-mail readers of every component, half of them German."""
    for first in range(0, audience, ROWS_AT_ONCE):
        rows = [
            {
                "channel": Channel.EMAIL,
                "email": f"reader{number}@example.com",
                "email_key": f"reader{number}@example.com",
                "language": ("en", "de")[number % 2],
                "zone": "Europe/Berlin",
                "all_components": True,
                "state": SubscriberState.CONFIRMED,
                "source": "import",
                "created_at": now,
                "updated_at": now,
                "confirmed_at": now,
            }
            for number in range(first, min(first + ROWS_AT_ONCE, audience))
        ]
        with center.database.transaction() as session:
            session.execute(insert(Subscriber), rows)
    with center.database.transaction() as session:
        session.execute(text("ANALYZE"))


if __name__ == "__main__":
    main()
