"""Words as a lead edits them: as strict as a file, and every change against the script is seen."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from incident_center.playbooks import (
    Change,
    TextProblem,
    Words,
    correction_rules,
    estimate_in,
    holding_rules,
    long_samples,
    phase_rules,
    script_changes,
    sms_preview,
    word_problems,
    words_problems,
)

EDITED: dict[str, Any] = {
    "subject": "Payouts are delayed",
    "known": ["Since {started_at}, {scope} are delayed.", "Cards work."],
    "unknown": [],
    "doing": ["We are looking for the cause."],
    "you_can": ["Please wait."],
    "sms": "Payouts delayed. Next update by {next_update_by}. {status_url}",
    "phone": "Payouts are delayed. I will know more by {next_update_by}.",
}

sentences = st.lists(st.sampled_from(["One.", "Two.", "Three.", "Four."]), min_size=1, max_size=6)
words = st.fixed_dictionaries(
    {
        name: sentences if isinstance(value, list) else st.sampled_from(["a", "b"])
        for name, value in EDITED.items()
    }
).map(Words.model_validate)


def edited(**changes: object) -> Words:
    return Words.model_validate(EDITED | changes)


def refused(**changes: object) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        edited(**changes)
    return words_problems(caught.value)


def test_every_text_comes_with_its_field_in_reading_order() -> None:
    assert [field for field, _ in edited().texts()] == [
        "subject", "known.0", "known.1", "doing.0", "you_can.0", "sms", "phone",
    ]  # fmt: skip
    assert dict(edited().texts())["known.1"] == "Cards work."


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"subject": " "}, "subject", "subject is blank; write a text"),
        ({"subject": 5}, "subject", "subject must be a text, not a number"),
        ({"subject": "a\nb"}, "subject", "subject must be one line"),
        ({"known": "Since noon."}, "known", "known must be a list, not a text"),
        ({"known": []}, "known", "known needs at least 1 in its list"),
        ({"known": ["a", ""]}, "known.1", "known.1 is blank; write a text"),
        ({"known": ["a", True]}, "known.1", "known.1 must be a text, not true/false"),
        ({"doing": {"a": "b"}}, "doing", "doing must be a list, not a map"),
        ({"sms": None}, "sms", "sms must be a text, not nothing"),
        ({"phone": "a\x07"}, "phone", "phone holds the character U+0007, which cannot be sent; remove it"),
        (
            {"chat": "x"},
            "chat",
            "unknown key “chat”; known here: doing, known, phone, sms, subject, unknown, you_can",
        ),
    ],
)
def test_words_that_do_not_fit_are_refused_by_field(
    changes: dict[str, object], field: str, message: str
) -> None:
    assert refused(**changes) == [(field, message)]


def test_every_field_must_be_there() -> None:
    with pytest.raises(ValidationError) as caught:
        Words.model_validate({})
    assert [field for field, _ in words_problems(caught.value)] == list(EDITED)


def test_a_textarea_s_line_breaks_and_blanks_are_tidied() -> None:
    assert edited(phone="  One.\r\nTwo. ").phone == "One.\nTwo."


def test_words_come_back_from_json_the_same() -> None:
    assert Words.model_validate(edited().model_dump(mode="json")) == edited()
    assert Words.model_validate_json(edited().model_dump_json()) == edited()


def test_words_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        edited().subject = "x"  # type: ignore[misc]  # the model refuses what mypy refuses too
    assert isinstance(edited().known, tuple)


def problems(
    rules_for: str = "investigating", language: str = "en", changes: dict[str, object] | None = None
) -> list[TextProblem]:
    rules = {"holding": holding_rules({"scope"}), "correction": correction_rules({"scope"})}.get(
        rules_for, phase_rules(rules_for, {"scope"})
    )
    samples = long_samples(language) | {"scope": "SEPA payouts to Germany and to Austria"}
    return word_problems(edited(**(changes or {})), language=language, rules=rules, samples=samples)


def test_good_words_have_no_problem() -> None:
    assert problems() == []
    assert problems("holding") == []
    assert problems("correction") == []


@pytest.mark.parametrize(
    ("rules_for", "changes", "fields"),
    [
        ("investigating", {"known": ["{scope}", "{eta}"]}, ["known.1"]),
        ("investigating", {"subject": "{"}, ["subject"]),
        ("investigating", {"sms": "Late."}, ["sms", "sms"]),
        ("investigating", {"phone": "Late."}, ["phone"]),
        ("monitoring", {"known": ["{last_update_at}"]}, ["known.0"]),
        ("holding", {"known": ["{last_update_at}"]}, []),
        ("correction", {"known": ["{last_update_at}"], "phone": "Wrong.", "sms": "{status_url}"}, []),
        ("resolved", {}, ["sms", "phone"]),
        ("resolved", {"sms": "{status_url}", "phone": "Done."}, []),
        ("holding", {"sms": "{status_url}", "phone": "Soon."}, ["sms", "phone"]),
    ],
)
def test_edited_words_are_held_to_the_rules_of_their_update(
    rules_for: str, changes: dict[str, object], fields: list[str]
) -> None:
    assert [field for field, _ in problems(rules_for, changes=changes)] == fields


def test_an_sms_of_two_segments_is_too_long_in_english_alone() -> None:
    long = EDITED["sms"] + " Please wait." * 8
    assert [field for field, _ in problems(changes={"sms": long})] == ["sms"]
    assert problems(language="de", changes={"sms": long}) == []


def test_a_preview_shows_what_is_sent_and_what_it_costs() -> None:
    text, count = sms_preview(
        "„{company}“ – {status_url}", {"company": "Näh & Co", "status_url": "x.example"}
    )
    assert text == '"Näh & Co" - x.example'
    assert (count.encoding, count.units, count.segments) == ("gsm7", len(text), 1)


def test_unchanged_words_have_no_changes() -> None:
    assert script_changes(edited(), edited()) == []


def test_changes_are_told_in_reading_order() -> None:
    after = edited(
        subject="Card payouts are delayed",
        known=["Since {started_at}, {scope} are delayed.", "Cards are slow.", "Wallets work."],
        unknown=["What the cause is."],
        sms="Late. {next_update_by} {status_url}",
    )
    assert script_changes(edited(), after) == [
        Change("subject", "Payouts are delayed", "Card payouts are delayed"),
        Change("known.1", "Cards work.", "Cards are slow."),
        Change("known.2", None, "Wallets work."),
        Change("unknown.0", None, "What the cause is."),
        Change("sms", EDITED["sms"], "Late. {next_update_by} {status_url}"),
    ]


def test_a_sentence_that_only_moved_down_is_no_change() -> None:
    after = edited(known=["New.", *EDITED["known"]])
    assert script_changes(edited(), after) == [Change("known.0", None, "New.")]
    assert script_changes(after, edited()) == [Change("known.0", "New.", None)]


@given(words, words)
def test_changes_are_empty_exactly_when_nothing_changed(script: Words, after: Words) -> None:
    changes = script_changes(script, after)
    assert (changes == []) == (script == after)
    before_texts, after_texts = dict(script.texts()), dict(after.texts())
    for change in changes:
        assert change.before != change.after
        assert (after_texts if change.before is None else before_texts)[change.field] == (
            change.after if change.before is None else change.before
        )


@given(words, words)
def test_changes_say_all_that_came_and_went(script: Words, after: Words) -> None:
    changes = script_changes(script, after)
    for name, before in script.lists():
        texts = [c for c in changes if c.field.partition(".")[0] == name]
        gone = [c.before for c in texts if c.before is not None]
        came = [c.after for c in texts if c.after is not None]
        kept = list(before)
        for text in gone:
            kept.remove(text)
        assert sorted(kept + came) == sorted(dict(after.lists())[name])


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "Payouts work again within the next two hours."),
        ("en", "It will be fixed by tonight."),
        ("en", "We will be back very soon."),
        ("de", "Auszahlungen gehen innerhalb der nächsten zwei Stunden wieder."),
        ("de", "In wenigen Minuten ist alles gut."),
        ("de", "Der Fehler ist in Kürze weg."),
    ],
)
def test_a_time_of_repair_is_noticed(language: str, text: str) -> None:
    assert estimate_in(text, language) is not None


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "The next update comes by {next_update_by}."),
        ("en", "Since 14:05 payouts have been delayed."),
        ("de", "Die nächste Nachricht kommt bis {next_update_by}."),
        ("de", "Seit zwei Stunden verzögern sich Auszahlungen."),
    ],
)
def test_the_time_of_the_next_news_is_not_a_time_of_repair(language: str, text: str) -> None:
    assert estimate_in(text, language) is None
