"""Settings: every refusal names its setting, secrets stay unseen, the environment wins over the file."""

import os
import traceback
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from incident_center.center import build_center
from incident_center.config import (
    NAMES,
    PREFIX,
    Settings,
    SettingsError,
    asset_dir,
    load_settings,
    settings_from,
)

SECRET = "a-secret-of-forty-characters-for-testing"


def environment(**changes: str | None) -> dict[str, str]:
    """The least that is accepted, with changes by short name; None leaves one out."""
    least: dict[str, str | None] = {
        "SECRET_KEY": SECRET,
        "PUBLIC_URL": "https://status.example.com",
        "COMPANY": "Example Pay",
    }
    return {PREFIX + name: text for name, text in (least | changes).items() if text is not None}


def refusal(**changes: str | None) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        settings_from(environment(**changes))
    return caught.value


def test_the_least_that_is_needed_is_secret_address_and_company() -> None:
    settings = settings_from(environment())
    assert settings.company == "Example Pay"
    assert settings.database_url == f"sqlite:///{Path('var').absolute()}/incident-center.db"
    assert settings.time_zone == "Europe/Berlin"
    assert settings.broker_url is None
    assert not settings.demo


@pytest.mark.parametrize("name", ["SECRET_KEY", "PUBLIC_URL", "COMPANY"])
def test_what_is_needed_and_missing_is_named(name: str) -> None:
    problem = refusal(**{name: None})
    assert problem.name == PREFIX + name
    assert str(problem).startswith(f"{PREFIX}{name}: is missing")


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("SECRET_KEY", "short", "at least 32 characters"),
        ("PUBLIC_URL", "status.example.com", "https://"),
        ("PUBLIC_URL", "ftp://status.example.com", "https://"),
        ("PUBLIC_URL", "https://", "https://"),
        ("PUBLIC_URL", "https://user:pw@status.example.com", "login"),
        ("PUBLIC_URL", "https://status.example.com/?a=1", "query"),
        ("DATABASE_URL", "mysql://db/ic", "postgresql://"),
        ("DATABASE_URL", "sqlite://", "in memory"),
        ("DATABASE_URL", "sqlite:///:memory:", "in memory"),
        ("EMAIL_URLS", "smtp.example.com", "entry 1"),
        ("SMS_URLS", "twilio://a:b@+491 nonsense", "entry 2"),
        ("STAFF_URLS", "crisis-team", "entry 1"),
        ("PLAYBOOKS_DIR", "/no/such/folder", "not a folder"),
        ("COMPANY", "A Company Whose Name Is Longer Than An SMS Bears", "30"),
        ("COMPANY", "Braces {here}", "plain characters"),
        ("COMPANY", "Two\nlines", "plain characters"),
        ("TIME_ZONE", "Berlin", "Europe/Berlin"),
        ("TIME_ZONE", "../etc/passwd", "Europe/Berlin"),
        ("TRUSTED_PROXIES", "-1", "0 to 10"),
        ("TRUSTED_PROXIES", "many", "0 to 10"),
        ("BROKER_URL", "amqp://localhost", "PostgreSQL"),
        ("BROKER_URL", "kafka://mq", "redis://"),
    ],
)
def test_an_odd_value_is_refused_by_name_with_what_to_do(name: str, value: str, hint: str) -> None:
    problem = refusal(**{name: value})
    assert problem.name == PREFIX + name
    assert hint in problem.problem


@example(name="PUBLIC_URL", value="https://[half an address")
@example(name="PUBLIC_URL", value="https://status.example.com:port")
@given(name=st.sampled_from(NAMES), value=st.text(max_size=60) | st.from_regex(r"https?://\S{0,20}"))
def test_whatever_is_given_is_accepted_or_refused_by_name(name: str, value: str) -> None:
    problem: SettingsError | None = None
    try:
        settings_from(environment(**{name: value}))
    except SettingsError as refused:
        problem = refused
    assert problem is None or problem.name == PREFIX + name


