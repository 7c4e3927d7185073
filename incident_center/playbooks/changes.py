"""What a lead changed against the script, for display and for the record."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import NamedTuple

from incident_center.playbooks.models import Words


class Change(NamedTuple):
    """One changed text. `before` is None for an added sentence, `after` None for a removed one.

    `field` is the path of the text as `Words.texts` gives it: in the script, for an added sentence in
    the edited words.
    """

    field: str
    before: str | None
    after: str | None


def script_changes(script: Words, edited: Words) -> list[Change]:
    """The changes in reading order: subject, the four facts, SMS, phone. [] when nothing was changed.

    Sentences are matched as wholes: one that moved down because another was added before it is no change.
    """
    changes = _text_change("subject", script.subject, edited.subject)
    for (name, before), (_, after) in zip(script.lists(), edited.lists(), strict=True):
        changes += _sentence_changes(name, before, after)
    changes += _text_change("sms", script.sms, edited.sms)
    changes += _text_change("phone", script.phone, edited.phone)
    return changes


def _text_change(field: str, before: str, after: str) -> list[Change]:
    return [Change(field, before, after)] if before != after else []


def _sentence_changes(name: str, before: tuple[str, ...], after: tuple[str, ...]) -> Iterator[Change]:
    matcher = SequenceMatcher(a=before, b=after, autojunk=False)
    for operation, start, end, other_start, other_end in matcher.get_opcodes():
        if operation == "equal":
            continue
        for old, new in zip_longest(range(start, end), range(other_start, other_end)):
            yield Change(
                f"{name}.{new if old is None else old}",
                None if old is None else before[old],
                None if new is None else after[new],
            )
