"""What a host consists of, and what is refused without a broker."""

from dataclasses import replace

import pytest
from click.testing import CliRunner

from incident_center.cli import cli
from incident_center.config import Settings
from incident_center.spread import require_celery
from incident_center.spread.host import plan
from tests.broker.hosts import environment

MAIL, SMS = ("smtp://127.0.0.1:9?from=a@example.com",), ("demo-mailbox://sms",)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Nothing of these tests needs a broker, so they stand without the folder's servers."""
    return replace(settings, email_urls=MAIL, sms_urls=())


def test_a_host_has_one_process_for_what_is_urgent_and_the_rest_for_each_channel_that_can_send(
    settings: Settings,
) -> None:
    assert plan(settings, queues=(), processes=2) == ["beat", "urgent", "email", "email"]
    both = replace(settings, sms_urls=SMS)
    assert plan(both, queues=(), processes=1) == ["beat", "urgent", "email", "sms"]


def test_a_host_of_one_kind_serves_the_named_queues_alone(settings: Settings) -> None:
    assert plan(settings, queues=("sms", "urgent"), processes=2) == ["sms", "sms", "urgent", "urgent"]


@pytest.mark.parametrize("words", [["beat"], ["worker", "--processes", "2"], ["worker", "--queue", "sms"]])
def test_what_needs_a_broker_says_so(
    settings: Settings, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    told = CliRunner().invoke(cli, words)
    assert told.exit_code == 1
    assert "INCIDENT_CENTER_BROKER_URL" in told.output


def test_a_missing_extra_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("incident_center.spread.find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"pip install 'incident-center\[celery\]'"):
        require_celery()
