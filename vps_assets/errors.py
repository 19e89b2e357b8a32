"""The errors that a person reads: one tree, which the command line maps to exit codes.

    VpsError
    ├── UserError    exit 2: the user can correct it
    └── Failure      exit 1: something did not work

Each has one line: what is wrong and, where there is something to do, what. Modules derive their own from these two.
"""

import sys


class VpsError(Exception):
    """An error with one line for a person."""

    exit_code: int


class UserError(VpsError):
    """A mistake of the user's, or something that is missing and that the user can provide."""

    exit_code = 2


class Failure(VpsError):
    """Something did not work; the state is as it was before, and running again is safe."""

    exit_code = 1


class NoChampion(UserError):
    """No model has been promoted yet."""


class WrongSetting(UserError):
    """An environment variable has a value that makes no sense; the message names it and shows a valid one."""


def one_line(error: object) -> str:
    """An error's message on one line."""
    return printable(" ".join(str(error).split())) or type(error).__name__


def printable(text: str) -> str:
    r"""The text as a terminal shows it and no more: what would command the terminal is written as \xNN."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def tell(message: str) -> None:
    """Progress goes to stderr: stdout is for results."""
    print(message, file=sys.stderr, flush=True)
