"""What callers send: bodies, queries, paths and headers. Strict, with examples for the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StringConstraints
from pydantic.config import JsonDict

from incident_center.integrations.api_v1.fields import (
    Confirmed,
    Id,
    Instant,
    Language,
    Line,
    Name,
    PathId,
    Sentences,
    Strict,
    Text,
)
from incident_center.states import (
    Channel,
    ComponentStatus,
    DeliveryState,
    FormOfAddress,
    Impact,
    Phase,
    PromiseState,
)

_UPDATE_EXAMPLE: JsonDict = {
    "phase": "identified",
    "next_update_by": "2026-11-21T15:00:00+01:00",
    "confirmed": [],
    "facts": {"en": {"doing": ["We are rerouting payouts over our second connection."]}},
    "after_version": 1,
}
ByLanguage = dict[Language, Line]


class FactsIn(Strict):
    """Words that replace the script's. What is left out stays as the script has it."""

    subject: Line | None = None
    known: Sentences | None = None
    unknown: Sentences | None = None
    doing: Sentences | None = None
    you_can: Sentences | None = None


class FirstUpdateIn(Strict):
    """The update that makes a new incident public; its phase is 'investigating' unless said otherwise."""

    phase: Phase = Phase.INVESTIGATING
    next_update_by: Instant | None = Field(
        default=None, description="The promise. Required unless the phase is 'resolved'."
    )
    confirmed: list[Confirmed] = Field(
        default=[],
        max_length=40,
        description="What the phase asks to be confirmed: the texts in any language, or their positions from 0.",
    )
    component_status: dict[Name, ComponentStatus] | None = Field(
        default=None, description="Component key to status. Left out: what the script suggests."
    )
    facts: dict[Language, FactsIn] = Field(default={}, description="Per language, over the script.")
    sms: dict[Language, Text] = Field(default={}, description="Per language, over the script.")
    phone: dict[Language, Text] = Field(default={}, description="Per language, over the script.")


class UpdateIn(FirstUpdateIn):
    """One update. What is left out of `facts`, `sms` and `phone` comes from the playbook's script."""

    model_config = ConfigDict(json_schema_extra={"examples": [_UPDATE_EXAMPLE]})

    kind: Literal["update", "correction"] = "update"
    phase: Phase | None = Field(  # type: ignore[assignment]  # here it may be left out of a correction
        default=None, description="Required for an update; a correction keeps the incident's phase."
    )
    corrects: Id | None = Field(default=None, description="The id of the update that a correction corrects.")
    answers: dict[Name, ByLanguage] = Field(
        default={}, description="A correction's own answers: name, then language, then words."
    )
    after_version: Annotated[StrictInt, Field(ge=0, le=2**31 - 1)] | None = Field(
        default=None,
        description="The incident's version that this update follows. Another version by now: 409. Same as If-Match.",
    )


class IncidentIn(Strict):
    """A declaration. Nobody is written to before the first update."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "playbook": "payout-gateway-down",
                    "components": [1, 2],
                    "impact": "major",
                    "started_at": "2026-11-21T14:05:00+01:00",
                    "answers": {
                        "scope": {
                            "en": "SEPA payouts to Germany",
                            "de": "SEPA-Auszahlungen nach Deutschland",
                        }
                    },
                    "update": {"phase": "investigating", "next_update_by": "2026-11-21T14:45:00+01:00"},
                }
            ]
        }
    )

    playbook: Name
    components: list[Id] = Field(min_length=1, max_length=200, description="Ids, see GET /components.")
    impact: Impact
    started_at: Instant
    answers: dict[Name, ByLanguage] = Field(
        default={}, description="To the playbook's questions: name, then language, then words."
    )
    update: FirstUpdateIn | None = Field(default=None, description="Published in the same transaction.")


class NothingIn(Strict):
    """The call says it all: send {}."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}]})


