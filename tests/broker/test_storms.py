"""The broker dies, a host dies, messages are lost and multiplied: nobody is missed, and nobody is told twice unless
it is flagged."""

import os
import time
from threading import Event, Thread

import pytest
from sqlalchemy import func, select, update

from incident_center import clock
from incident_center.center import Center
from incident_center.models import Chunk, Delivery
from incident_center.spread.beat import Beat
from incident_center.spread.broker import Broker
from incident_center.spread.queues import DELIVER
from incident_center.spread.wake import wake_after_commits
from incident_center.states import Channel, DeliveryState
from tests.broker.brokers import Brokers, connected, purge
from tests.broker.hosts import WORKER, Hosts, everybody_once, publish, readers, settled
from tests.storms.conftest import Tell
from tests.storms.counts import IS_FULL
from tests.storms.loops import Hang
from tests.storms.smtpd import MailServer, Step
from tests.storms.storm import MOST_IN_FLIGHT, nobody_missed, wait_until

pytestmark = [pytest.mark.storm, pytest.mark.broker, pytest.mark.timeout(600)]
PEOPLE = 5000 if IS_FULL else 2500
MIDDLE = PEOPLE // 3
LOST = 2000


@pytest.fixture(autouse=True)
def _slowly(smtp: MailServer) -> None:
    """A fan-out lasts long enough for something to happen in its middle."""
    slow = Hang(0.04)
    smtp.decide = lambda step, _: slow if step is Step.STORED else None


def test_two_hosts_share_a_fanout(
    center: Center, hosts: Hosts, smtp: MailServer, broker: Brokers, tell: Tell
) -> None:
    one, other = hosts.start_all(WORKER, WORKER)
    readers(center.database, PEOPLE)
    waker = wake_after_commits(center)
    begun = time.monotonic()
    update_id = publish(center)
    wait_until(lambda: bool(smtp.arrivals), "nothing arrives")
    first = time.monotonic() - begun
    owners = _owners_until_settled(center, update_id)
    waker.end()
    assert (one.end(), other.end()) == (0, 0)
    everybody_once(center, update_id, smtp.recipients(update_id))
    assert len(owners) >= 2, "one has done all the work"
    tell(f"two hosts on {broker.kind}", people=PEOPLE, first_message=f"{first:.2f} s", workers=len(owners))


def test_a_broker_that_restarts_in_mid_fanout_changes_nothing(
    center: Center, hosts: Hosts, smtp: MailServer, broker: Brokers, tell: Tell
) -> None:
    """It is killed, stays away for some seconds and begins empty. Twice."""
    hosts.start_all(WORKER, WORKER)
    readers(center.database, PEOPLE)
    waker = wake_after_commits(center)
    update_id = publish(center)
    for goal in (MIDDLE, 2 * MIDDLE):
        wait_until(lambda goal=goal: len(smtp.arrivals) >= goal, "nothing goes on")  # type: ignore[misc]  # a default fixes the value
        broker.crash()
        time.sleep(3)
        broker.come_back()
    wait_until(lambda: settled(center, update_id), "it does not end")
    waker.end()
    everybody_once(center, update_id, smtp.recipients(update_id))
    tell(f"broker restarted, {broker.kind}", people=PEOPLE, missed=0, repeated=0, cut=broker.proxy.cuts)


def test_a_host_that_is_killed_in_mid_fanout_is_replaced_by_the_others(
    center: Center, hosts: Hosts, smtp: MailServer, broker: Brokers, tell: Tell
) -> None:
    victim, survivor = hosts.start_all(WORKER, WORKER)
    readers(center.database, PEOPLE)
    waker = wake_after_commits(center)
    update_id = publish(center)
    wait_until(lambda: len(smtp.arrivals) >= MIDDLE, "nothing goes on")
    victim.kill()
    begun = time.monotonic()
    wait_until(lambda: settled(center, update_id), "nobody takes over", seconds=300, every=0.2)
    took = time.monotonic() - begun
    waker.end()
    _time_passes_for_the_unknown(center)
    wait_until(lambda: not _unknown(center), "what is unknown is not sent again", seconds=60)
    found = nobody_missed(center.database, update_id, smtp.recipients(update_id))
    assert found.repeated <= len(found.flagged) <= MOST_IN_FLIGHT[Channel.EMAIL]
    assert survivor.end() == 0
    tell(
        f"host killed, {broker.kind}",
        people=PEOPLE,
        missed=0,
        repeated=found.repeated,
        flagged=len(found.flagged),
        all_settled=f"{took:.0f} s",
    )


