"""Errors of the API as application/problem+json (RFC 9457): a type, a title, and one sentence for each field."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flask import Response
from pydantic import BaseModel, Field

from incident_center.errors import Flaw

CONTENT_TYPE = "application/problem+json"
RETRY_SECONDS = 5


@dataclass(frozen=True)
class Kind:
    """One kind of problem. `advice` is what the caller can do about it."""

    status: int
    title: str
    advice: str


KINDS = {
    kind.status: kind
    for kind in (
        Kind(
            400,
            "The request cannot be read",
            "Send one JSON object, encoded as UTF-8, without repeated names.",
        ),
        Kind(401, "No valid token", "Send 'Authorization: Bearer TOKEN'. A token may expire or be revoked."),
        Kind(403, "The token's role does not allow this", "Use a token whose role includes this call."),
        Kind(404, "No such thing", "Check the address and the id; list calls tell the ids that exist."),
        Kind(
            405, "This address does not take that method", "The Allow header names the methods that it takes."
        ),
        Kind(409, "Somebody else was first", "Nothing was done. Read the incident again, then decide."),
        Kind(413, "The body is too large", "A body may be at most 256 kB."),
        Kind(415, "The body is not JSON", "Send 'Content-Type: application/json'."),
        Kind(
            422,
            "The input is not acceptable",
            "Nothing was done. Mend what 'errors' lists and send it again.",
        ),
        Kind(429, "Too many requests", "Wait for the seconds that the Retry-After header names."),
        Kind(
            500,
            "Something broke on our side",
            "It was noted. Send the request again with the same Idempotency-Key.",
        ),
        Kind(
            503,
            "Unavailable for a moment",
            "Nothing was done. Send it again after the seconds in Retry-After.",
        ),
    )
}


class ProblemError(BaseModel):
    """One thing that is wrong with the input."""

    field: str = Field(
        description="Path of the field, such as 'facts.de.known.0'; empty for the body as a whole."
    )
    code: str = Field(description="A stable word for programs, such as 'missing'.")
    message: str = Field(description="A sentence that says what to do.")


class Problem(BaseModel):
    """What every error answers."""

    type: str = Field(description="Names the kind of problem: 'urn:incident-center:' and the status.")
    title: str
    status: int
    detail: str
    errors: list[ProblemError] = Field(
        description="One for each field that is wrong; empty where none is to blame."
    )


class Stop(Exception):
    """Ends a request with a problem."""

    def __init__(
        self,
        status: int,
        detail: str = "",
        *,
        flaws: Iterable[Flaw] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail or KINDS[status].title)
        self.response = answer(status, detail, flaws=flaws, headers=headers)


def example(status: int) -> dict[str, Any]:
    """The problem as the OpenAPI document shows it."""
    shown = Flaw("next_update_by", "in_the_past", "This time has passed. Choose a later one.")
    return body(status, flaws=[shown] if status == 422 else []).model_dump()


def answer(
    status: int, detail: str = "", *, flaws: Iterable[Flaw] = (), headers: dict[str, str] | None = None
) -> Response:
    response = respond(body(status, detail, flaws=flaws).model_dump())
    if status in {429, 503}:
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="incident-center"'
    response.headers.update(headers or {})
    return response


def respond(problem: dict[str, Any]) -> Response:
    """A problem's JSON as the response that carries it."""
    return Response(json.dumps(problem), problem["status"], content_type=CONTENT_TYPE)


def body(status: int, detail: str = "", *, flaws: Iterable[Flaw] = ()) -> Problem:
    kind = KINDS[status]
    return Problem(
        type=f"urn:incident-center:{status}",
        title=kind.title,
        status=status,
        detail=detail or kind.advice,
        errors=[ProblemError(field=f.field, code=f.code, message=sentence(f.message)) for f in flaws],
    )


def sentence(text: str) -> str:
    """As a whole sentence; some rooms leave out the subject ("is not an e-mail address")."""
    if text.startswith(("is ", "must ", "holds ", "has ", "was ", "can ")):
        text = f"This {text}"
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")
