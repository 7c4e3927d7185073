"""Wake-ups are a help and never a burden: a request does not wait for the broker, and no queue fills up."""

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Event, Thread

import pytest

from incident_center import clock
from incident_center.center import Center
from incident_center.config import Settings
from incident_center.delivery.installation import Guard
from incident_center.spread import beat as beats
from incident_center.spread import desk as desks
from incident_center.spread import wake as wakes
from incident_center.spread.beat import Beat
from incident_center.spread.broker import MOST_WAITING, Broker, BrokerAway
from incident_center.spread.desk import Desk
from incident_center.spread.look import look
from incident_center.spread.queues import DELIVER, URGENT
from incident_center.spread.wake import Waker, wake_after_commits
from incident_center.states import Channel
from incident_center.worker import Worker
from tests.broker.brokers import Brokers, connected, purge
from tests.broker.hosts import everybody_once, holding_update, promised, publish, readers, settled
from tests.storms.smtpd import MailServer
from tests.storms.storm import wait_until

pytestmark = pytest.mark.broker


@pytest.fixture
def sender(center: Center) -> Iterator[Broker]:
    broker = Broker(center.settings)
    yield broker
    broker.close()


@pytest.fixture
def nobody_there(settings: Settings) -> Iterator[Settings]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        scheme = str(settings.broker_url).partition(":")[0]
        yield replace(settings, broker_url=f"{scheme}://127.0.0.1:{silent.getsockname()[1]}//")


def test_a_commit_wakes_workers(center: Center, sender: Broker) -> None:
    assert sender.waiting()[URGENT] == 0
    waker = wake_after_commits(center)
    publish(center)
    wait_until(lambda: sender.waiting()[URGENT] > 0, "nobody is woken", seconds=10)
    waker.end()


def test_a_request_does_not_wait_for_a_broker_that_is_silent(center: Center, nobody_there: Settings) -> None:
    waker = Waker(Broker(nobody_there))
    publish(center)  # what is compiled once
    before = _seconds(lambda: publish(center))
    center.database.committed = waker.wake
    after = [_seconds(lambda: publish(center)) for _ in range(3)]
    assert min(after) < before * 3 + 0.1


