"""Tables only, one file for each group of nouns. No rules, no imports of other rooms."""

from incident_center.models.audience import Confirmation, Subscriber, SubscriberComponent, Suppression
from incident_center.models.delivery import Attempt, Chunk, Delivery, Fanout, Message
from incident_center.models.incidents import (
    Component,
    ComponentChange,
    Draft,
    Incident,
    IncidentComponent,
    Promise,
    PromiseRung,
    Update,
    UpdateFix,
    Wording,
)
from incident_center.models.providers import Installation, Provider, ProviderSlot, Receipt
from incident_center.models.staff import (
    ApiToken,
    AuditEntry,
    IdempotencyKey,
    Role,
    Staff,
    StaffRole,
    WorkerBeat,
)

__all__ = [
    "ApiToken",
    "Attempt",
    "AuditEntry",
    "Chunk",
    "Component",
    "ComponentChange",
    "Confirmation",
    "Delivery",
    "Draft",
    "Fanout",
    "IdempotencyKey",
    "Incident",
    "IncidentComponent",
    "Installation",
    "Message",
    "Promise",
    "PromiseRung",
    "Provider",
    "ProviderSlot",
    "Receipt",
    "Role",
    "Staff",
    "StaffRole",
    "Subscriber",
    "SubscriberComponent",
    "Suppression",
    "Update",
    "UpdateFix",
    "Wording",
    "WorkerBeat",
]
