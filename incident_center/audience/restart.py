"""START by SMS: whoever sends it holds the phone, so it is a yes by itself."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from incident_center.audience import letters, people
from incident_center.delivery import fanout, suppress
from incident_center.house import House
from incident_center.models import Subscriber
from incident_center.staff import audit
from incident_center.states import Channel, SubscriberState


def restart(session: Session, *, house: House, phone: str, now: datetime) -> bool:
    """START came from a number (E.164): who was subscribed by SMS is again, with the settings from before, and
    hears where things stand. Answers whether the number is known; a stranger's language and wishes are not."""
    person = session.scalar(select(Subscriber).where(Subscriber.phone == phone).with_for_update())
    if person is None or person.channel is not Channel.SMS:
        return False
    suppress.lift(session, house=house, channel=Channel.SMS, address=phone)
    if person.state is SubscriberState.CONFIRMED:
        return True
    person.state, person.confirmed_at = SubscriberState.CONFIRMED, now
    person.updated_at, person.ended_at = now, None
    session.flush()
    audit.record(
        session,
        by=people.subject_of(person),
        action="subscriber.restarted",
        subject=people.subject_of(person),
        detail={"channel": person.channel.value},
        now=now,
    )
    letters.send_welcome(session, house=house, person=person, now=now)
    fanout.queue_current_status(session, subscriber=person, now=now)
    return True
