"""A row climbs and never falls, so the order in which receipts come does not matter."""

from hypothesis import given
from hypothesis import strategies as st

from incident_center.delivery.letter_ids import LetterId, read_letter_id
from incident_center.delivery.letters import message_id
from incident_center.delivery.receipt_rules import NOT_SETTLED, Standing, changes
from incident_center.states import DeliveryState
from tests.builders import NOW

S = DeliveryState
TOLD = [
    Standing(S.ACCEPTED),
    Standing(S.DELIVERED),
    Standing(S.BOUNCED),
    Standing(S.BOUNCED, permanent=True),
    Standing(S.COMPLAINED),
]
ENDED_BEFORE_THE_WIRE = [S.SUPERSEDED, S.SUPPRESSED, S.EXPIRED, S.CANCELLED, S.QUARANTINED]


def after(row: Standing, told: list[Standing]) -> Standing:
    for one in told:
        row = one if changes(row, one) else row
    return row


@given(
    st.sampled_from([state for state in S if state not in NOT_SETTLED]),
    st.lists(st.sampled_from(TOLD), max_size=8),
    st.randoms(use_true_random=False),
)
def test_any_order_of_the_same_receipts_ends_in_the_same_state(
    state: DeliveryState, told: list[Standing], chance: object
) -> None:
    shuffled = list(told)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert after(Standing(state), told) == after(Standing(state), shuffled + told)


@given(st.sampled_from(ENDED_BEFORE_THE_WIRE), st.lists(st.sampled_from(TOLD), max_size=4))
def test_what_ended_before_the_wire_stays_as_it_is(state: DeliveryState, told: list[Standing]) -> None:
    assert after(Standing(state), told) == Standing(state)


@given(st.sampled_from([S.RETRY, S.UNKNOWN]), st.sampled_from(TOLD))
def test_any_receipt_proves_that_the_provider_has_the_message(state: DeliveryState, told: Standing) -> None:
    assert after(Standing(state), [told]) == told


@given(st.lists(st.sampled_from(TOLD)))
def test_a_complaint_is_the_last_word(told: list[Standing]) -> None:
    assert after(Standing(S.COMPLAINED), told).state is S.COMPLAINED


def test_a_late_bounce_for_good_follows_a_delivery_and_one_for_now_does_not() -> None:
    soft, hard = Standing(S.BOUNCED), Standing(S.BOUNCED, permanent=True)
    assert after(Standing(S.DELIVERED), [hard]) == hard
    assert after(Standing(S.DELIVERED), [soft]) == Standing(S.DELIVERED)
    assert after(hard, [Standing(S.DELIVERED)]) == hard


def test_what_was_refused_and_arrived_all_the_same_has_arrived() -> None:
    assert after(Standing(S.FAILED), [Standing(S.ACCEPTED)]) == Standing(S.FAILED)
    assert after(Standing(S.FAILED), [Standing(S.DELIVERED)]) == Standing(S.DELIVERED)


@given(st.integers(1, 2**31 - 1), st.integers(1, 2**31 - 1), st.sampled_from(["", " "]))
def test_a_message_id_reads_back(about: int, reader: int, around: str) -> None:
    said = message_id("https://Status.Example.com:8443/x", kind="update", about=about, reader=reader, at=NOW)
    own = LetterId("update", int(NOW.timestamp()), about, reader)
    for text in (said, said.strip("<>"), around + said + around):
        assert read_letter_id(text, public_url="https://status.example.com") == own


@given(st.text() | st.from_regex(r"<?update\.\d+\.\d+\.\d+@status\.example\.org>?"))
def test_other_peoples_message_ids_are_none_of_ours(text: str) -> None:
    assert read_letter_id(text, public_url="https://status.example.com") is None


def test_numbers_that_no_column_holds_are_nobodys() -> None:
    for text in ("update.1.2147483648.1", "update.1.1.2147483648", "welcome.1.9223372036854775808.0"):
        assert read_letter_id(f"{text}@status.example.com", public_url="https://status.example.com") is None
