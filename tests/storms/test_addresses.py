"""Whatever a valid address looks like, the server is told exactly that one, and no other."""

from __future__ import annotations

import random
import string
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import idna
import phonenumbers
import pytest

from incident_center.audience.addresses import parse_email, parse_phone
from incident_center.delivery.questions import progress
from incident_center.errors import Refused
from incident_center.house import House
from tests.storms.children import publish_the_end
from tests.storms.conftest import Tell
from tests.storms.counts import COUNTS
from tests.storms.storm import Storm, enrolled, storm_over

pytestmark = [pytest.mark.storm, pytest.mark.timeout(1800)]

ATOM = string.ascii_letters + string.digits + "!#$%&'*+-/=?^_`{|}~"
# Between quotes anything printable may stand, a quote and a backslash behind a backslash (RFC 5321 §4.1.2).
QUOTABLE = [f"\\{sign}" if sign in '"\\' else sign for sign in map(chr, range(32, 127))] + [
    " ",
    '\\"',
    "\\\\",
] * 5
LETTERS = "äöüßéèñçøåłżčşğабвгдежзиклмнопрстуфхцчшщαβγδεζηθλμπσφ漢字日本語한국어עבריתहिन्दी"
DOMAINS = (
    "example.com",
    "xn--bcher-kva.example.com",
    "bücher.example.com",
    "straße.example.com",
    "почта.example.com",
    "例子.example.com",
    "δοκιμή.example.com",
    "a-b.c-d.example.com",
    "sub.sub.sub.example.com",
    f"{'d' * 63}.example.com",
)


def test_every_valid_address_reaches_the_server_as_it_is_stored(
    database_url: str, database_kind: str, house: House, tmp_path: Path, tell: Tell
) -> None:
    chance = random.Random(20261120)
    wanted = _addresses(chance, COUNTS.addresses)
    numbers = _numbers(chance, COUNTS.numbers)
    with storm_over(database_url, tmp_path, chunk=500) as storm:
        enrolled(storm.database, wanted, numbers)
        with storm.database.transaction() as session:
            update_id = publish_the_end(session, house)
        while storm.work().status == 0 and not _finished(storm, update_id):
            pass
        heard = Counter(storm.smtp.recipients())
        texted = Counter(storm.gateway.recipients())
    assert heard == Counter(_on_the_wire(address) for address in wanted)
    assert texted == Counter(numbers)
    tell(
        f"addresses on {database_kind}",
        addresses=len(wanted),
        quoted=sum(address.startswith('"') for address in wanted),
        with_blank_or_backslash=sum(" " in address or "\\" in address for address in wanted),
        beyond_ascii=sum(not address.isascii() for address in wanted),
        numbers=len(numbers),
        others=0,
    )


def _finished(storm: Storm, update_id: int) -> bool:
    with storm.database.reading() as session:
        return progress(session, update_id).finished


def _addresses(chance: random.Random, number: int) -> list[str]:
    """Addresses as people type them, through the same door as theirs; each mailbox once."""
    found: dict[str, str] = {}
    while len(found) < number:
        try:
            read = parse_email(_typed(chance))
        except Refused:
            continue  # two dots in a row, too long, or letters that no name may hold
        found[read.key] = read.address
    return list(found.values())


def _typed(chance: random.Random) -> str:
    kind = chance.choice(["plain", "tagged", "apostrophe", "quoted", "beyond", "dotted", "longest", "one"])
    size = chance.randint(1, 20)
    local = {
        "plain": lambda: _some(chance, ATOM, size),
        "tagged": lambda: f"{_some(chance, string.ascii_lowercase, size)}+{_some(chance, ATOM, 5)}",
        "apostrophe": lambda: f"o'{_some(chance, string.ascii_letters, size)}",
        "quoted": lambda: f'"{_some(chance, QUOTABLE, size)}"',
        "beyond": lambda: _some(chance, LETTERS + string.ascii_lowercase, size),
        "dotted": lambda: ".".join(_some(chance, ATOM, chance.randint(1, 4)) for _ in range(4)),
        "longest": lambda: _some(chance, ATOM, 64),
        "one": lambda: chance.choice(ATOM),
    }[kind]()
    domain = chance.choice(DOMAINS)
    return f"{local}@{domain.upper() if domain.isascii() and chance.random() < 0.1 else domain}"


def _some(chance: random.Random, letters: Sequence[str], size: int) -> str:
    return "".join(chance.choices(letters, k=size))


def _numbers(chance: random.Random, number: int) -> list[str]:
    found: set[str] = set()
    regions = sorted(phonenumbers.SUPPORTED_REGIONS)
    while len(found) < number:
        example = phonenumbers.example_number_for_type(
            chance.choice(regions), phonenumbers.PhoneNumberType.MOBILE
        )
        if example is None:
            continue
        digits = str(example.national_number)
        drawn = digits[:-5] + _some(chance, string.digits, 5)
        try:
            found.add(parse_phone(f"+{example.country_code}{drawn}"))
        except Refused:
            continue
    return sorted(found)


def _on_the_wire(address: str) -> str:
    local, _, domain = address.rpartition("@")
    return f"{local}@{domain if domain.isascii() else idna.encode(domain, uts46=True).decode()}"