def test_a_broker_that_is_away_is_told_once_and_found_again(
    broker: Brokers, sender: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(beats._log, "warning", lambda event, **_: told.append(event), raising=False)
    beat = Beat(sender)
    assert beat.tick() > 0
    broker.go_down()
    assert [beat.tick(), beat.tick(), beat.tick()] == [0, 0, 0]
    with pytest.raises(BrokerAway):
        sender.wake("keep")
    broker.come_back()
    assert beat.tick() + beat.tick() > 0
    assert told == ["broker_away"]


def test_no_queue_fills_up_while_nobody_works(sender: Broker) -> None:
    beat = Beat(sender)
    for _ in range(12):  # 7 fill it; what waits is forgotten after ten seconds
        beat.tick()
    assert sender.waiting() == {URGENT: MOST_WAITING, "email": 1, "sms": 1}
    assert sender.wake(DELIVER, Channel.EMAIL, number=40, most=12) == 11
    with connected(sender._settings) as connection:
        assert purge(sender._settings, connection) == MOST_WAITING + 12 + 1


def test_two_installations_share_a_broker_and_nothing_else(
    center: Center, sender: Broker, settings: Settings
) -> None:
    other = Broker(replace(center.settings, secret_key="of-somebody-else" * 4))
    other.wake("keep")
    assert (sender.waiting()[URGENT], other.waiting()[URGENT]) == (0, 1)
    other.close()


def test_who_is_never_woken_looks_for_himself(
    center: Center, smtp: MailServer, broker: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker is away and stays away: everybody is written to and promises are kept, by a bulk process too."""
    monkeypatch.setattr(desks, "QUIET_SECONDS", 0.2)
    broker.go_down()
    readers(center.database, 60)
    update_id = publish(center)
    incident_id = promised(center, due=clock.now())
    desk = Desk(Worker(center), Broker(center.settings), "email")
    desk.begin()
    wait_until(lambda: settled(center, update_id), "nobody looks", seconds=20)
    wait_until(
        lambda: holding_update(center, incident_id) is not None, "nobody keeps the promise", seconds=20
    )
    desk.end()
    everybody_once(center, update_id, smtp.recipients(update_id))


def test_a_worker_that_is_woken_for_nothing_says_so_and_calls_nobody(center: Center, sender: Broker) -> None:
    desk = Desk(Worker(center), sender, "email")
    desk.begin()
    desk.deliver(Channel.EMAIL)
    desk.urgent("singles")
    desk.urgent("expand")
    assert set(sender.waiting().values()) == {0}
    desk.end()


def test_nobody_is_called_while_nothing_may_go_out(
    center: Center, sender: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks are free and a lead must confirm the installation: who is woken asks no further."""
    monkeypatch.setattr("incident_center.delivery.cutting.CHUNK", 10)
    monkeypatch.setattr(desks, "awake", lambda *_, **__: 4)
    monkeypatch.setattr(Guard, "may_send", lambda _: False)
    readers(center.database, 95)
    publish(center)
    desk = Desk(Worker(center), sender, "email")
    desk.begin()
    while desk._worker.engine.expand_once():
        pass
    desk.deliver(Channel.EMAIL)
    assert sender.waiting()["email"] == 0
    desk.end()


def test_a_task_ends_in_time_although_nobody_else_waits(
    center: Center, smtp: MailServer, sender: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desks, "TURN_SECONDS", 0.001)
    monkeypatch.setattr("incident_center.delivery.turn.BULK_SECONDS", 0.001)
    readers(center.database, 300)
    update_id = publish(center)
    desk = Desk(Worker(center), sender, "email")
    desk.begin()
    while desk._worker.engine.expand_once():
        pass
    desk.deliver(Channel.EMAIL)
    assert 0 < len(smtp.recipients(update_id)) < 300
    desk.end()


def test_the_first_who_is_woken_calls_the_others_for_each_free_chunk(
    center: Center, sender: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("incident_center.delivery.cutting.CHUNK", 10)
    monkeypatch.setattr(desks, "awake", lambda *_, **__: 4)
    readers(center.database, 95)
    publish(center)
    desk = Desk(Worker(center), sender, URGENT)
    desk.begin()
    desk.urgent("expand")
    assert sender.waiting()["email"] == 4, "ten chunks are free, and there are four workers"
    desk.end()


def test_the_beat_ends_when_it_is_told_to(center: Center, sender: Broker) -> None:
    stop = Event()
    beat = Thread(target=Beat(Broker(center.settings)).run, args=(stop,))
    beat.start()
    wait_until(lambda: sender.waiting()[URGENT] > 0, "nobody is woken", seconds=10)
    stop.set()
    beat.join(10)
    assert not beat.is_alive()


def test_a_waker_outlives_a_fault(center: Center, sender: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has one thread for the life of its process."""
    monkeypatch.setattr(wakes, "AWAY_SECONDS", 0.05)
    told: list[str] = []
    monkeypatch.setattr(wakes._log, "error", lambda event, **_: told.append(event), raising=False)
    broker = Broker(center.settings)
    monkeypatch.setattr(broker, "wake", lambda _: 1 // 0)
    waker = Waker(broker)
    waker.wake()
    wait_until(lambda: bool(told), "it fails in silence", seconds=10)
    monkeypatch.undo()
    waker.wake()
    wait_until(lambda: sender.waiting()[URGENT] > 0, "nobody is woken", seconds=10)
    waker.end()
    assert set(told) == {"waker_failed"}


def test_a_waker_that_finds_nobody_goes_on(
    center: Center, broker: Brokers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakes, "AWAY_SECONDS", 0.05)
    broker.go_down()
    waker = wake_after_commits(center)
    publish(center)
    time.sleep(0.3)
    broker.come_back()
    publish(center)
    sender = Broker(center.settings)
    wait_until(lambda: sender.waiting()[URGENT] > 0, "nobody is woken", seconds=10)
    sender.close()
    waker.end()


def _seconds(deed: Callable[[], object]) -> float:
    begun = time.perf_counter()
    deed()
    return time.perf_counter() - begun


def test_the_doctor_looks_at_the_broker(center: Center, broker: Brokers, sender: Broker) -> None:
    assert [level for level, _, _ in look(center.settings)] == ["ok"]
    for _ in range(10):
        Beat(sender).tick()
    ((level, what, what_to_do),) = look(center.settings)
    assert (level, "20 in urgent" in what, "incident-center worker" in what_to_do) == ("warning", True, True)
    broker.go_down()
    ((level, what, _),) = look(center.settings)
    assert (level, "does not answer" in what, "guest" in what) == ("problem", True, False)
