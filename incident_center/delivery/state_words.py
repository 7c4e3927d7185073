"""What the states of a delivery are called, for leads and whoever calls on their behalf."""

from incident_center.states import DeliveryState

# In the order of the table: reached, on the way, unclear, not reached. The second text explains the first.
STATES: dict[DeliveryState, tuple[str, str]] = {
    DeliveryState.DELIVERED: ("Delivered", "the provider says that it arrived"),
    DeliveryState.ACCEPTED: ("Handed over", "the provider has taken it"),
    DeliveryState.SENDING: ("Being sent", "on the wire at this moment"),
    DeliveryState.DUE: ("Waiting", "their turn comes"),
    DeliveryState.RETRY: ("To be tried again", "it did not work yet"),
    DeliveryState.UNKNOWN: ("Unclear", "they may have it; the answer was lost"),
    DeliveryState.COMPLAINED: ("Marked as spam", "it arrived and was not welcome"),
    DeliveryState.FAILED: ("Failed", "refused for good, or given up"),
    DeliveryState.BOUNCED: ("Came back", "taken first, then returned"),
    DeliveryState.QUARANTINED: ("Set aside", "their message could not be written"),
    DeliveryState.EXPIRED: ("Too late", "it would have been old news"),
    DeliveryState.CANCELLED: ("Stopped", "a lead stopped it, or they left"),
    DeliveryState.SUPPRESSED: ("Not written to", "their address is gone"),
    DeliveryState.SUPERSEDED: ("Got newer words", "a newer update took its place"),
}
