"""What a verb answers when it does not do what it was asked. Pure: any room may import it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Flaw:
    """One thing that is wrong with the input.

    `field` is a path such as "components" or "facts.de.sms"; `code` is stable ("missing", "in_the_past") so that
    customers' pages can say it from their word catalogue; `message` is an English sentence for staff and programs
    that says what to do.
    """

    field: str
    code: str
    message: str


class Refused(Exception):
    """The input is not acceptable; nothing was done. HTML answers 422 with the form, the API 422."""

    def __init__(self, *flaws: Flaw) -> None:
        super().__init__("; ".join(f"{flaw.field}: {flaw.message}" for flaw in flaws))
        self.flaws = flaws


class Conflict(Exception):
    """Somebody else was first (409); nothing was done and what was typed must be kept."""


class NotThere(Exception):
    """No such thing, or not yours to see (404)."""
