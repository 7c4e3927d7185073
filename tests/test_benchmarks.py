"""The benchmark's own judgement: what it counts as wrong order, as kept, and how far away its relay is."""

import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.distance import Distance
from benchmarks.overtaking import out_of_order, update_of
from benchmarks.peers import kept_smtplib
from benchmarks.peers.letters import recipient
from benchmarks.recorder import Arrival, Recorder
from benchmarks.report import BEGIN, END, PROMISED, TITLES, markdown, put_into
from benchmarks.targets import Target, ratio, targets

OLDER, NEWER = 7, 8


def test_only_the_older_after_the_newer_is_wrong() -> None:
    both = [_arrival("a", OLDER), _arrival("a", NEWER), _arrival("b", NEWER)]
    assert out_of_order(both) == 0
    assert out_of_order([*both, _arrival("b", OLDER), _arrival("b", OLDER)]) == 1


def test_a_message_that_names_no_update_proves_nothing() -> None:
    with pytest.raises(ValueError, match="no update"):
        update_of(Arrival(0, "a", "<somebody@else.example>", 1))


def test_a_ratio_compares_the_same_round() -> None:
    rates = {"ours": [10.0, 40.0, 90.0], "theirs": [10.0, 20.0, 30.0]}
    assert ratio(rates, "ours", "theirs") == 2.0


def test_a_promise_is_kept_on_its_right_side() -> None:
    assert Target("rate", 10, at_least=True, measured=10).met
    assert not Target("rate", 10, at_least=True, measured=9.9).met
    assert Target("time", 10, at_least=False, measured=10).met
    assert not Target("time", 10, at_least=False, measured=10.1).met


def test_a_part_that_failed_says_so_and_keeps_no_promise() -> None:
    results = {"overtaking": {"failed": "RuntimeError: somebody was missed"}}
    assert targets(results) == []
    told = markdown(_run(results))
    assert "Failed: RuntimeError: somebody was missed" in told


def test_a_big_audience_is_held_against_the_small_ones_and_the_source_around_it() -> None:
    def run(people: int, seconds: float) -> dict[str, Any]:
        return {
            "people": people,
            "last_outcome": seconds,
            "rate": people / seconds,
            "first_message": 0.4,
            "peak_mb": [100.0, 110.0],
        }

    published = {"people": {"few": 100, "many": 1_000_000}, "medians": {"few": 10.0, "many": 12.0}}
    told = {
        "runs": [run(100_000, 10.0), run(1_000_000, 120.0), run(100_000, 14.0)],
        "publishing_ms": published,
        "source_seconds": [1.0, 1.2, 1.4, 1.6],
    }
    results = {"million": {"source_messages": 20_000, "databases": {"SQLite": told}}}
    found = {one.what.partition(": ")[2]: one for one in targets(results)}
    assert found["time a person as a multiple of 100,000's"].measured == pytest.approx(1.0)
    assert found["seconds"].bound == pytest.approx(50 * 1.3 / 0.6)
    assert "smtp-source needed 1.30 s around SQLite's for 20,000 messages" in markdown(_run(results))


def test_figures_replace_what_stands_between_the_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold figures\n{END}\nafter\n", encoding="utf-8")
    put_into(page, "new figures\n")
    put_into(page, "newest figures\n")
    assert page.read_text(encoding="utf-8") == f"before\n{BEGIN}\nnewest figures\n{END}\nafter\n"
    page.write_text("no marks", encoding="utf-8")
    with pytest.raises(ValueError, match="lacks the lines"):
        put_into(page, "figures")


def test_the_page_shows_a_full_run_with_all_its_parts() -> None:
    page = (Path(__file__).parent.parent / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    figures = page.partition(BEGIN)[2].partition(END)[0]
    assert "size “full”" in figures
    assert "Failed:" not in figures
    parts = re.findall(r"^### (.+)$", figures, re.MULTILINE)
    assert parts == [*TITLES.values(), PROMISED]


def test_the_proxy_holds_each_way_back_and_loses_nothing(tmp_path: Path) -> None:
    letter = b"Message-ID: <1@x.example>\r\n\r\n" + b"x" * 300_000 + b"\r\n.\r\n"  # its last line is a dot
    with Recorder(tmp_path) as recorder, Distance(recorder.port, round_trip=0.02) as distance:
        assert distance.round_trip(times=5) >= 0.02
        seconds = kept_smtplib.send(distance.port, 3, [letter])
        arrivals = recorder.arrivals()
    assert [arrival.recipient for arrival in arrivals] == [recipient(number) for number in range(3)]
    assert {(arrival.message_id, arrival.size) for arrival in arrivals} == {("<1@x.example>", len(letter))}
    assert seconds >= 3 * 4 * 0.02  # MAIL, RCPT, DATA and the dot wait for an answer each


def _arrival(person: str, update_id: int) -> Arrival:
    return Arrival(0, person, f"<update.1795315450.{update_id}.1@status.example.com>", 1)


def _run(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    machine = {"cores": 2, "processor": "some", "python": "3.11", "postgresql": "15"}
    return {
        "begun": "2026-11-20T13:00:00+00:00",
        "size": "small",
        "machine": machine,
        "message_bytes": 20_000,
        "results": results,
    }