def test_two_thousand_tasks_are_lost_and_nobody_is_missed(
    center: Center, hosts: Hosts, smtp: MailServer, broker: Brokers, tell: Tell
) -> None:
    """Queues are emptied all the time, while beats without a pause send the product's own wake-ups."""
    hosts.start_all(WORKER, WORKER)
    readers(center.database, PEOPLE)
    waker = wake_after_commits(center)
    lost, done = 0, Event()
    sender = Thread(target=_restless, args=(center, done))
    sender.start()
    update_id = publish(center)
    with connected(center.settings) as thief:
        while lost < LOST or not settled(center, update_id):
            lost += purge(center.settings, thief)
    done.set()
    sender.join()
    waker.end()
    everybody_once(center, update_id, smtp.recipients(update_id))
    tell(f"tasks lost, {broker.kind}", people=PEOPLE, lost=lost, missed=0, repeated=0)


def test_tasks_that_come_many_times_change_nothing(
    center: Center, hosts: Hosts, smtp: MailServer, broker: Brokers, tell: Tell
) -> None:
    """Hundreds of the same are sent, and those that were taken come again because connections are cut."""
    hosts.start_all(WORKER, WORKER)
    readers(center.database, PEOPLE)
    update_id = publish(center)
    flood = Broker(center.settings)
    sent = 0
    while not settled(center, update_id):
        if len(smtp.arrivals) > MIDDLE and not broker.proxy.cuts:
            broker.proxy.cut()
            flood.close()
        sent += flood.wake("expand", number=50, most=500)
        sent += flood.wake(DELIVER, Channel.EMAIL, number=100, most=500)
        time.sleep(0.1)
    flood.close()
    everybody_once(center, update_id, smtp.recipients(update_id))
    assert sent > 300
    tell(f"tasks repeated, {broker.kind}", people=PEOPLE, sent=sent, repeated=0)


def test_a_host_that_is_told_to_end_in_mid_fanout_settles_what_is_on_the_wire(
    center: Center, hosts: Hosts, smtp: MailServer, broker: Brokers, tell: Tell
) -> None:
    leaver, stayer = hosts.start_all(WORKER, WORKER)
    readers(center.database, PEOPLE)
    update_id = publish(center)
    wait_until(lambda: len(smtp.arrivals) >= MIDDLE, "nothing goes on")
    begun = time.monotonic()
    assert leaver.end() == 0
    took = time.monotonic() - begun
    assert took < 30
    wait_until(lambda: settled(center, update_id), "nobody goes on")
    assert stayer.end() == 0
    everybody_once(center, update_id, smtp.recipients(update_id))
    tell(f"host ended, {broker.kind}", people=PEOPLE, missed=0, repeated=0, end=f"{took:.1f} s")


def test_processes_end_in_order_when_the_one_that_forked_them_is_killed(
    center: Center, hosts: Hosts, smtp: MailServer
) -> None:
    host = hosts.start()
    readers(center.database, 400)
    update_id = publish(center)
    wait_until(lambda: bool(smtp.arrivals), "nothing arrives")
    host.process.kill()
    host.process.wait(10)
    wait_until(lambda: host.said("worker_stopped") == 2, "they stay behind", seconds=30)
    with center.database.reading() as session:
        assert not session.scalars(select(Chunk.id).where(Chunk.batch_at.is_not(None))).all()
    hosts.start()
    wait_until(lambda: settled(center, update_id), "nobody goes on")
    everybody_once(center, update_id, smtp.recipients(update_id))


def test_a_process_that_dies_is_replaced(center: Center, hosts: Hosts) -> None:
    host = hosts.start()
    owner = next(line["owner"] for line in host.told() if line["event"] == "worker_started")
    os.kill(int(owner.split(":")[1]), 9)
    wait_until(lambda: host.said("worker_started") == 3, "nobody replaces it", seconds=30)
    assert host.said("worker_died") == 1
    hosts.expected.add("worker_died")
    assert host.end() == 0


def _restless(center: Center, done: Event) -> None:
    broker = Broker(center.settings)
    beat = Beat(broker)
    while not done.is_set():
        beat.tick()
        broker.wake(DELIVER, Channel.EMAIL, number=10)
    broker.close()


def _unknown(center: Center) -> int:
    with center.database.reading() as session:
        return session.scalar(select(func.count()).where(Delivery.state != DeliveryState.ACCEPTED)) or 0


def _time_passes_for_the_unknown(center: Center) -> None:
    """What a lost worker had on the wire is sent once more, but only after a while; that while ends now."""
    with center.database.transaction() as session:
        session.execute(
            update(Delivery).where(Delivery.not_before.is_not(None)).values(not_before=clock.now())
        )


def _owners_until_settled(center: Center, update_id: int) -> set[str]:
    owners: set[str] = set()
    query = select(Chunk.owner).where(Chunk.update_id == update_id, Chunk.owner.is_not(None))
    begun = time.monotonic()
    while not settled(center, update_id):
        assert time.monotonic() - begun < 60, "it does not end"
        with center.database.reading() as session:
            owners.update(one for one in session.scalars(query) if one)
        time.sleep(0.02)
    return owners
