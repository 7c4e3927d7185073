"""Errors: a page that says what to do, for programs problem+json, and nothing secret in the logs."""

from pathlib import Path

import pytest
from flask import Flask, abort
from flask.testing import FlaskClient
from sqlalchemy import text

from incident_center import create_app
from incident_center.center import Center
from incident_center.logs import configure_logging
from incident_center.web.context import center as the_center
from tests.web.browser import signed_in

pytestmark = pytest.mark.one_database


def test_a_page_that_is_not_there_says_so_to_people_and_to_programs(client: FlaskClient) -> None:
    page, problem = client.get("/no/such/page"), client.get("/api/no/such/call")
    assert page.status_code == problem.status_code == 404
    assert "There is nothing here" in page.text
    assert problem.content_type == "application/problem+json"


def test_customers_are_told_of_trouble_in_their_language_and_staff_in_theirs(app: Flask) -> None:
    german = app.test_client().get("/no/such/page", headers={"Accept-Language": "de"})
    assert '<html lang="de">' in german.text
    assert "404" not in german.text
    console = app.test_client().get("/console/no/such/page")
    assert "Nothing here" in console.text


def test_more_than_a_megabyte_is_refused_clearly(app: Flask) -> None:
    browser = signed_in(app, "lead")
    answer = browser.post("/console/declare/payout-gateway-down", {"started_at": "x" * 1_100_000})
    assert answer.status_code == 413
    assert "at most 1 MB" in answer.text


def test_without_a_database_the_answer_is_503_and_when_to_come_back(app: Flask, client: FlaskClient) -> None:
    @app.get("/test/query")
    def query() -> str:
        with the_center().database.reading() as session:
            session.execute(text("SELECT 1 FROM a_table_that_went_away"))
        return ""

    answer = client.get("/test/query")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"


def test_health_tells_whether_the_database_answers(client: FlaskClient) -> None:
    answer = client.get("/healthz")
    assert answer.status_code == 200
    assert answer.json == {"status": "ok", "database": "ok", "worker_seen_seconds": None}


def test_a_bug_is_answered_500_without_its_inner_words(app: Flask, client: FlaskClient) -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = False

    @app.get("/test/bug")
    def bug() -> str:
        raise RuntimeError("secret inner words")

    answer = client.get("/test/bug")
    assert answer.status_code == 500
    assert "secret inner words" not in answer.text


def test_logs_name_the_rule_and_never_the_key_in_the_address(
    center: Center, capsys: pytest.CaptureFixture[str]
) -> None:
    app = create_app(center=center)

    def nothing(token: str) -> str:
        abort(404)

    app.add_url_rule("/test/<token>", view_func=nothing)
    configure_logging()  # tests are quiet; this one listens
    app.test_client().get("/test/very-secret-key?address=o'brien@example.com")
    configure_logging(quiet=True)
    said = capsys.readouterr().err
    assert '"rule": "/test/<token>"' in said
    assert "very-secret-key" not in said
    assert "brien" not in said


def test_static_files_with_a_version_may_be_kept_for_a_year(client: FlaskClient) -> None:
    page = client.get("/sign-in").text
    address = next(part for part in page.split('"') if part.startswith("/static/console.css?v="))
    with client.get(address) as kept, client.get("/static/lib/htmx.min.js") as library:
        assert "immutable" in kept.headers["Cache-Control"]
        assert library.status_code == 200


def test_every_partial_has_an_id_of_its_own_to_be_swapped_by() -> None:
    """A partial that polls names its own target, so that it can stand on any page."""
    folder = Path(__file__).parents[2] / "templates"
    polling = [path for path in folder.rglob("_*.html") if "hx-trigger" in path.read_text(encoding="utf-8")]
    assert len(polling) >= 4
    for path in polling:
        source = path.read_text(encoding="utf-8")
        assert "id=" in source, path
        assert "hx-target=" in source, path
