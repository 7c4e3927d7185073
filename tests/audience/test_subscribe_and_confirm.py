"""Double opt-in: nobody is written to before they said yes, and nobody learns who is subscribed."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from incident_center.audience import confirmations, people, proofs
from incident_center.audience.confirm import waiting
from incident_center.audience.verbs import (
    confirm_by_code,
    confirm_by_token,
    enrol,
    resend,
    subscribe,
    unsubscribe,
)
from incident_center.db import Database
from incident_center.delivery import suppress
from incident_center.errors import NotThere, Refused
from incident_center.house import House
from incident_center.models import AuditEntry, Confirmation, Subscriber, Suppression
from incident_center.states import Channel, MessageKind, SubscriberState, SuppressionReason
from tests.audience.cast import ANNA, PHONE, a_wish, code_in, mail, token_in, wrong_code
from tests.builders import a_component, a_subscriber

LATER = timedelta(minutes=3)


def ask(session: Session, house: House, now: datetime, address: str = ANNA, **parts: object) -> int:
    request = a_wish(address, **parts)
    return subscribe(session, house=house, request=request, source="web", by=None, now=now).confirmation_id


def test_nothing_but_the_question_is_sent_before_the_yes(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        ask(session, house, now)
        [message] = mail(session)
        person = session.scalars(select(Subscriber)).one()
        assert (message.kind, message.address, message.language) == (MessageKind.CONFIRM, ANNA, "de")
        assert person.state is SubscriberState.PENDING
        assert "Anna" not in (message.text or "") + (message.html or "") + (message.subject or "")


def test_looking_at_a_link_confirms_nothing(database: Database, house: House, now: datetime) -> None:
    with database.transaction() as session:
        ask(session, house, now)
        token = token_in(mail(session)[0])
    with database.reading() as session:
        assert waiting(session, house=house, token=token, now=now).address == ANNA
        assert session.scalars(select(Subscriber)).one().state is SubscriberState.PENDING


def test_the_button_confirms_once_and_a_second_press_does_nothing(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        ask(session, house, now)
        token = token_in(mail(session)[0])
        for _ in range(2):
            person = confirm_by_token(session, house=house, token=token, now=now)
        assert person.state is SubscriberState.CONFIRMED
        assert person.confirmed_at == now
        assert [message.kind for message in mail(session)] == [MessageKind.CONFIRM, MessageKind.WELCOME]
        actions = list(session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)))
        assert actions == ["subscriber.asked", "subscriber.confirmed"]


def test_a_link_that_is_old_or_not_ours_confirms_nothing(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        ask(session, house, now)
        token = token_in(mail(session)[0])
        with pytest.raises(Refused) as refused:
            confirm_by_token(session, house=house, token=token, now=now + timedelta(hours=48))
        assert refused.value.flaws[0].code == "confirm.expired"
        for foreign in (token[:-1], "x" * 43, "", "\ud800"):
            with pytest.raises(NotThere):
                confirm_by_token(session, house=house, token=foreign, now=now)


def test_only_hashes_of_secrets_are_stored(database: Database, house: House, now: datetime) -> None:
    with database.transaction() as session:
        ask(session, house, now)
        ask(session, house, now, PHONE)
        token, code = token_in(mail(session)[0]), code_in(mail(session)[1])
        stored = " ".join(session.scalars(select(Confirmation.secret_hash)))
        assert token not in stored
        assert code not in stored.split()


def test_a_code_confirms_however_it_is_typed(database: Database, house: House, now: datetime) -> None:
    with database.transaction() as session:
        confirmation_id = ask(session, house, now, PHONE)
        code = code_in(mail(session)[0])
        answer = confirm_by_code(
            session, house=house, confirmation_id=confirmation_id, code=f" {code[:3]} {code[3:]}", now=now
        )
        assert answer.subscriber is not None
        assert (answer.subscriber.state, answer.subscriber.phone) == (SubscriberState.CONFIRMED, PHONE)
        again = confirm_by_code(session, house=house, confirmation_id=confirmation_id, code=code, now=now)
        assert again.flaw is not None
        assert again.flaw.code == "confirm.used"


def test_five_wrong_codes_close_the_door_even_to_the_right_one(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        confirmation_id = ask(session, house, now, PHONE)
        code = code_in(mail(session)[0])
    seen = []
    for guess in [wrong_code(code)] * 5 + [code]:
        with database.transaction() as session:
            answer = confirm_by_code(
                session, house=house, confirmation_id=confirmation_id, code=guess, now=now
            )
            assert answer.flaw is not None
            seen.append((answer.flaw.code, answer.tries_left))
    assert seen == [
        ("code.wrong", 4),
        ("code.wrong", 3),
        ("code.wrong", 2),
        ("code.wrong", 1),
        ("confirm.too_many", 0),
        ("confirm.too_many", 0),
    ]
    with database.reading() as session:
        assert session.scalars(select(Subscriber)).one().state is SubscriberState.PENDING


def test_a_code_lasts_fifteen_minutes_and_a_typing_slip_costs_no_try(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        confirmation_id = ask(session, house, now, PHONE)
        code = code_in(mail(session)[0])
        slip = confirm_by_code(session, house=house, confirmation_id=confirmation_id, code="12a456", now=now)
        assert slip.flaw is not None
        assert (slip.flaw.code, slip.tries_left) == ("code.malformed", 5)
        late = confirm_by_code(
            session,
            house=house,
            confirmation_id=confirmation_id,
            code=code,
            now=now + timedelta(minutes=15),
        )
        assert late.flaw is not None
        assert late.flaw.code == "confirm.expired"


def test_a_new_code_ends_the_old_one(database: Database, house: House, now: datetime) -> None:
    with database.transaction() as session:
        first = ask(session, house, now, PHONE)
        second = ask(session, house, now + LATER, PHONE)
        old, new = (code_in(message) for message in mail(session))
        answer = confirm_by_code(session, house=house, confirmation_id=first, code=old, now=now + LATER)
        assert answer.flaw is not None
        assert answer.flaw.code == "confirm.expired"
        answer = confirm_by_code(session, house=house, confirmation_id=second, code=new, now=now + LATER)
        assert answer.subscriber is not None


def test_asking_twice_within_two_minutes_sends_once(database: Database, house: House, now: datetime) -> None:
    with database.transaction() as session:
        first = ask(session, house, now)
        assert ask(session, house, now + timedelta(seconds=119)) == first
        assert len(mail(session)) == 1
        assert ask(session, house, now + timedelta(minutes=2)) != first
        assert len(mail(session)) == 2


def test_many_at_once_make_one_subscriber_and_one_message(
    database: Database, house: House, now: datetime
) -> None:
    def one(_: int) -> int:
        with database.transaction() as session:
            return ask(session, house, now)

    with ThreadPoolExecutor(6) as pool:
        answers = set(pool.map(one, range(12)))
    assert len(answers) == 1
    with database.reading() as session:
        assert len(session.scalars(select(Subscriber)).all()) == 1
        assert len(mail(session)) == 1


def test_parallel_guesses_get_five_tries_together(database: Database, house: House, now: datetime) -> None:
    with database.transaction() as session:
        confirmation_id = ask(session, house, now, PHONE)
        code = code_in(mail(session)[0])

    def guess(_: int) -> str:
        with database.transaction() as session:
            answer = confirm_by_code(
                session, house=house, confirmation_id=confirmation_id, code=wrong_code(code), now=now
            )
            assert answer.flaw is not None
            return answer.flaw.code

    with ThreadPoolExecutor(6) as pool:
        told = sorted(pool.map(guess, range(12)))
    assert told == ["code.wrong"] * 4 + ["confirm.too_many"] * 8
    with database.reading() as session:
        assert session.scalars(select(Confirmation)).one().tries == 5


def test_nobody_is_pestered_more_than_six_times_a_day(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        for step in range(20):
            ask(session, house, now + step * LATER, PHONE)
        assert len(mail(session)) == confirmations.MOST_A_DAY
        ask(session, house, now + timedelta(days=1, minutes=5), PHONE)
        assert len(mail(session)) == confirmations.MOST_A_DAY + 1


@pytest.mark.parametrize("address", [ANNA, PHONE])
def test_a_known_address_gets_the_same_answer_as_a_new_one(
    database: Database, house: House, now: datetime, address: str
) -> None:
    """Same kind of confirmation, same limits, same refusals; only the message differs."""
    with database.transaction() as session:
        parts: dict[str, Any] = {"email": address} if "@" in address else {"phone": address}
        known = a_subscriber(session, name="Anna", language="en", **parts)
        first = ask(session, house, now, address, name="Somebody else")
        assert ask(session, house, now, address) == first
        [message] = mail(session)
        assert (message.kind, message.address) == (MessageKind.ALREADY, address)
        assert (known.name, known.language) == ("Anna", "en")
        if address == PHONE:
            answer = confirm_by_code(session, house=house, confirmation_id=first, code="123456", now=now)
            assert answer.flaw is not None
            assert (answer.flaw.code, answer.tries_left) == ("code.wrong", 4)


def test_the_same_mailbox_typed_otherwise_is_the_same_subscriber(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        ask(session, house, now, "o'brien+payout@example.com")
        ask(session, house, now + LATER, "O'Brien+Payout@EXAMPLE.com")
        person = session.scalars(select(Subscriber)).one()
        assert person.email == "o'brien+payout@example.com"


def test_every_flaw_is_told_at_once(database: Database, house: House, now: datetime) -> None:
    with database.transaction() as session:
        with pytest.raises(Refused) as refused:
            ask(
                session,
                house,
                now,
                "a@x.example,b@x.example",
                language="xx",
                zone="Mars/Base",
                name="evil.com",
                component_ids=frozenset(),
            )
        codes = {flaw.code for flaw in refused.value.flaws}
        assert codes == {
            "email.several",
            "language.unknown",
            "zone.unknown",
            "name.link",
            "components.empty",
        }
        with pytest.raises(Refused) as refused:
            ask(session, house, now, component_ids=frozenset({999}))
        assert refused.value.flaws[0].code == "components.unknown"
        assert session.scalars(select(Subscriber)).all() == []


def test_chosen_components_are_kept(database: Database, house: House, now: datetime) -> None:
    with database.transaction() as session:
        cards = a_component(session, "cards")
        a_component(session, "sepa-instant")
        ask(session, house, now, component_ids=frozenset({cards.id}))
        person = session.scalars(select(Subscriber)).one()
        assert not person.all_components
        assert people.component_ids(session, person) == frozenset({cards.id})


def test_a_new_yes_by_the_owner_lifts_the_suppression(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        person = a_subscriber(session, email=ANNA)
        unsubscribe(session, house=house, subscriber_id=person.id, now=now)
        assert suppress.is_suppressed(session, house=house, channel=Channel.EMAIL, address=ANNA)
        ask(session, house, now + LATER)
        assert suppress.is_suppressed(session, house=house, channel=Channel.EMAIL, address=ANNA)
        confirm_by_token(session, house=house, token=token_in(mail(session)[-1]), now=now + LATER)
        assert not suppress.is_suppressed(session, house=house, channel=Channel.EMAIL, address=ANNA)
        assert person.state is SubscriberState.CONFIRMED
        assert person.ended_at is None


def test_a_link_from_before_somebody_left_does_not_bring_them_back(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        ask(session, house, now)
        token = token_in(mail(session)[0])
        person = confirm_by_token(session, house=house, token=token, now=now)
        unsubscribe(session, house=house, subscriber_id=person.id, now=now + LATER)
        with pytest.raises(Refused):
            confirm_by_token(session, house=house, token=token, now=now + LATER)
        assert person.state is SubscriberState.UNSUBSCRIBED


def test_an_agent_enrols_a_caller_who_reads_the_code_back(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        done = enrol(session, house=house, request=a_wish(PHONE), by="agent@example.com", now=now)
        code = code_in(mail(session)[0])
        answer = confirm_by_code(
            session, house=house, confirmation_id=done.confirmation_id, code=code, now=now
        )
        assert answer.subscriber is not None
        assert (answer.subscriber.source, answer.subscriber.enrolled_by) == ("agent", "agent@example.com")
        again = enrol(session, house=house, request=a_wish(PHONE), by="agent@example.com", now=now + LATER)
        assert again.already


def test_resend_keeps_to_the_limits(database: Database, house: House, now: datetime) -> None:
    with database.transaction() as session:
        ask(session, house, now)
        person = session.scalars(select(Subscriber)).one()
        resend(session, house=house, subscriber_id=person.id, now=now)
        assert len(mail(session)) == 1
        resend(session, house=house, subscriber_id=person.id, now=now + LATER)
        assert len(mail(session)) == 2


def test_the_page_token_names_one_confirmation_and_cannot_be_forged(house: House) -> None:
    assert proofs.read_page_token(house, proofs.page_token(house, 7)) == 7
    with pytest.raises(NotThere):
        proofs.read_page_token(house, proofs.page_token(house, 7) + "x")


def test_a_stopped_number_is_asked_again_only_by_its_owners_wish(
    database: Database, house: House, now: datetime
) -> None:
    with database.transaction() as session:
        suppress.suppress(
            session, house=house, channel=Channel.SMS, address=PHONE, reason=SuppressionReason.STOP, now=now
        )
        confirmation_id = ask(session, house, now, PHONE)
        answer = confirm_by_code(
            session, house=house, confirmation_id=confirmation_id, code=code_in(mail(session)[0]), now=now
        )
        assert answer.subscriber is not None
        assert session.scalars(select(Suppression)).all() == []
