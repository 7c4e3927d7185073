"""The application with every hook open, a clock that stands still, and a certificate that plays Amazon's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from flask import Flask
from flask.testing import FlaskClient

from incident_center import create_app
from incident_center.center import Center
from incident_center.db import Database
from incident_center.delivery.sns import Sns
from incident_center.integrations.receipts.ses import EXTENSION
from incident_center.models import Delivery
from tests.builders import NOW, mai, olivia
from tests.receipts.cast import NUMBER, PUBLIC_URL, a_row, an_update
from tests.receipts.senders import AUTH_TOKEN, SECRETS
from tests.support.hands import hands

__all__ = ["hands"]


@dataclass(frozen=True)
class Amazon:
    key: rsa.RSAPrivateKey
    certificate: bytes
    fetched: list[str]


@pytest.fixture(scope="session")
def amazon_key() -> tuple[rsa.RSAPrivateKey, bytes]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=30))
        .not_valid_after(NOW + timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    return key, made.public_bytes(Encoding.PEM)


@pytest.fixture
def center(center: Center, hands: object) -> Center:
    settings = replace(
        center.settings,
        public_url=PUBLIC_URL,
        sms_urls=(f"twilio://AC{'1' * 32}:{AUTH_TOKEN}@+15005550006",),
        hook_secrets=SECRETS,
    )
    return replace(center, settings=settings, house=replace(center.house, settings=settings))


@pytest.fixture(scope="session")
def hooks_app() -> list[Flask]:
    """Wired once for the run: the hooks ask for the center with each request."""
    return []


@pytest.fixture
def app(center: Center, hooks_app: list[Flask]) -> Flask:
    if not hooks_app:
        hooks_app.append(create_app(center=center))
    [application] = hooks_app
    application.extensions["incident_center"] = center
    application.extensions[EXTENSION] = Sns()
    return application


@pytest.fixture
def amazon(app: Flask, amazon_key: tuple[rsa.RSAPrivateKey, bytes]) -> Amazon:
    """Takes the place of the network: every address answers with the certificate."""
    made = Amazon(*amazon_key, fetched=[])

    def fetch(url: str) -> bytes:
        made.fetched.append(url)
        return made.certificate

    app.extensions[EXTENSION] = Sns(fetch)
    return made


@pytest.fixture
def hook(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def letter(database: Database) -> Delivery:
    """Olivia's e-mail about an update, accepted."""
    with database.transaction() as session:
        return a_row(session, an_update(session), olivia(session))


@pytest.fixture
def sms(database: Database) -> Delivery:
    """Mai's SMS about an update, accepted."""
    with database.transaction() as session:
        return a_row(session, an_update(session), mai(session), provider_ref=NUMBER)
