"""The one error type that users see, caught once, in `cli`; the one kind of warning; words that errors share."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class SneError(Exception):
    """A failure the user can act on: what is wrong, and what to do about it.

    `message` names the file, field and value; `hint` says the next step.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, hint)  # both: an error that crosses processes is made anew from its arguments
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class SneWarning(UserWarning):
    """What a user should know of a result that is made all the same."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The start of a hint: `did you mean X? `, or nothing where no known word is like the one given."""
    found = get_close_matches(word[:100], list(known), n=1)
    return f"did you mean {found[0]}? " if found else ""


def shortened(text: object, length: int = 120) -> str:
    """A user's text for a message: one that is longer than any name ends in dots."""
    plain = str(text)
    return plain if len(plain) <= length else plain[:length] + "..."


def printable(text: str) -> str:
    """Text for a terminal: line ends stay, other control codes, which could change what is shown, become `?`."""
    return "".join(c if c.isprintable() or c == "\n" else " " if c == "\t" else "?" for c in text)
