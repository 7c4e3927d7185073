"""The closed vocabularies of the product (DESIGN §2), stored and spoken by their values.

Pure: any room may import it.
"""

from enum import StrEnum


class Impact(StrEnum):
    NONE = "none"
    MINOR = "minor"
    MAJOR = "major"
    CRITICAL = "critical"


class Phase(StrEnum):
    INVESTIGATING = "investigating"
    IDENTIFIED = "identified"
    MONITORING = "monitoring"
    RESOLVED = "resolved"
    POSTMORTEM = "postmortem"


class ComponentStatus(StrEnum):
    OPERATIONAL = "operational"
    DEGRADED_PERFORMANCE = "degraded_performance"
    PARTIAL_OUTAGE = "partial_outage"
    MAJOR_OUTAGE = "major_outage"
    UNDER_MAINTENANCE = "under_maintenance"


class UpdateKind(StrEnum):
    UPDATE = "update"
    HOLDING = "holding"
    CORRECTION = "correction"


class DraftState(StrEnum):
    OPEN = "open"
    PUBLISHED = "published"
    DISCARDED = "discarded"


class PromiseState(StrEnum):
    OPEN = "open"
    KEPT = "kept"
    LATE = "late"
    CLOSED = "closed"


class Rung(StrEnum):
    """Steps of a promise's escalation, lowest first."""

    REMIND = "remind"
    SECOND = "second"
    WARN = "warn"
    HOLD = "hold"


class RungOutcome(StrEnum):
    DONE = "done"
    SKIPPED = "skipped"


class Channel(StrEnum):
    """What a message travels by."""

    EMAIL = "email"
    SMS = "sms"


class Medium(StrEnum):
    """What a wording is written for: the two channels, an agent's two, and the page."""

    EMAIL = "email"
    SMS = "sms"
    PHONE = "phone"
    CHAT = "chat"
    PAGE = "page"


class SubscriberState(StrEnum):
    PENDING = "pending"
    CONFIRMED = "confirmed"
    UNSUBSCRIBED = "unsubscribed"
    SUPPRESSED = "suppressed"


class FormOfAddress(StrEnum):
    MR = "mr"
    MS = "ms"


class SuppressionReason(StrEnum):
    BOUNCE = "bounce"
    COMPLAINT = "complaint"
    STOP = "stop"
    UNSUBSCRIBED = "unsubscribed"


class FanoutState(StrEnum):
    OPEN = "open"  # still being cut into chunks
    CUT = "cut"  # every chunk exists
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"


class ChunkState(StrEnum):
    OPEN = "open"
    DONE = "done"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class DeliveryState(StrEnum):
    DUE = "due"
    SENDING = "sending"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    RETRY = "retry"
    FAILED = "failed"
    UNKNOWN = "unknown"
    SUPERSEDED = "superseded"
    SUPPRESSED = "suppressed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    QUARANTINED = "quarantined"


class ProviderState(StrEnum):
    """How all workers see a provider."""

    WELL = "well"
    RESTING = "resting"
    PROBED = "probed"  # it has rested and is tried with one letter


class MessageKind(StrEnum):
    """Single messages: one person, outside any fan-out."""

    CONFIRM = "confirm"
    ALREADY = "already"
    WELCOME = "welcome"
    GOODBYE = "goodbye"
    REPLY = "reply"  # to a text, where its way in carries no answer back
    STAFF = "staff"


class Role(StrEnum):
    ADMIN = "admin"
    LEAD = "lead"
    APPROVER = "approver"
    AGENT = "agent"
    VIEWER = "viewer"


class StaffGroup(StrEnum):
    """Whom an entry of INCIDENT_CENTER_STAFF_URLS reaches; an entry without a group is told everything."""

    LEAD = "lead"
    SECOND = "second"
    PAGE = "page"  # the named person who is called when nobody else writes
