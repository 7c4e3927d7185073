"""What a receipt makes of a row: pure.

Receipts come late, twice and in any order. So each state has a rank, and a row only ever climbs: whatever the order,
the same receipts end in the same state.
"""

from __future__ import annotations

from dataclasses import dataclass

from incident_center.states import DeliveryState

# Their outcome is about to be written; a receipt waits for it.
NOT_SETTLED = frozenset({DeliveryState.DUE, DeliveryState.SENDING})

# A receipt proves that the provider has the message, so nobody is sent a second one. A bounce that is not for good
# is less than a delivery: out-of-office replies come as such, and phones are switched on again. A late bounce for
# good is more: the first server had taken the message, the last one did not. Rows that are not named here (superseded,
# suppressed, expired, cancelled, quarantined) were ended before the wire; no receipt changes them.
_RANKS = {
    DeliveryState.RETRY: 0,
    DeliveryState.UNKNOWN: 0,
    DeliveryState.ACCEPTED: 1,
    DeliveryState.FAILED: 3,
    DeliveryState.DELIVERED: 4,
    DeliveryState.COMPLAINED: 6,
}
_BOUNCED_FOR_NOW, _BOUNCED_FOR_GOOD = 2, 5


@dataclass(frozen=True)
class Standing:
    """A state, and whether it is for good; that matters to a bounce alone."""

    state: DeliveryState
    permanent: bool = False

    @property
    def rank(self) -> int | None:
        """None for a row that no receipt changes."""
        if self.state is DeliveryState.BOUNCED:
            return _BOUNCED_FOR_GOOD if self.permanent else _BOUNCED_FOR_NOW
        return _RANKS.get(self.state)


def changes(row: Standing, told: Standing) -> bool:
    """Whether what a receipt tells becomes the row's state."""
    if row.rank is None or told.rank is None:
        return False
    return told.rank > row.rank
