"""How a reader is greeted."""

from __future__ import annotations

from incident_center.playbooks.catalogue import Catalogue
from incident_center.playbooks.parts import odd_character


def salutation(catalogue: Catalogue, *, language: str, name: str | None, form: str | None) -> str:
    """ "Guten Tag, Frau Weber", "Dear Mr Kim", "Guten Tag, Alex Kim", or the neutral greeting.

    `form` is "mr", "ms" or None (any other value greets by name). The words are `message.salutation.*`.
    A name is what a customer typed: it is put on one line and loses characters that no message can carry,
    because a greeting must not stop a message.
    """
    said = _one_line(name or "")
    if not said:
        return catalogue.say(language, "message.salutation.neutral")
    chosen = form if form in {"mr", "ms"} else "name"
    return catalogue.say(language, f"message.salutation.{chosen}", name=said)


def _one_line(name: str) -> str:
    if name.isprintable():  # then no blank but " " is in it and nothing odd: nearly everybody's name
        return " ".join(name.split())
    kept = "".join(
        " " if c.isspace() else c for c in name if c.isspace() or odd_character(c, keep="") is None
    )
    return " ".join(kept.split())
