"""What does one reader's letter cost? The words are frozen; this is what is left to do for each person.

    python -m benchmarks.compose_cost [--readers 100000] [--json FILE]

The first update of a shipped playbook is composed for generated readers (two languages, three zones, three in ten
with a name, no two alike) in batches as a worker does it: as bytes for an e-mail with its text and HTML, as text
for an SMS. Beside it in the same run Python's own `EmailMessage` is given the finished words of the same letters
and makes bytes of them. Medians of five rounds; the ratio is what counts, not the microseconds. Afterwards all
readers are composed once more under tracemalloc: what is kept must not grow with them.
"""

import argparse
import gc
import json
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path

from benchmarks.installation import settings
from incident_center.db import Base, Database
from incident_center.delivery.ledger import Due
from incident_center.delivery.mailer import Mailer
from incident_center.delivery.outcome import Letter
from incident_center.house import House, build_house
from incident_center.playbooks import Words
from incident_center.states import Channel
from tests.delivery.stories import publish

ROUNDS = 5
BATCH = 25
COMPARED = 500  # letters that EmailMessage makes in each round
ZONES = ("Europe/Berlin", "Europe/London", "America/New_York")
FIRST_NAMES = ("Olivia", "Jürgen", "Mai", "Zoë", "O'Brien", "Łukasz", "Αθηνά", "Alex")
RESULTS = Path(__file__).parent / "results" / "compose_cost.json"


@dataclass(frozen=True)
class Measured:
    """Microseconds of CPU for one letter, ours and EmailMessage's, and what stayed in memory: after a tenth of the
    readers and after all."""

    channel: str
    ours_us: float
    email_message_us: float
    letter_bytes: int
    kept_kb_tenth: int
    kept_kb: int

    @property
    def ratio(self) -> float:
        return round(self.email_message_us / self.ours_us, 1)


def readers(update_id: int, incident_id: int, channel: Channel, count: int) -> Iterator[list[Due]]:
    """Batches of people, made while they are asked for."""
    now = datetime.now(UTC)
    for first in range(1, count + 1, BATCH):
        yield [
            Due(
                update_id=update_id,
                incident_id=incident_id,
                subscriber_id=number,
                channel=channel,
                address=f"reader{number}@example.com" if channel is Channel.EMAIL else f"+49151{number:08}",
                language=("en", "de")[number % 2],
                zone=ZONES[number % 3],
                name=f"{FIRST_NAMES[number % 8]} Reader {number}" if number % 10 < 3 else None,
                form=("mr", "ms", None)[number % 3],
                since=now,
            )
            for number in range(first, min(first + BATCH, count + 1))
        ]


def compose(mailer: Mailer, batches: Iterator[list[Due]], *, raw: bool) -> tuple[float, int, list[Letter]]:
    """Seconds of CPU that composing took, how many letters, and the last batch's."""
    now = datetime.now(UTC)
    seconds, count, letters = 0.0, 0, list[Letter]()
    for people in batches:
        begin = time.thread_time()
        made = mailer.batch(people, raw=raw, now=now)
        seconds += time.thread_time() - begin
        count += len(made)
        letters = [one[0] for one in made if not isinstance(one, Exception)]
        if len(letters) != len(people):
            raise RuntimeError("somebody could not be written to")
    return seconds, count, letters


class Bench:
    """One published update, and a mailer for each channel that has loaded its words."""

    def __init__(self, folder: Path) -> None:
        self.house = build_house(settings(f"sqlite:///{folder}/compose.db", folder))
        self._database = Database(self.house.settings.database_url)
        Base.metadata.create_all(self._database.engine)
        with self._database.transaction() as session:
            update = publish(session, self.house, words=_words(self.house), now=datetime.now(UTC))
            self.update_id, self.incident_id = update.id, update.incident_id

    def mailer(self, channel: Channel) -> Mailer:
        mailer = Mailer(self.house)
        with self._database.reading() as session:
            mailer.load(session, {self.update_id}, channel)
        return mailer

    def readers(self, channel: Channel, count: int) -> Iterator[list[Due]]:
        return readers(self.update_id, self.incident_id, channel, count)

    def measure(self, channel: Channel, count: int) -> Measured:
        mailer, raw = self.mailer(channel), channel is Channel.EMAIL
        sample = self.readers(channel, COMPARED)
        finished = [letter for people in sample for letter in compose(mailer, iter([people]), raw=False)[2]]
        ours, theirs = [], []
        for _ in range(ROUNDS):
            seconds, made, letters = compose(mailer, self.readers(channel, count // ROUNDS), raw=raw)
            ours.append(seconds / made * 1e6)
            theirs.append(_email_messages(finished) * 1e6)
        tenth, large = self._kept(channel, count // 10), self._kept(channel, count)
        return Measured(
            channel=channel.value,
            ours_us=round(statistics.median(ours), 2),
            email_message_us=round(statistics.median(theirs), 2),
            letter_bytes=len(letters[0].raw or letters[0].text.encode()),
            kept_kb_tenth=tenth // 1024,
            kept_kb=large // 1024,
        )

    def _kept(self, channel: Channel, count: int) -> int:
        """Bytes that a mailer holds on to after that many readers."""
        tracemalloc.start()
        mailer = self.mailer(channel)
        compose(mailer, self.readers(channel, count), raw=channel is Channel.EMAIL)
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return kept

    def close(self) -> None:
        self._database.dispose()


def _email_messages(letters: list[Letter]) -> float:
    """Seconds of CPU a letter that Python's own library takes for the same words and headers."""
    now = datetime.now(UTC)
    begin = time.thread_time()
    for letter in letters:
        message = EmailMessage(policy=SMTP)
        message["To"] = Address(addr_spec=letter.to) if letter.channel is Channel.EMAIL else letter.to
        message["Date"] = format_datetime(now)
        message["Message-ID"] = letter.message_id
        if letter.subject is not None:
            message["Subject"] = letter.subject
            message["References"] = letter.message_id
            message["List-Unsubscribe"] = f"<https://status.example.com/u/{letter.key}>"
            message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        message.set_content(letter.text)
        if letter.html is not None:
            message.add_alternative(letter.html, subtype="html")
        message.as_bytes()
    return (time.thread_time() - begin) / len(letters)


def table(results: list[Measured]) -> str:
    head = f"{'':<8}{'ours':>12}{'EmailMessage':>15}{'ratio':>8}{'kept, a tenth':>16}{'kept, all':>12}"
    lines = (
        f"{one.channel:<8}{one.ours_us:>9.2f} µs{one.email_message_us:>12.1f} µs{one.ratio:>8.1f}"
        f"{one.kept_kb_tenth:>13,} kB{one.kept_kb:>9,} kB"
        for one in results
    )
    return "\n".join((head, *lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--readers", type=int, default=100_000)
    parser.add_argument("--json", type=Path, default=RESULTS, help=f"default: {RESULTS}")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch))
        results = [bench.measure(channel, asked.readers) for channel in Channel]
        bench.close()
    print(table(results))
    asked.json.parent.mkdir(parents=True, exist_ok=True)
    told = [{**asdict(one), "ratio": one.ratio} for one in results]
    asked.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def _words(house: House) -> dict[str, Words]:
    """The playbook's first update, with its own sample for what a lead would be asked."""
    playbook = house.library.playbooks["payout-gateway-down"]
    samples = playbook.ask["scope"].sample
    return {
        language: Words.model_validate_json(words.model_dump_json().replace("{scope}", samples[language]))
        for language, words in playbook.phases[0].words.items()
    }


if __name__ == "__main__":
    main()
