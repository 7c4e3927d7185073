"""INCIDENT_CENTER_HOOK_SECRETS: odd entries are refused by name, and no secret is ever repeated."""

from pathlib import Path

import pytest

from incident_center.config import Settings, SettingsError, settings_from

LEAST = {
    "INCIDENT_CENTER_SECRET_KEY": "a-secret-of-forty-characters-for-testing",
    "INCIDENT_CENTER_PUBLIC_URL": "https://status.example.com",
    "INCIDENT_CENTER_COMPANY": "Example Pay",
}
NAME = "INCIDENT_CENTER_HOOK_SECRETS"


def read(text: str) -> Settings:
    return settings_from(LEAST | {NAME: text})


def test_each_provider_has_its_secrets_and_a_new_one_may_stand_beside_the_old() -> None:
    settings = read("vonage=abc=def==\nmailgun=one mailgun=two\tses=arn:aws:sns:eu-central-1:1:mail")
    assert settings.hook_secrets_of("vonage") == ("abc=def==",)
    assert settings.hook_secrets_of("mailgun") == ("one", "two")
    assert settings.hook_secrets_of("sms") == ()
    assert "abc" not in repr(settings)


def test_they_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secrets").write_text("vonage=from-a-file\n", encoding="utf-8")
    settings = settings_from(LEAST | {NAME + "_FILE": str(tmp_path / "secrets")})
    assert settings.hook_secrets_of("vonage") == ("from-a-file",)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("sendgrid=top-secret-words", "entry 1 must be name=secret"),
        ("vonage=fine top-secret-words", "entry 2 must be name=secret"),
        ("vonage=", "entry 1 must be name=secret"),
        ("sms=secret", "sms= is too short"),
        ("postmark=a:secret", "postmark= is too short"),
        ("postmark=top-secret-words-without-a-user", "postmark= must be user:password"),
        ("ses=top-secret-words", "ses= must be the SNS topic's ARN"),
    ],
)
def test_odd_entries_are_refused_without_repeating_them(text: str, hint: str) -> None:
    with pytest.raises(SettingsError, match=NAME) as caught:
        read(text)
    assert hint in str(caught.value)
    assert "top-secret-words" not in str(caught.value)
