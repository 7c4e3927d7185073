"""How fast a provider may be asked: `rate=` and `connections=` in its URL, kept by all workers together.

Read here and taken out of the URL, so that no library sees them. Who keeps them is the engine.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import unquote_plus

from incident_center.delivery.transports.stock import UnusablePlugin

_SLOWEST, _FASTEST = (
    0.01,
    100_000.0,
)  # messages a second: one in 100 s is the least that ends within an outage
MOST_CONNECTIONS = 1000
_DECIMAL = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?")


@dataclass(frozen=True)
class ProviderLimits:
    """`rate`: messages a second; `connections`: at one time. None: as much as it takes."""

    rate: float | None = None
    connections: int | None = None


NO_LIMITS = ProviderLimits()


def take_limits(url: str, *, known: Collection[str]) -> tuple[str, ProviderLimits]:
    """The URL without the options that are named in `known` ("rate", "connections"), and what they said.

    Raises UnusablePlugin for an odd value, or an option that stands there twice.
    """
    head, mark, query = url.partition("?")
    rest, found = [], dict[str, str]()
    for piece in query.split("&"):
        name, _, value = piece.partition("=")
        option = unquote_plus(name).strip().lower()
        if option not in known:
            rest.append(piece)
        elif option in found:
            raise UnusablePlugin(f"carries the option “{option}” twice")
        else:
            found[option] = unquote_plus(value).strip()
    if not found:
        return url, NO_LIMITS
    kept = "&".join(rest)
    return head + (mark + kept if kept else ""), ProviderLimits(
        rate=_rate(found["rate"]) if "rate" in found else None,
        connections=_connections(found["connections"]) if "connections" in found else None,
    )


def _rate(value: str) -> float:
    if not _DECIMAL.fullmatch(value) or not _SLOWEST <= float(value) <= _FASTEST:
        raise UnusablePlugin("has an odd rate; it is in messages a second, such as rate=10 or rate=0.5")
    return float(value)


def _connections(value: str) -> int:
    if not value.isascii() or not value.isdigit() or not 1 <= int(value[:9]) <= MOST_CONNECTIONS:
        raise UnusablePlugin(f"has an odd number of connections; 1 to {MOST_CONNECTIONS}")
    return int(value)
