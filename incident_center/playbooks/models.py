"""What stands in a playbook file. Strict: unknown keys, blank texts and wrong types are refused.

Languages are keys ("en", "de", "pt-BR"); a file says which it carries and the rest of the code asks it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from incident_center.playbooks.parts import name_character, odd_character

Phase = Literal["investigating", "identified", "monitoring", "resolved"]
ComponentStatus = Literal[
    "operational", "degraded_performance", "partial_outage", "major_outage", "under_maintenance"
]
Impact = Literal["none", "minor", "major", "critical"]

PHASES: tuple[str, ...] = get_args(Phase)
COMPONENT_STATUSES: tuple[str, ...] = get_args(ComponentStatus)
IMPACTS: tuple[str, ...] = get_args(Impact)

LANGUAGE_PATTERN = r"^[a-z]{2,3}(-[A-Z]{2})?$"


def _text(value: str) -> str:
    """Without blanks at the ends, line breaks as \\n; refuses a blank text and what cannot be sent."""
    text = value.replace("\r\n", "\n").strip()
    if not text:
        raise PydanticCustomError("blank", "is blank; write a text")
    odd = odd_character(text)
    if odd is not None:
        name = name_character(odd)
        raise PydanticCustomError(
            "odd", "holds the character {name}, which cannot be sent; remove it", {"name": name}
        )
    return text


def _one_line(text: str) -> str:
    if "\n" in text:
        raise PydanticCustomError("lines", "must be one line")
    return text


def _as_tuple(value: object) -> object:
    """Lists are what YAML and JSON have; frozen models hold tuples."""
    return tuple(value) if isinstance(value, list) else value


Text = Annotated[str, AfterValidator(_text)]
Line = Annotated[Text, AfterValidator(_one_line)]
Sentences = Annotated[tuple[Text, ...], BeforeValidator(_as_tuple)]
SomeSentences = Annotated[Sentences, Field(min_length=1)]
Language = Annotated[str, StringConstraints(pattern=LANGUAGE_PATTERN)]
ByLanguage = dict[Language, Text]
ComponentKey = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
QuestionName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Minutes = Annotated[int, Field(ge=1, le=1440)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Words(_Strict):
    """The words of one update in one language: the four facts once, SMS and phone in words of their own."""

    subject: Line
    known: SomeSentences
    unknown: Sentences
    doing: SomeSentences
    you_can: SomeSentences
    sms: Text
    phone: Text

    def texts(self) -> Iterator[tuple[str, str]]:
        """Every text with the path of its field: ("subject", …), ("known.0", …), …, ("phone", …)."""
        yield "subject", self.subject
        for name, sentences in self.lists():
            for index, sentence in enumerate(sentences):
                yield f"{name}.{index}", sentence
        yield "sms", self.sms
        yield "phone", self.phone

    def lists(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The four facts in the order in which they are read."""
        yield "known", self.known
        yield "unknown", self.unknown
        yield "doing", self.doing
        yield "you_can", self.you_can


WordsByLanguage = dict[Language, Words]


class Question(_Strict):
    """What the lead is asked when the incident is declared; the answer fills the placeholder of that name.

    `sample` is a long, realistic answer: length checks and previews use it.
    """

    text: ByLanguage
    sample: dict[Language, Line]


Questions = dict[QuestionName, Question]


class PhaseScript(_Strict):
    """One phase of a playbook. In the file the languages of `words` stand beside `phase`."""

    phase: Phase
    next_update_minutes: Minutes | None = None
    component_status: ComponentStatus | None = None
    confirm: dict[Language, Sentences] = {}
    never_say: dict[Language, Sentences] = {}
    words: WordsByLanguage

    def to_confirm(self, language: str) -> tuple[str, ...]:
        """What the lead must tick before these words may go out; English where the language has none."""
        return self.confirm.get(language, self.confirm.get("en", ()))


class Playbook(_Strict):
    """One kind of outage. `key` is the file's stem."""

    key: str
    kind: Literal["incident"] = "incident"
    title: ByLanguage
    use_when: ByLanguage
    impact: Impact
    components: Annotated[tuple[ComponentKey, ...], BeforeValidator(_as_tuple)] = ()
    never_say: dict[Language, Sentences] = {}
    ask: Questions = {}
    phases: Annotated[tuple[PhaseScript, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
    holding: WordsByLanguage | None = None
    holding_again: WordsByLanguage | None = None

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.title)

    def phase(self, name: str) -> PhaseScript:
        """The script of one phase. Raises KeyError when this playbook does not have it."""
        for script in self.phases:
            if script.phase == name:
                return script
        raise KeyError(f"the playbook {self.key} has no phase {name}")

    def not_to_say(self, phase: str, language: str) -> tuple[str, ...]:
        """What must not be said in this phase: the playbook's list, then the phase's own."""
        own = self.phase(phase).never_say
        return tuple(
            sentence for said in (self.never_say, own) for sentence in said.get(language, said.get("en", ()))
        )


class HoldingScript(_Strict):
    """ "No news yet, we are still on it": what goes out when a promise falls due unmet."""

    kind: Literal["holding"]
    title: ByLanguage = {}
    use_when: ByLanguage = {}
    next_update_minutes: Minutes
    holding: WordsByLanguage
    holding_again: WordsByLanguage | None = None

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.holding)


class CorrectionScript(_Strict):
    """What was wrong and what is right."""

    kind: Literal["correction"]
    title: ByLanguage = {}
    use_when: ByLanguage = {}
    ask: Questions = {}
    correction: WordsByLanguage

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.correction)


class Phrase(_Strict):
    """Something that an agent can say or paste; `say` holds variants, `avoid` what not to say instead."""

    key: str
    title: ByLanguage
    when: ByLanguage
    say: dict[Language, Annotated[Sentences, Field(min_length=2, max_length=4)]]
    avoid: dict[Language, Sentences] = {}

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.title)
