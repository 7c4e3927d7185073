"""What the API answers. Every field is always there; null where there is nothing to say. Times are UTC."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from incident_center.integrations.api_v1.fields import Answer
from incident_center.states import (
    Channel,
    ComponentStatus,
    DeliveryState,
    FormOfAddress,
    Impact,
    Phase,
    SubscriberState,
    UpdateKind,
)


class ComponentOut(Answer):
    id: int
    key: str
    names: dict[str, str] = Field(description="Language to name, as customers know it.")
    status: ComponentStatus
    updated_at: datetime


class ComponentsOut(Answer):
    items: list[ComponentOut]


class FactsOut(Answer):
    """As readers see them, times said in the house's zone."""

    subject: str
    known: list[str]
    unknown: list[str]
    doing: list[str]
    you_can: list[str]


class PromiseOut(Answer):
    id: int
    incident_id: int
    update_id: int
    made_at: datetime
    due_at: datetime
    state: str = Field(description="open, overdue (open and its minute has passed), kept, late or closed.")
    settled_at: datetime | None
    kept_by_holding: bool = Field(description="It was kept by the pre-approved holding update.")


class KeptRateOut(Answer):
    """Over all promises ever made."""

    kept: int
    kept_by_holding: int = Field(description="Of the kept ones.")
    late: int
    open: int


class PromisesOut(Answer):
    items: list[PromiseOut]
    rate: KeptRateOut
    next: str | None = Field(description="The cursor of the next page; null on the last.")


class UpdateOut(Answer):
    id: int
    incident_id: int
    number: int
    kind: UpdateKind
    phase: Phase
    corrects: int | None
    published_at: datetime
    published_by: str
    next_update_by: datetime | None
    promise: PromiseOut | None
    facts: dict[str, FactsOut] = Field(description="Per language.")
    sms: dict[str, str] = Field(description="Per language.")
    phone: dict[str, str] = Field(description="Per language.")
    fixed: bool = Field(description="A typo was fixed since; these are the fixed words.")


class DeliveryCounts(Answer):
    """Over all updates of the incident; while a fan-out is being cut, of those found so far."""

    by_channel: dict[str, dict[str, int]] = Field(description="Channel, then state, then how many.")
    waiting: int = Field(description="People who may still get it.")
    finished: bool = Field(description="Everybody was found, and nobody waits any more.")


class IncidentOut(Answer):
    id: int
    ref: str
    url: str
    playbook: str
    titles: dict[str, str]
    impact: Impact
    phase: Phase
    components: list[ComponentOut]
    answers: dict[str, dict[str, str]]
    started_at: datetime
    declared_at: datetime
    declared_by: str
    resolved_at: datetime | None
    updated_at: datetime
    version: int = Field(description="Number of published updates; give it as after_version or If-Match.")
    promise: PromiseOut | None = Field(description="The one that the latest update made.")
    updates: list[UpdateOut] = Field(description="Newest first.")
    deliveries: DeliveryCounts | None = Field(
        description="Null in lists for an incident that has ended: counting all of them would keep the database busy."
    )


class IncidentsOut(Answer):
    items: list[IncidentOut] = Field(description="Newest first.")
    next: str | None = Field(description="The cursor of the next page; null on the last.")


class DeliveryOut(Answer):
    """One update to one person, named by the two. Addresses are not here; see the subscriber."""

    update_id: int
    subscriber_id: int
    channel: Channel
    state: DeliveryState
    attempts: int
    provider: str | None
    code: str | None = Field(description="The provider's code; null for a plain acceptance.")
    detail: str | None = Field(description="The provider's words, without addresses.")
    possibly_twice: bool
    created_at: datetime = Field(description="First try, or when it was queued.")
    at: datetime = Field(description="Last change of state.")


class DeliveriesOut(Answer):
    items: list[DeliveryOut]
    next: str | None = Field(description="The cursor of the next page; null on the last.")


class SnippetOut(Answer):
    """One incident, as an agent tells it."""

    incident_id: int
    ref: str
    update_id: int
    number: int
    phase: Phase
    subject: str | None
    text: str
    as_of: datetime
    next_update_by: datetime | None
    late: bool = Field(description="The promised update has not come in time. Do not repeat its time.")
    url: str


class SnippetsOut(Answer):
    """What an agent says now. Also with no open incident there is something to say."""

    channel: str
    language: str
    state: str = Field(
        description="incident; resolved (within the last two hours); checking (something is wrong, no update yet);"
        " maintenance; all_well."
    )
    text: str = Field(description="All that is to be said, every item in it.")
    version: str = Field(description="Changes when the words or the promise's lateness do; also the ETag.")
    as_of: datetime = Field(
        description="When the newest of these words were published; now where there are none."
    )
    next_update_by: datetime | None = Field(description="The earliest promise that is still open.")
    items: list[SnippetOut] = Field(
        description="Open incidents, the newest news first, then those that ended within two hours."
    )


class SubscriberOut(Answer):
    id: int
    channel: Channel
    address: str | None = Field(description="Null once erased.")
    language: str
    time_zone: str
    name: str | None
    form: FormOfAddress | None
    components: list[int] | None = Field(description="Ids; null means all.")
    fallback: str | None = Field(
        description="Second address, of the other channel, used when the first one fails; once confirmed."
    )
    state: SubscriberState
    source: str
    confirmation_open: bool = Field(description="An address waits for its owner's yes, by link or code.")
    created_at: datetime
    confirmed_at: datetime | None
    ended_at: datetime | None


class PhaseOut(Answer):
    phase: Phase
    next_update_minutes: int | None
    component_status: ComponentStatus | None
    confirm: dict[str, list[str]] = Field(
        description="What must be confirmed before it may be said, per language."
    )
    never_say: dict[str, list[str]]


class QuestionOut(Answer):
    text: dict[str, str]
    sample: dict[str, str]


class PlaybookOut(Answer):
    key: str
    title: dict[str, str]
    use_when: dict[str, str]
    impact: Impact = Field(description="Suggested.")
    components: list[str] = Field(description="Suggested, by key.")
    ask: dict[str, QuestionOut] = Field(description="What `answers` must hold, by name.")
    phases: list[PhaseOut]


class PlaybooksOut(Answer):
    languages: list[str]
    items: list[PlaybookOut]


class InboundOut(Answer):
    """What was done with a customer's text."""

    action: str = Field(description="stop, start, help or none (the text asked for nothing that we know).")
    reply: str | None = Field(
        description="A text to send back, where the gateway can; null when there is none."
    )


class StoppedOut(Answer):
    """A stopped update. Who was on the wire at that moment still gets it."""

    update_id: int
    not_written_to: int = Field(description="People who do not get it; 0 when it was stopped before.")


class SentAgainOut(Answer):
    update_id: int
    people: int = Field(description="Written to once more; 0 when nobody is left in these states.")
