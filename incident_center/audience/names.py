"""People's names in any script, as long as they are names: no links, no markup, nothing invisible. Pure."""

import re
import unicodedata

from incident_center.errors import Flaw, Refused

NAME_MAX = 80
_JOINERS = {"\u200c", "\u200d"}  # Persian and Indic names need them
_MARKS = set("'’‘ʼ`´.,-‐‑–·・׳״()&＆")
_STRIPPED = re.compile("[\u200b\u200e\u200f\u2060\ufeff\u00ad]")
_LINK = re.compile(
    r"://|www\.|[^\W_]{2,}\.(?:com|net|org|info|biz|io|co|de|eu|at|ch|uk|ru|cn|xyz|top|site|online|shop|app|dev|link|click)\b",
    re.IGNORECASE,
)
_CLOSED_UP = re.compile(r"(?<=[^\W\d_])\.(?=[^\W\d_]{2})")  # "Dr.Li" reads as a link in mail programs


def parse_name(text: str) -> str | None:
    """A name of at most 80 characters in NFC with single blanks; None when nothing was typed.

    Refuses with field "name": name.too_long, name.link, name.odd (a character that is in no name).
    """
    name = " ".join(unicodedata.normalize("NFC", _STRIPPED.sub("", text)).split())
    if not name:
        return None
    if len(name) > NAME_MAX:
        raise _no("too_long", f"is longer than {NAME_MAX} characters; a shorter form will do")
    if _LINK.search(name):
        raise _no("link", "must not hold a web address")
    if not all(map(_belongs, name)) or not any(map(str.isalpha, name)):
        raise _no("odd", "holds characters that are in no name; use letters, blanks, hyphens, apostrophes")
    return _CLOSED_UP.sub(". ", name)[:NAME_MAX]


def _belongs(letter: str) -> bool:
    category = unicodedata.category(letter)
    return letter == " " or letter in _MARKS or letter in _JOINERS or category[0] in "LM" or category == "Nd"


def _no(code: str, message: str) -> Refused:
    return Refused(Flaw("name", f"name.{code}", message))