def test_a_misspelt_setting_is_refused_by_name() -> None:
    assert refusal(EMAIL_URL="smtp://localhost").name == PREFIX + "EMAIL_URL"


def test_other_programs_settings_are_none_of_our_business() -> None:
    found = load_settings({**environment(), "PATH": "/bin", "FLASK_DEBUG": "1"}, dotenv=None)
    assert found.company == "Example Pay"


def test_a_broker_goes_with_postgresql() -> None:
    settings = settings_from(environment(BROKER_URL="amqp://mq", DATABASE_URL="postgresql://db/ic"))
    assert settings.broker_url == "amqp://mq"


def test_urls_are_separated_by_blanks_and_line_breaks() -> None:
    settings = settings_from(environment(EMAIL_URLS="smtp://one?from=a,b\n  smtp://two  "))
    assert settings.email_urls == ("smtp://one?from=a,b", "smtp://two")


def test_a_slash_at_the_end_of_the_address_is_dropped() -> None:
    assert settings_from(environment(PUBLIC_URL="https://s.example.com/pay/")).public_url.endswith("/pay")


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_can_be_read_from_a_file(name: str, tmp_path: Path) -> None:
    """A file that cannot be read is told by its own name, so every name knows its _FILE."""
    problem = refusal(**{name: None, name + "_FILE": str(tmp_path / "absent")})
    assert problem.name == f"{PREFIX}{name}_FILE"
    assert "cannot be read" in problem.problem


def test_a_secret_in_a_file_loses_its_line_break(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n", encoding="utf-8")
    assert settings_from(environment(SECRET_KEY=None, SECRET_KEY_FILE=str(file))).secret_key == SECRET


def test_a_value_and_a_file_for_one_setting_are_refused(tmp_path: Path) -> None:
    assert "not both" in refusal(SECRET_KEY_FILE=str(tmp_path / "secret")).problem


def test_secrets_do_not_show_when_settings_are_printed() -> None:
    secrets = {
        "DATABASE_URL": "postgresql://ic:dbpass@db/ic",
        "EMAIL_URLS": "smtp://ic:mailpass@mail",
        "SMS_URLS": "twilio://sid:smspass@+4930",
        "STAFF_URLS": "slack://staffpass",
        "BROKER_URL": "amqp://ic:brokerpass@mq",
    }
    shown = repr(settings_from(environment(**secrets)))
    for secret in (SECRET, "dbpass", "mailpass", "smspass", "staffpass", "brokerpass"):
        assert secret not in shown


def test_a_refusal_does_not_repeat_a_secret() -> None:
    for changes in ({"SECRET_KEY": "hunter2"}, {"DATABASE_URL": "mysql://u:hunter2@db"}):
        assert "hunter2" not in str(refusal(**changes))


@pytest.mark.parametrize("password", ["p@ss:hunter2", "p:a@ss:hunter2/x"])
def test_an_unreadable_database_address_is_refused_without_its_password(
    settings: Settings, password: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        build_center(replace(settings, database_url=f"postgresql://ic:{password}@db/ic"))
    told = "".join(traceback.format_exception(refused.value))
    assert "%40" in told
    assert "hunter2" not in told


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("\n".join(f"{k}={v}" for k, v in environment(COMPANY="From File").items()))
    assert load_settings({}, dotenv=dotenv).company == "From File"
    assert load_settings({PREFIX + "COMPANY": "Given"}, dotenv=dotenv).company == "Given"


def test_without_a_given_environment_the_process_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    for name, text in environment().items():
        monkeypatch.setenv(name, text)
    assert load_settings(dotenv=tmp_path / "absent").company == "Example Pay"


@pytest.mark.parametrize("name", ["playbooks", "templates", "migrations"])
def test_the_product_brings_its_own_files(name: str) -> None:
    assert any(asset_dir(name).iterdir())


def test_settings_cannot_be_changed_behind_a_rooms_back(settings: Settings) -> None:
    with pytest.raises(AttributeError):
        settings.company = "Other"  # type: ignore[misc] # what this test forbids
