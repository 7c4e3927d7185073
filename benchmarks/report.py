"""The tables of a run, from its JSON file; nothing in docs/benchmarks.md is typed by hand.

    python -m benchmarks.report [FILE] [--into docs/benchmarks.md]

Without --into they are printed. With it they replace what stands between the two marks in that document.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.scenarios import SOURCE, Result, rounds_of
from benchmarks.targets import ratio, sms_providers, targets

LAST = Path(__file__).parent / "results" / "last.json"
TITLES = {
    "local": "A local relay",
    "distant": "10 ms to the relay",
    "million": "A small and a big audience",
    "sms": "SMS",
    "overtaking": "A second update in mid fan-out",
}
PROMISED = "What was promised"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"


def table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [titles, ["---", *["--:"] * (len(titles) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def markdown(run: dict[str, Any]) -> str:
    """Everything that was measured, as Markdown."""
    return "\n\n".join(_parts(run)) + "\n"


def _parts(run: dict[str, Any]) -> Iterator[str]:
    machine, results = run["machine"], run["results"]
    yield (
        f"Measured on {run['begun'][:10]}, size “{run['size']}”: {machine['cores']} cores ({machine['processor']}), "
        f"Python {machine['python']}, PostgreSQL {machine['postgresql']}. "
        f"A message has {run['message_bytes']:,} bytes."
    )
    tables = {
        "local": _local,
        "distant": _distant,
        "million": _million,
        "sms": _sms,
        "overtaking": _overtaking,
    }
    for name, title in TITLES.items():
        if name in results:
            part = results[name]
            yield f"### {title}"
            yield f"Failed: {part['failed']}" if "failed" in part else tables[name](part)
    if found := targets(results):
        yield f"### {PROMISED}"
        rows = [
            (
                one.what,
                f"at {'least' if one.at_least else 'most'} {one.bound:,.4g}",
                f"{one.measured:,.4g}",
                "yes" if one.met else "**no**",
            )
            for one in found
        ]
        yield table(("", "promised", "measured", "kept"), rows)


def _local(part: Result) -> str:
    rates = part["rates"]
    rows = [
        (
            name,
            f"{statistics.median(taken):,.0f}",
            f"{min(taken):,.0f} to {max(taken):,.0f}",
            f"{ratio(rates, name, SOURCE):.2f}",
        )
        for name, taken in rates.items()
    ]
    speed = table(("", "messages a second", "slowest to quickest round", "part of smtp-source"), rows)
    return f"{speed}\n\n{_cost(part['runs'])}"


def _cost(runs: list[Result]) -> str:
    """What our fan-outs cost beside time; medians over the rounds."""
    rows = []
    for kind, workers in sorted({(run["database"], run["workers"]) for run in runs}, reverse=True):
        same = [run for run in runs if (run["database"], run["workers"]) == (kind, workers)]

        def middle(name: str, digits: int = 0, same: list[Result] = same) -> str:
            return f"{statistics.median(run[name] for run in same):,.{digits}f}"

        peak = max(max(run["peak_mb"]) for run in same)
        rows.append(
            (
                f"{kind}, {workers} worker{'s' * (workers > 1)}",
                middle("publish_ms"),
                middle("first_message", 2),
                middle("last_outcome", 1),
                f"{peak:.0f}",
                middle("log_bytes"),
                middle("database_bytes"),
                middle("log_file_mb", 1),
            )
        )
    titles = (
        "our fan-outs",
        "publishing, ms",
        "first message, s",
        "last outcome, s",
        "peak MB a worker",
        "WAL bytes a person",
        "database bytes a person",
        "SQLite's log file, MB",
    )
    return table(titles, rows)


def _distant(part: Result) -> str:
    rows = [
        (
            kind,
            connections,
            workers,
            f"{statistics.median(run['rate'] for run in runs):,.0f}",
            f"{runs[0]['bound']:,.0f}",
            f"{statistics.median(run['part'] for run in runs):.2f}",
            f"{min(run['part'] for run in runs):.2f} to {max(run['part'] for run in runs):.2f}",
        )
        for kind, connections, workers, runs in rounds_of(part)
    ]
    titles = (
        "",
        "connections",
        "workers",
        "messages a second",
        "connections ÷ round trip",
        "part",
        "in its rounds",
    )
    told = table(titles, rows)
    return (
        f"{told}\n\nAn idle round trip took {part['measured_round_trip_ms']} ms; the proxy carried "
        f"{part['proxy_carries']:,.0f} messages a second by smtp-source."
    )


def _million(part: Result) -> str:
    rows = []
    for kind, told in part["databases"].items():
        medians = told["publishing_ms"]["medians"]
        for run in told["runs"]:
            is_many = run["people"] == told["publishing_ms"]["people"]["many"]
            rows.append(
                (
                    f"{kind}, {run['people']:,} people",
                    f"{run['last_outcome']:,.1f}",
                    f"{run['rate']:,.0f}",
                    f"{run['first_message']:.2f}",
                    f"{max(run['peak_mb']):.0f}",
                    f"{medians['many']:.1f} against {medians['few']:.1f}" if is_many else "",
                )
            )
    titles = (
        "",
        "seconds",
        "messages a second",
        "first message, s",
        "peak MB a worker",
        "publishing, ms, against 100 people's",
    )
    sources = " and ".join(
        f"{statistics.median(told['source_seconds']):.2f} s around {kind}'s"
        for kind, told in part["databases"].items()
    )
    return f"{table(titles, rows)}\n\nsmtp-source needed {sources} for {part['source_messages']:,} messages."


def _sms(part: Result) -> str:
    if "left_out" in part:
        return str(part["left_out"])
    rows = [
        (name, f"{told['ours']:,.0f}", f"{told['stock']:,.1f}", f"{told['ratio']:.1f}")
        for name, told in sms_providers(part).items()
    ]
    told = table(("HTTPS, one outcome each", "messages a second", "stock Apprise", "ratio"), rows)
    return f"{told}\n\nThe stub alone answers {part['stub']:,.0f} requests a second."


def _overtaking(part: Result) -> str:
    rows = [
        (
            f"{run['database']}, {run['people']:,} people",
            f"{run['older_before']:,}",
            f"{run['older_after']:,}",
            run["older_after_newer"],
            f"{run['settled_seconds']:.2f}",
            f"{run['last_older_seconds']:.2f}",
            f"{run['everybody_seconds']:.1f}",
        )
        for run in part["runs"]
    ]
    titles = (
        "",
        "had the older",
        "got it after",
        "older after newer",
        "settled after, s",
        "last older message, s",
        "everybody has the newer, s",
    )
    return table(titles, rows)


def put_into(document: Path, text: str) -> None:
    """Replaces what stands between the marks. Raises ValueError without them."""
    before, begin, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{document} lacks the lines {BEGIN} and {END}")
    document.write_text(f"{before}{BEGIN}\n{text}{END}{after}", encoding="utf-8")


def tell(what: Callable[[dict[str, Any]], str], doc: str) -> None:
    """A run's JSON file, told by `what`: printed, or put into a document. `doc` says how to call it."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("file", type=Path, nargs="?", default=LAST)
    parser.add_argument("--into", type=Path)
    asked = parser.parse_args()
    text = what(json.loads(asked.file.read_text(encoding="utf-8")))
    if asked.into is None:
        print(text)
    else:
        put_into(asked.into, text)


def main() -> None:
    tell(markdown, __doc__ or "")


if __name__ == "__main__":
    main()
