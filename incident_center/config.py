"""Settings: the only reader of the environment. Odd values are refused by name, secrets have no default.

Names and meanings: DESIGN §6 and docs/settings.md. Each can also stand in a `.env` file in the working folder,
and each can be read from a file named by `NAME_FILE` (for secrets mounted as files).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dotenv import dotenv_values

PREFIX = "INCIDENT_CENTER_"
SECRET_MIN = 32
NAMES = (
    "DATABASE_URL",
    "DATA_DIR",
    "SECRET_KEY",
    "PUBLIC_URL",
    "EMAIL_URLS",
    "SMS_URLS",
    "STAFF_URLS",
    "BROKER_URL",
    "PLAYBOOKS_DIR",
    "COMPANY",
    "TIME_ZONE",
    "TRUSTED_PROXIES",
    "HOOK_SECRETS",
)
HOOKS = ("twilio", "vonage", "sms", "postmark", "mailgun", "ses")  # whose webhooks have a secret of their own
HOOK_SECRET_MIN = 16  # for those that the operator makes up


class SettingsError(ValueError):
    """A setting is missing or odd. `name` is the environment variable's full name."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name
        self.problem = problem


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the operator has chosen. URLs are lists, first preferred; secrets never appear in repr()."""

    database_url: str = field(repr=False)
    data_dir: Path
    secret_key: str = field(repr=False)
    public_url: str
    email_urls: tuple[str, ...] = field(default=(), repr=False)
    sms_urls: tuple[str, ...] = field(default=(), repr=False)
    staff_urls: tuple[str, ...] = field(default=(), repr=False)
    broker_url: str | None = field(default=None, repr=False)
    playbooks_dir: Path
    templates_dir: Path
    migrations_dir: Path
    company: str = "Incident Center"
    time_zone: str = "Europe/Berlin"
    trusted_proxies: int = 0
    hook_secrets: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    demo: bool = False
    testing: bool = False

    def hook_secrets_of(self, name: str) -> tuple[str, ...]:
        """What a provider's webhook is verified with; several while a secret is being changed, none when closed."""
        return tuple(secret for owner, secret in self.hook_secrets if owner == name)


def asset_dir(name: str) -> Path:
    """`playbooks/`, `templates/` or `migrations/`: in the wheel's data folder, else in the checkout."""
    packaged = Path(__file__).parent / "data" / name
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / name


def load_settings(
    environ: Mapping[str, str] | None = None, *, dotenv: Path | None = Path(".env")
) -> Settings:
    """Settings from the environment over `.env`; raises SettingsError naming the first odd one."""
    return settings_from(_given(environ, dotenv))


def playbooks_folder() -> Path:
    """INCIDENT_CENTER_PLAYBOOKS_DIR alone, so that playbooks can be checked where nothing else is set up."""
    return _folder(_value(_given(None, Path(".env")), "PLAYBOOKS_DIR"))


def _given(environ: Mapping[str, str] | None, dotenv: Path | None) -> dict[str, str]:
    values: dict[str, str] = {}
    if dotenv is not None and dotenv.is_file():
        values.update({k: v for k, v in dotenv_values(dotenv).items() if v is not None})
    values.update(os.environ if environ is None else environ)
    return {k: v for k, v in values.items() if k.startswith(PREFIX)}


def settings_from(values: Mapping[str, str]) -> Settings:
    """Settings from full names (INCIDENT_CENTER_…) to text."""
    _refuse_unknown(values)
    given = {name: text for name in NAMES if (text := _value(values, name)) is not None}
    data_dir = Path(given.get("DATA_DIR", "var")).absolute()
    database_url = given.get("DATABASE_URL") or f"sqlite:///{data_dir / 'incident-center.db'}"
    broker_url = _broker_url(given.get("BROKER_URL"))
    if broker_url and database_url.startswith("sqlite"):
        raise SettingsError(
            PREFIX + "BROKER_URL",
            "a broker spreads work over machines, SQLite serves one; set INCIDENT_CENTER_DATABASE_URL to PostgreSQL",
        )
    return Settings(
        database_url=_database_url(database_url),
        data_dir=data_dir,
        secret_key=_secret(given.get("SECRET_KEY")),
        public_url=_public_url(given.get("PUBLIC_URL")),
        email_urls=_urls(given, "EMAIL_URLS"),
        sms_urls=_urls(given, "SMS_URLS"),
        staff_urls=_urls(given, "STAFF_URLS"),
        broker_url=broker_url,
        playbooks_dir=_folder(given.get("PLAYBOOKS_DIR")),
        templates_dir=asset_dir("templates"),
        migrations_dir=asset_dir("migrations"),
        company=_company(given.get("COMPANY")),
        time_zone=_zone(given.get("TIME_ZONE", "Europe/Berlin")),
        trusted_proxies=_count(given.get("TRUSTED_PROXIES", "0"), "TRUSTED_PROXIES"),
        hook_secrets=_hook_secrets(given.get("HOOK_SECRETS", "")),
    )


def _refuse_unknown(values: Mapping[str, str]) -> None:
    for name in values:
        if name.startswith(PREFIX) and name.removeprefix(PREFIX).removesuffix("_FILE") not in NAMES:
            raise SettingsError(name, "no such setting; check the spelling against docs/settings.md")


