from collections.abc import Callable, Iterator

import pytest

from incident_center.db import Database
from incident_center.house import House
from tests.delivery.servers import Mailhost, SmsGateway, mailhost, sms_gateway
from tests.delivery.stories import Clock, Post, with_providers


@pytest.fixture
def smtp() -> Iterator[Mailhost]:
    with mailhost() as host:
        yield host


@pytest.fixture
def gateway() -> Iterator[SmsGateway]:
    with sms_gateway() as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_post(database: Database, house: House, clock: Clock) -> Iterator[Callable[..., Post]]:
    """Opens a worker's delivery with the given providers; closes it after the test."""
    opened: list[Post] = []

    def opener(*, email: str = "", sms: str = "", staff: str = "") -> Post:
        post = Post(database, with_providers(house, email=email, sms=sms, staff=staff), clock)
        opened.append(post)
        return post

    yield opener
    for post in opened:
        post.engine.release()


@pytest.fixture
def post(open_post: Callable[..., Post], smtp: Mailhost, gateway: SmsGateway) -> Post:
    """One worker with an e-mail and an SMS provider."""
    return open_post(email=smtp.url, sms=gateway.url)
