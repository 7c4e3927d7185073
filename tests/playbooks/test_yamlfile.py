"""Any file at all gives data or problems with a line of that file, never a crash."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.compat import StringIO

from incident_center.playbooks.yamlfile import parse_document

yaml_like = st.text(st.sampled_from("ab0: -\n\t{}[]&*!|>'\"#%?,@`~<\\\x01é😀\u2028")) | st.text()
keys = st.text(st.sampled_from("abcdeöß{}:# -"), min_size=1)
scalars = st.one_of(st.text(st.characters(min_codepoint=32, exclude_categories=["Cc", "Cs"])), st.integers())
trees = st.dictionaries(
    keys, st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=12)
)


@given(yaml_like)
def test_no_text_makes_the_reader_fall(text: str) -> None:
    document = parse_document(text, file="any.yaml")
    assert isinstance(document.data, str | int | dict | list | None)
    for problem in document.problems:
        assert 1 <= problem.line <= len(text.splitlines()) + 1


@given(trees)
def test_what_a_yaml_writer_wrote_is_read_the_same(tree: dict[str, Any]) -> None:
    stream = StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.dump(tree, stream)
    document = parse_document(stream.getvalue(), file="any.yaml")
    assert document.problems == []
    assert document.data == tree


def test_maps_in_maps_without_end_are_a_problem() -> None:
    document = parse_document("[" * 3000 + "]" * 3000, file="deep.yaml")
    assert [str(problem) for problem in document.problems] == [
        "deep.yaml:1: maps and lists stand too deep in one another"
    ]


def test_a_folded_text_is_one_line_and_a_literal_text_keeps_its_lines() -> None:
    document = parse_document("a: >-\n  one\n  two\nb: |\n  one\n  two\n", file="f.yaml")
    assert document.data == {"a": "one two", "b": "one\ntwo\n"}


def test_the_line_of_something_that_is_not_there_is_that_of_what_is_around_it() -> None:
    document = parse_document("a:\n  b:\n    - one\n    - two\n", file="f.yaml")
    assert document.line(("a", "b", 1)) == 4
    assert document.line(("a", "b", 7)) == 2
    assert document.line(("a", "x", "y")) == 1
