"""How much is measured: `full` gives the figures of docs/benchmarks.md, `small` shows soon that all of it works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    rounds: int  # of the local relay, everybody in turn, and of the distant one
    local: int  # people in a fan-out there
    source: int  # messages by smtp-source
    smtplib: int
    post_office: int
    apprise: int
    distant: int  # people in each round there
    many: tuple[int, int]  # two audiences, to compare time and memory
    sms: int
    overtaken: int
    published: int  # updates published to compare a small with a big audience


SIZES = {
    "small": Size(
        rounds=2,
        local=4_000,
        source=4_000,
        smtplib=1_000,
        post_office=300,
        apprise=10,
        distant=3_000,
        many=(2_000, 20_000),
        sms=1_000,
        overtaken=4_000,
        published=20,
    ),
    "medium": Size(  # a quarter of an hour: what the figures say, with fewer people and rounds
        rounds=3,
        local=40_000,
        source=20_000,
        smtplib=5_000,
        post_office=1_000,
        apprise=30,
        distant=10_000,
        many=(40_000, 400_000),
        sms=2_000,
        overtaken=30_000,
        published=30,
    ),
    "full": Size(
        rounds=5,
        local=100_000,
        source=20_000,
        smtplib=10_000,
        post_office=3_000,
        apprise=100,
        distant=15_000,
        many=(100_000, 1_000_000),
        sms=4_000,
        overtaken=50_000,
        published=60,
    ),
}
