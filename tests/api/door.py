"""The API's front door as a program knocks at it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask.testing import FlaskClient

from tests.builders import NOW

Reply = (
    Any  # a werkzeug TestResponse; its json is typed as perhaps None, which every test would have to rule out
)
PROBLEM = "application/problem+json"


@dataclass
class Door:
    client: FlaskClient
    token: str | None

    def get(self, path: str, **headers: str) -> Reply:
        return self.client.get(f"/api/v1{path}", headers=self._headers(headers))

    def post(self, path: str, body: Any, **headers: str) -> Reply:
        return self.client.post(f"/api/v1{path}", json=body, headers=self._headers(headers))

    def patch(self, path: str, body: Any, **headers: str) -> Reply:
        return self.client.patch(f"/api/v1{path}", json=body, headers=self._headers(headers))

    def delete(self, path: str) -> Reply:
        return self.client.delete(f"/api/v1{path}", headers=self._headers({}))

    def raw(self, path: str, data: bytes, content_type: str = "application/json") -> Reply:
        return self.client.post(
            f"/api/v1{path}", data=data, content_type=content_type, headers=self._headers({})
        )

    def _headers(self, more: dict[str, str]) -> dict[str, str]:
        own = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return own | {name.replace("_", "-"): value for name, value in more.items()}


def problem(answer: Reply, status: int) -> dict[str, Any]:
    """The answer's problem; it must be a whole one."""
    assert answer.status_code == status, answer.get_data(as_text=True)
    assert answer.content_type == PROBLEM
    found: dict[str, Any] = answer.get_json(force=True)
    assert found["status"] == status
    assert found["type"]
    assert found["title"]
    assert found["detail"]
    return found


def fields(answer: Reply) -> dict[str, str]:
    """Field to sentence of a 422."""
    return {error["field"]: error["message"] for error in problem(answer, 422)["errors"]}


def in_minutes(minutes: int) -> str:
    return (NOW + timedelta(minutes=minutes)).isoformat()


def an_update(**parts: Any) -> dict[str, Any]:
    """A body that publishes the script's words as they are."""
    return {"phase": "investigating", "next_update_by": in_minutes(30)} | parts


def a_declaration(components: list[int], **parts: Any) -> dict[str, Any]:
    return {
        "playbook": "payout-gateway-down",
        "components": components,
        "impact": "major",
        "started_at": in_minutes(-20),
        "answers": {"scope": {"en": "SEPA payouts to Germany", "de": "SEPA-Auszahlungen nach Deutschland"}},
    } | parts
