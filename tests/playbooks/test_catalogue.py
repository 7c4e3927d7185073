"""Word catalogues: the same keys and values in every language, or they do not load."""

from __future__ import annotations

from pathlib import Path

import pytest

from incident_center.playbooks import Catalogue, CatalogueErrors, Slot, check_catalogue, load_catalogue

ENGLISH = """\
title: "Status of {company}"
button:
  send: "Send"
  # A value may stand twice.
  late: "{time}, yes {time}"
"""
GERMAN = """\
title: "Status von {company}"
button:
  send: "Senden"
  late: "Ja, {time}"
"""


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in ({"en/public.yaml": ENGLISH, "de/public.yaml": GERMAN} | files).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def found(folder: Path) -> list[str]:
    return [str(problem) for problem in check_catalogue(folder)]


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return load_catalogue(write(tmp_path, {}))


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", "Status of N"),
        ("de", "Status von N"),
        ("de-AT", "Status von N"),
        ("fr", "Status of N"),
        ("", "Status of N"),
    ],
)
def test_words_are_said_in_a_language_or_in_english(
    catalogue: Catalogue, language: str, expected: str
) -> None:
    assert catalogue.say(language, "public.title", company="N") == expected


def test_languages_begin_with_the_fallback(tmp_path: Path) -> None:
    assert load_catalogue(write(tmp_path, {"cs/public.yaml": ENGLISH})).languages == ("en", "cs", "de")


def test_a_value_is_put_in_once_and_as_it_is(catalogue: Catalogue) -> None:
    assert catalogue.say("en", "public.title", company="{time}{", time="x") == "Status of {time}{"
    assert catalogue.say("en", "public.button.late", time=5) == "5, yes 5"
    assert catalogue.parts("en", "public.title") == ("Status of ", Slot("company"))


def test_an_unknown_key_is_named(catalogue: Catalogue) -> None:
    for key in ("public.nothing", "nothing.title", "public.button", ""):
        with pytest.raises(KeyError, match=f"no “{key}”"):
            catalogue.say("de", key)


def test_a_missing_value_is_named(catalogue: Catalogue) -> None:
    with pytest.raises(KeyError, match=r"“public.title” needs a value for {company}"):
        catalogue.say("de", "public.title")


def test_rooms_are_whichever_files_exist(tmp_path: Path) -> None:
    folder = write(tmp_path, {"en/message.yaml": "a: b\n", "de/message.yaml": "a: c\n", "README.md": "x"})
    assert load_catalogue(folder).say("de", "message.a") == "c"


@pytest.mark.parametrize(
    ("files", "problems"),
    [
        (
            {"de/public.yaml": GERMAN.replace("  send: ", "  sent: ")},
            [
                "de/public.yaml:2: “button.send” is missing; en/public.yaml:3 has it",
                "en/public.yaml:2: “button.sent” is missing; de/public.yaml:3 has it",
            ],
        ),
        (
            {"de/public.yaml": GERMAN.replace("{time}", "{zeit}")},
            ["de/public.yaml:4: “button.late” must carry {time} as en/public.yaml does"],
        ),
        (
            {"en/public.yaml": ENGLISH.replace("Send", "Send {what}")},
            ["de/public.yaml:3: “button.send” must carry {what} as en/public.yaml does"],
        ),
        (
            {"de/public.yaml": GERMAN.replace("Senden", "Senden {what}")},
            ["de/public.yaml:3: “button.send” must carry no placeholder as en/public.yaml does"],
        ),
        ({"de/message.yaml": "a: b\n"}, ["en/message.yaml:1: the file is missing; de has it"]),
        ({"en/message.yaml": "a: b\n"}, ["de/message.yaml:1: the file is missing; en has it"]),
        (
            {"de/public.yaml": GERMAN + "title: x\n"},
            ["de/public.yaml:5: the key “title” stands here a second time; it is on line 1 already"],
        ),
        ({"de/public.yaml": GERMAN + "n: 5\n"}, ["de/public.yaml:5: “n” must be a text or a map with texts"]),
        ({"de/public.yaml": GERMAN + "n: [a]\n"}, ["de/public.yaml:5: “n” must be a text or a map with texts"]),
        ({"de/public.yaml": GERMAN + "n: {}\n"}, ["de/public.yaml:5: “n” must be a text or a map with texts"]),
        ({"de/public.yaml": GERMAN + "n: ' '\n"}, ["de/public.yaml:5: “n” is blank; write a text"]),
        ({"de/public.yaml": GERMAN + 'n: "a\\e"\n'}, ["de/public.yaml:5: “n” holds the character U+001B; remove it"]),
        (
            {"de/public.yaml": GERMAN + "n-n: a\n"},
            ["de/public.yaml:5: the key “n-n” must be small letters, digits and underscores"],
        ),
        ({"de/public.yaml": "- a\n"}, ["de/public.yaml:1: the file must be a map of keys"]),
        ({"de/public.yaml": ""}, ["de/public.yaml:1: the file is empty"]),
    ],
)  # fmt: skip
def test_a_fault_has_its_file_and_line(tmp_path: Path, files: dict[str, str], problems: list[str]) -> None:
    folder = write(tmp_path, files)
    assert found(folder) == problems
    with pytest.raises(CatalogueErrors) as caught:
        load_catalogue(folder)
    assert [str(problem) for problem in caught.value.problems] == problems


def test_a_lone_brace_has_its_line(tmp_path: Path) -> None:
    (problem,) = found(write(tmp_path, {"de/public.yaml": GERMAN.replace("Senden", "Senden {")}))
    assert problem.startswith("de/public.yaml:3: a brace without a placeholder")


def test_without_english_there_is_nothing_to_fall_back_to(tmp_path: Path) -> None:
    assert found(tmp_path) == ["en:1: there is no folder en; it is what other languages fall back to"]
