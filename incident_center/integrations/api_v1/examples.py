"""Answers as the OpenAPI document shows them; a test holds them against the schemas."""

from __future__ import annotations

from typing import Any

_COMPONENT = {
    "id": 1,
    "key": "sepa-instant",
    "names": {"en": "SEPA Instant payouts", "de": "SEPA-Echtzeit-Auszahlungen"},
    "status": "major_outage",
    "updated_at": "2026-11-21T13:15:00Z",
}
_PROMISE = {
    "id": 31,
    "incident_id": 14,
    "update_id": 40,
    "made_at": "2026-11-21T13:15:00Z",
    "due_at": "2026-11-21T13:45:00Z",
    "state": "open",
    "settled_at": None,
    "kept_by_holding": False,
}
_SMS = (
    "Example Pay: Payouts are delayed. Cause not known yet. Please don't resubmit. Next update by 2:45 pm CET. "
    "https://status.example.com/i/14"
)
_PHONE = "I'm sorry that you have to wait for your money. Our next update comes by 2:45 pm CET."
_UPDATE = {
    "id": 40,
    "incident_id": 14,
    "number": 1,
    "kind": "update",
    "phase": "investigating",
    "corrects": None,
    "published_at": "2026-11-21T13:15:00Z",
    "published_by": "token ops-bot",
    "next_update_by": "2026-11-21T13:45:00Z",
    "promise": _PROMISE,
    "facts": {
        "en": {
            "subject": "Delayed: SEPA payouts to Germany",
            "known": ["Since 2:05 pm CET, SEPA payouts to Germany have been delayed or rejected."],
            "unknown": ["What the cause is."],
            "doing": ["Our engineers are looking for the cause."],
            "you_can": ["Please do not submit the same payout again, or it may go out twice."],
        }
    },
    "sms": {"en": _SMS},
    "phone": {"en": _PHONE},
    "fixed": False,
}
_INCIDENT = {
    "id": 14,
    "ref": "INC-14",
    "url": "https://status.example.com/i/14",
    "playbook": "payout-gateway-down",
    "titles": {"en": "Payout gateway down", "de": "Auszahlungs-Gateway ausgefallen"},
    "impact": "major",
    "phase": "investigating",
    "components": [_COMPONENT],
    "answers": {"scope": {"en": "SEPA payouts to Germany", "de": "SEPA-Auszahlungen nach Deutschland"}},
    "started_at": "2026-11-21T13:05:00Z",
    "declared_at": "2026-11-21T13:15:00Z",
    "declared_by": "token ops-bot",
    "resolved_at": None,
    "updated_at": "2026-11-21T13:15:00Z",
    "version": 1,
    "promise": _PROMISE,
    "updates": [_UPDATE],
    "deliveries": {
        "by_channel": {"email": {"accepted": 9120, "due": 880}, "sms": {"accepted": 2000}},
        "waiting": 880,
        "finished": False,
    },
}
_DELIVERY = {
    "update_id": 40,
    "subscriber_id": 12,
    "channel": "email",
    "state": "accepted",
    "attempts": 1,
    "provider": "email 1 smtp",
    "code": None,
    "detail": None,
    "possibly_twice": False,
    "created_at": "2026-11-21T13:15:02Z",
    "at": "2026-11-21T13:15:02Z",
}
_SNIPPET = {
    "incident_id": 14,
    "ref": "INC-14",
    "update_id": 40,
    "number": 1,
    "phase": "investigating",
    "subject": None,
    "text": _PHONE,
    "as_of": "2026-11-21T13:15:00Z",
    "next_update_by": "2026-11-21T13:45:00Z",
    "late": False,
    "url": "https://status.example.com/i/14",
}
_SUBSCRIBER = {
    "id": 12,
    "channel": "email",
    "address": "olivia@example.com",
    "language": "en",
    "time_zone": "Europe/London",
    "name": "Olivia O'Brien",
    "form": None,
    "components": None,
    "fallback": None,
    "state": "pending",
    "source": "api",
    "confirmation_open": True,
    "created_at": "2026-11-21T13:20:00Z",
    "confirmed_at": None,
    "ended_at": None,
}
_PLAYBOOK = {
    "key": "payout-gateway-down",
    "title": {"en": "Payout gateway down"},
    "use_when": {"en": "Payouts of more than one customer are stuck or rejected."},
    "impact": "critical",
    "components": ["sepa-instant"],
    "ask": {"scope": {"text": {"en": "Which payouts?"}, "sample": {"en": "SEPA payouts to Germany"}}},
    "phases": [
        {
            "phase": "investigating",
            "next_update_minutes": 30,
            "component_status": "major_outage",
            "confirm": {},
            "never_say": {"en": ["A time at which it will be repaired."]},
        }
    ],
}

ANSWERS: dict[str, Any] = {  # name of the answer's schema -> one example
    "ComponentsOut": {"items": [_COMPONENT]},
    "DeliveriesOut": {"items": [_DELIVERY], "next": "YWZ0ZXI6OTkxMjA"},
    "InboundOut": {
        "action": "stop",
        "reply": "Example Pay: You will get no more SMS from us. Reply START to get them again.",
    },
    "IncidentOut": _INCIDENT,
    "IncidentsOut": {"items": [_INCIDENT], "next": None},
    "PlaybooksOut": {"languages": ["de", "en"], "items": [_PLAYBOOK]},
    "PromisesOut": {
        "items": [_PROMISE],
        "rate": {"kept": 40, "kept_by_holding": 3, "late": 1, "open": 1},
        "next": None,
    },
    "SentAgainOut": {"update_id": 40, "people": 17},
    "SnippetsOut": {
        "channel": "phone",
        "language": "en",
        "state": "incident",
        "text": _PHONE,
        "version": "7ce156b4772f8ce3",
        "as_of": "2026-11-21T13:15:00Z",
        "next_update_by": "2026-11-21T13:45:00Z",
        "items": [_SNIPPET],
    },
    "StoppedOut": {"update_id": 40, "not_written_to": 880},
    "SubscriberOut": _SUBSCRIBER,
    "UpdateOut": _UPDATE,
}
