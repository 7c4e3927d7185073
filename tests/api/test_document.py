"""The OpenAPI document: true, whole, and held against the API by generated requests."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.result import Ok

from incident_center.db import Database
from incident_center.integrations.api_v1.fields import MAX_ID, parse_instant
from tests.api.door import Door
from tests.builders import mai

pytestmark = pytest.mark.one_database
HELD = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "ignored_auth",
)
EXAMPLES = 20  # per call; about 10 s in all


@pytest.fixture
def document(app: Flask) -> dict[str, Any]:
    answer = app.test_client().get("/api/v1/openapi.json")
    assert answer.status_code == 200
    return dict(answer.json or {})


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def test_the_document_needs_no_token_and_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


def test_every_call_of_the_application_is_in_the_document(app: Flask, document: dict[str, Any]) -> None:
    there = {(path, method.upper()) for path, method, _ in operations(document)}
    rules = {
        (rule.rule.replace("<int:", "{").replace(">", "}"), method)
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/v1/") and rule.endpoint != "api_v1_document"
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert there == rules


def test_operation_ids_are_names_for_methods(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() and len(name) < 24 for name in names)


def test_every_call_tells_its_errors_its_role_and_what_it_is_for(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        told = set(operation["responses"])
        assert told >= {"401", "403", "422", "429", "500", "503"}, (method, path)
        if "requestBody" in operation:
            assert told >= {"400", "413", "415"}, (method, path)
        if "{" in path:
            assert "404" in told, (method, path)
        assert operation["x-roles"]
        assert operation["summary"]
        good = [
            r for status, r in operation["responses"].items() if status in {"200", "201"} and "content" in r
        ]
        for response in good:
            if set(response["content"]) == {"text/csv"}:
                continue
            name = response["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            assert document["components"]["schemas"][name]["examples"], name
        for status, response in operation["responses"].items():
            if status >= "400":
                assert set(response["content"]) == {"application/problem+json"}, (method, path, status)


def test_schemas_are_sound_and_their_examples_fit(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    whole = {"$defs": schemas}
    shown = 0
    for name, schema in schemas.items():
        validator = Draft202012Validator(
            _local({**whole, "$ref": f"#/$defs/{name}"})
        )  # raises for an unsound one
        for example in schema.get("examples", []):
            assert [error.message for error in validator.iter_errors(example)] == [], name
            shown += 1
    assert shown >= 15
    bodies = [
        o["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        for _, _, o in operations(document)
        if "requestBody" in o
    ]
    assert all(schemas[ref.rpartition("/")[2]]["examples"] for ref in bodies)


def _local(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            key: value.replace("#/components/schemas/", "#/$defs/") if key == "$ref" else _local(value)
            for key, value in schema.items()
        }
    return [_local(each) for each in schema] if isinstance(schema, list) else schema


def test_generated_requests_find_no_fault(
    app: Flask, tokens: dict[str, str], first: dict[str, Any], database: Database
) -> None:
    """Right and wrong requests for every call: nothing breaks, and every answer is as the document says."""
    with database.transaction() as session:
        subscriber = mai(session).id
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app)
    load_all_checks()
    checks: list[Any] = [CHECKS.get_one(name) for name in HELD]
    wrong_bodies = [
        *checks,
        CHECKS.get_one("negative_data_rejection"),
    ]  # other wrong parts may get lost on the wire
    own = {"Authorization": f"Bearer {tokens['lead']}"}
    tried = 0
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        strategy = operation.as_strategy()
        wrong = operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=st.one_of(strategy, wrong))
        def hold(case: schemathesis.Case[Any]) -> None:
            nonlocal tried
            tried += 1
            _aim(
                case,
                {"incident_id": first["incident_id"], "update_id": first["id"], "subscriber_id": subscriber},
            )
            body_is_wrong = case.meta is not None and case.meta.is_negative_at(ParameterLocation.BODY)
            response = case.call(headers=own)
            refused_for_its_size = (
                response.status_code == 413
            )  # which the check of wrong bodies does not know
            held = wrong_bodies if body_is_wrong and not refused_for_its_size else checks
            case.validate_response(response, headers=own, checks=held)

        hold()
    assert tried > 100


def _aim(case: schemathesis.Case[Any], there: dict[str, int]) -> None:
    """Generated ids hit nothing: most right ones are turned to what is there, so that the calls have work to do."""
    for name, value in case.path_parameters.items():
        if isinstance(value, int) and case.method == "DELETE":
            case.path_parameters[name] = 4711  # the one who is there must stay for the other calls
        elif isinstance(value, int) and 0 < value <= MAX_ID and value % 4:
            case.path_parameters[name] = there[name]
    if re.fullmatch("[a-z]{2,3}", str(case.query.get("language"))):
        case.query["language"] = "de"


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=84_000)).map(
    lambda since: EPOCH + since
)
OFFSETS = st.integers(min_value=-14 * 60, max_value=14 * 60).map(lambda m: timezone(timedelta(minutes=m)))


@given(MOMENTS, OFFSETS)
def test_every_time_with_an_offset_is_read_as_that_moment(moment: datetime, offset: timezone) -> None:
    moment = moment.astimezone(offset)
    assert parse_instant(moment.isoformat()) == moment
    assert parse_instant(moment.astimezone(UTC).isoformat().replace("+00:00", "Z")) == moment


@given(MOMENTS)
def test_no_time_without_an_offset_is_ever_read(moment: datetime) -> None:
    with pytest.raises(ValueError, match="offset"):
        parse_instant(moment.isoformat().removesuffix("+00:00"))


@given(st.text(max_size=40))
def test_whatever_is_no_time_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        parse_instant("at " + text)


@given(st.one_of(st.integers(), st.floats(), st.booleans(), st.none(), st.lists(st.integers())))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None)
def test_a_time_is_never_a_number(lead: Door, value: Any) -> None:
    answer = lead.post("/incidents", {"started_at": value})
    if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 (NaN): not JSON at all
        assert answer.status_code == 400
        return
    [told] = [e for e in answer.get_json(force=True)["errors"] if e["field"] == "started_at"]
    assert "number" in told["message"]