class SendAgainIn(Strict):
    """Who is written to once more. People who may have it ('unknown') get it twice, and are counted as such."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"states": ["failed", "expired"]}]})

    states: list[Literal["failed", "expired", "quarantined", "unknown"]] = Field(min_length=1, max_length=4)
    as_of: Instant | None = Field(
        default=None,
        description="When you read the numbers: whose state has changed since is left out. Left out: now; "
        "with 'unknown' it is needed, unless the request has an Idempotency-Key.",
    )


class SubscriberIn(Strict):
    """A customer to enrol. They are asked to confirm; nothing else is sent before they do."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "channel": "email",
                    "address": "olivia@example.com",
                    "language": "en",
                    "time_zone": "Europe/London",
                    "name": "Olivia O'Brien",
                    "form": None,
                    "components": None,
                }
            ]
        }
    )

    channel: Channel
    address: Annotated[str, StringConstraints(max_length=400)] = Field(
        description="E-mail address, or phone number with country code (+49…)."
    )
    language: Language
    time_zone: Annotated[str, StringConstraints(max_length=64)] = Field(
        description="IANA name, Europe/Berlin."
    )
    name: Line | None = None
    form: FormOfAddress | None = None
    components: list[Id] | None = Field(
        default=None, max_length=200, description="Ids; null means all, also new ones."
    )
    fallback: Annotated[str, StringConstraints(max_length=400)] | None = Field(
        default=None,
        description="Second address, of the other channel, for when the first one fails. Its owner is asked too.",
    )


class SubscriberChangeIn(Strict):
    """What to change; what is left out stays. A new address counts once its owner has confirmed it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"language": "de", "components": [1]}]})

    channel: Channel | None = None
    address: Annotated[str, StringConstraints(max_length=400)] | None = None
    language: Language | None = None
    time_zone: Annotated[str, StringConstraints(max_length=64)] | None = None
    name: Line | None = None
    form: FormOfAddress | None = None
    components: list[Id] | None = Field(default=None, max_length=200)
    fallback: Annotated[str, StringConstraints(max_length=400)] | None = Field(
        default=None, description="Second address, of the channel that is not preferred; null takes it away."
    )


class CodeIn(Strict):
    """The code that the customer reads out."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"code": "482913"}]})

    code: Annotated[str, StringConstraints(pattern=r"^[0-9]{4,8}$")]


class InboundSmsIn(BaseModel):
    """A text that a customer sent to our number."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"from": "+4915112345678", "text": "STOP"}]},
    )

    sender: Annotated[str, StringConstraints(max_length=40)] = Field(
        alias="from", description="With country code."
    )
    text: Annotated[str, StringConstraints(max_length=2000)]


class IncidentPath(BaseModel):
    incident_id: PathId


class UpdatePath(BaseModel):
    update_id: PathId


class SubscriberPath(BaseModel):
    subscriber_id: PathId


class PageQuery(Strict):
    cursor: Annotated[str, StringConstraints(max_length=200)] | None = Field(
        default=None, description="The `next` of the page before."
    )
    limit: int = Field(default=20, ge=1, le=100)


class IncidentsQuery(PageQuery):
    state: Literal["open", "ended", "all"] = "all"


class DeliveriesQuery(PageQuery):
    state: DeliveryState | None = None
    channel: Channel | None = None


class PromisesQuery(PageQuery):
    state: PromiseState | None = None


class SnippetsQuery(Strict):
    channel: Literal["chat", "email", "phone", "sms"]
    language: Language


class IdempotencyHeader(BaseModel):
    key: Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,200}$")] | None = Field(
        default=None,
        alias="Idempotency-Key",
        description="Your own word for this deed: sent again with the same body, it gets the same answer.",
    )


class PublishHeader(IdempotencyHeader):
    version: Annotated[str, StringConstraints(pattern=r'^"?[0-9]{1,9}"?$')] | None = Field(
        default=None,
        alias="If-Match",
        description="The incident's version, as its ETag has it; see after_version.",
    )


class UnlessSeenHeader(BaseModel):
    etag: str | None = Field(
        default=None, alias="If-None-Match", description="The ETag of an answer that you have."
    )
