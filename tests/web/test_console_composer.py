"""The composer's form as plain data: nothing typed is lost on its way through a draft."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from incident_center.errors import Refused
from incident_center.models import Draft
from incident_center.states import Phase
from incident_center.web.console import composer
from incident_center.web.console.composer import FIELDS, LISTS, ComposerForm
from tests.builders import NOW

LANGUAGES = ("en", "de")
LINE = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Zs"]), min_size=1, max_size=30)


def _words(draw_line: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, str]]:
    lines = st.lists(draw_line, max_size=3).map("\n".join)
    return st.fixed_dictionaries({name: lines if name in LISTS else draw_line for name in FIELDS})


def _draft(form: ComposerForm) -> Draft:
    kept = composer.to_draft(form)
    return Draft(
        id=7,
        version=3,
        kind=kept.kind,
        phase=kept.phase,
        corrects_update_id=kept.corrects_update_id,
        words={lang: dict(words) for lang, words in kept.words.items()},
        answers={name: dict(texts) for name, texts in kept.answers.items()},
        confirmed=list(kept.confirmed),
        component_status=dict(kept.component_status),
        next_update=kept.next_update,
        saved_at=NOW,
        saved_by="lead@example.com",
    )


@given(_words(LINE), _words(LINE), st.sampled_from(["", "30", "15:30"]), st.sets(st.integers(0, 5)))
def test_a_draft_gives_back_what_was_typed(
    english: dict[str, str], german: dict[str, str], next_update: str, confirmed: set[int]
) -> None:
    at = ":" in next_update
    form = ComposerForm(
        phase=Phase.IDENTIFIED,
        words={"en": english, "de": german},
        confirmed=confirmed,
        status={"cards": "major_outage"},
        next_update="at" if at else next_update,
        next_at=next_update if at else "",
        draft_id=7,
        draft_version=3,
    )
    assert composer.from_draft(_draft(form), LANGUAGES) == form


def test_a_sentence_a_line_blank_lines_are_layout() -> None:
    typed = dict.fromkeys(FIELDS, "Text.") | {"known": "One.\n\n  Two.  \n", "unknown": ""}
    words, flaws = composer.read_words({"en": typed})
    assert flaws == []
    assert words["en"].known == ("One.", "Two.")
    assert words["en"].unknown == ()


def test_every_empty_field_is_named_in_its_language() -> None:
    words, flaws = composer.read_words({"de": dict.fromkeys(FIELDS, " ")})
    assert words == {}
    assert [flaw.field for flaw in flaws] == [f"words.de.{name}" for name in FIELDS if name != "unknown"]
    assert all(flaw.message.startswith("Deutsch: ") for flaw in flaws)


@pytest.mark.parametrize("kind", ["holding", "nonsense"])
def test_a_browser_cannot_publish_what_is_not_its_to_publish(kind: str) -> None:
    typed = MultiDict({"phase": "identified", "kind": kind})
    with pytest.raises(Refused):
        composer.from_browser(typed, languages=LANGUAGES, asked=(), keys=())


def test_a_component_that_is_not_the_incidents_cannot_be_changed_through_the_form() -> None:
    typed = MultiDict(
        {"phase": "identified", "status.cards": "major_outage", "status.wallet": "major_outage"}
    )
    form = composer.from_browser(typed, languages=LANGUAGES, asked=(), keys=["cards"])
    assert form.status == {"cards": "major_outage"}
