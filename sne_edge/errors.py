"""The one error type that users see, raised anywhere, caught once, in `cli`; and the one kind of warning."""

from __future__ import annotations


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