def _value(values: Mapping[str, str], name: str) -> str | None:
    full = PREFIX + name
    plain, file = values.get(full), values.get(full + "_FILE")
    if plain and file:
        raise SettingsError(full, f"set either {full} or {full}_FILE, not both")
    if file:
        try:
            plain = Path(file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SettingsError(full + "_FILE", f"cannot be read ({error.strerror})") from error
    return plain or None


def _secret(value: str | None) -> str:
    name = PREFIX + "SECRET_KEY"
    if value is None:
        raise SettingsError(
            name, "is missing; make one with: python -c 'import secrets; print(secrets.token_urlsafe(48))'"
        )
    if len(value) < SECRET_MIN:
        raise SettingsError(name, f"is too short; at least {SECRET_MIN} characters keep links unforgeable")
    return value


def _public_url(value: str | None) -> str:
    name = PREFIX + "PUBLIC_URL"
    if value is None:
        raise SettingsError(name, "is missing; it is the address that links in messages use")
    try:
        parts = urlsplit(value)
        _ = parts.port  # a port that is no number is found only when asked for
    except ValueError as error:
        raise SettingsError(name, f"is not an address ({error})") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SettingsError(name, "must be an http(s) address such as https://status.example.com")
    if parts.query or parts.fragment or parts.username:
        raise SettingsError(name, "must not carry a query, a fragment or a login")
    return value.rstrip("/")


def _database_url(value: str) -> str:
    scheme = value.partition("://")[0]
    if scheme not in {"sqlite", "postgresql", "postgresql+psycopg"}:
        raise SettingsError(PREFIX + "DATABASE_URL", "must begin with sqlite:/// or postgresql://")
    if value in {"sqlite://", "sqlite:///:memory:"}:
        raise SettingsError(
            PREFIX + "DATABASE_URL", "must be a file; a database in memory loses every promise"
        )
    return value


def _broker_url(value: str | None) -> str | None:
    if value is not None and value.partition("://")[0] not in {"amqp", "amqps", "redis", "rediss"}:
        raise SettingsError(
            PREFIX + "BROKER_URL", "must begin with amqp(s):// (RabbitMQ) or redis://, rediss://"
        )
    return value


def _urls(given: Mapping[str, str], name: str) -> tuple[str, ...]:
    """URLs separated by white space or line breaks (a comma may stand inside a URL)."""
    urls = tuple(given.get(name, "").split())
    for position, url in enumerate(urls, start=1):
        if "://" not in url:
            raise SettingsError(PREFIX + name, f"entry {position} is not a URL; separate entries by a blank")
    return urls


def _hook_secrets(text: str) -> tuple[tuple[str, str], ...]:
    """name=value, separated by white space. A value is never repeated in what is said about it."""
    pairs = []
    for position, entry in enumerate(text.split(), start=1):
        name, _, value = entry.partition("=")
        if name not in HOOKS or not value:
            problem = f"entry {position} must be name=secret with one of the names {', '.join(HOOKS)}"
            raise SettingsError(PREFIX + "HOOK_SECRETS", problem)
        if name in {"sms", "postmark"} and len(value) < HOOK_SECRET_MIN:
            problem = f"{name}= is too short; at least {HOOK_SECRET_MIN} characters keep receipts unforgeable"
            raise SettingsError(PREFIX + "HOOK_SECRETS", problem)
        if name == "postmark" and ":" not in value:
            raise SettingsError(
                PREFIX + "HOOK_SECRETS", "postmark= must be user:password, as in its webhook's URL"
            )
        if name == "ses" and not value.startswith("arn:aws"):
            raise SettingsError(PREFIX + "HOOK_SECRETS", "ses= must be the SNS topic's ARN (arn:aws:sns:…)")
        pairs.append((name, value))
    return tuple(pairs)


def _folder(value: str | None) -> Path:
    if value is None:
        return asset_dir("playbooks")
    if not Path(value).is_dir():
        raise SettingsError(PREFIX + "PLAYBOOKS_DIR", "is not a folder")
    return Path(value)


def _company(value: str | None) -> str:
    if value is None:
        raise SettingsError(PREFIX + "COMPANY", "is missing; it is your company's name as customers know it")
    if len(value) > 30 or not value.isprintable() or set(value) & set('{}<>"'):
        raise SettingsError(
            PREFIX + "COMPANY", "must be at most 30 plain characters; every SMS begins with it"
        )
    return value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise SettingsError(PREFIX + "TIME_ZONE", "is not a time zone such as Europe/Berlin") from error
    return value


def _count(value: str, name: str) -> int:
    if not value.isdecimal() or int(value) > 10:
        raise SettingsError(PREFIX + name, "must be a whole number from 0 to 10")
    return int(value)


def demo_settings(*, data_dir: Path, port: int, secret_key: str) -> Settings:
    """The demo's own settings: loopback, SQLite and a mailbox in `data_dir`; nothing is read from the environment."""
    return Settings(
        database_url=f"sqlite:///{data_dir / 'incident-center.db'}",
        data_dir=data_dir,
        secret_key=secret_key,
        public_url=f"http://127.0.0.1:{port}",
        email_urls=("demo-mailbox://email",),
        sms_urls=("demo-mailbox://sms",),
        staff_urls=("demo-mailbox://staff",),
        playbooks_dir=asset_dir("playbooks"),
        templates_dir=asset_dir("templates"),
        migrations_dir=asset_dir("migrations"),
        company="Lindenpay",
        demo=True,
    )
