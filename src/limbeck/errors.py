"""Every exception of Limbeck, in one tree.

A message names the owner, the value, what was expected, and the cure. ``exit_code`` is what the command
line returns: 1 the gate failed, 2 the user's mistake, 3 a run that broke.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar


class LimbeckError(Exception):
    """The root of the tree."""

    exit_code: ClassVar[int] = 3


class GateError(LimbeckError):
    """The run is complete and its result is below what the recipe's gate demands."""

    exit_code: ClassVar[int] = 1


class UserError(LimbeckError):
    """Something that the user can put right before any time is spent."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a recipe: where it stands, what stands there, and what should."""

    path: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        place = f" (line {self.line})" if self.line is not None else ""
        return f"{self.path}{place}: {self.message}"


class RecipeError(UserError):
    """One or more mistakes in a recipe, all reported at once."""

    def __init__(self, problems: Iterable[Problem], *, source: str = "recipe") -> None:
        self.problems = tuple(problems)
        self.source = source
        count = len(self.problems)
        head = f"{source} has {count} mistake{'s' if count != 1 else ''}:"
        super().__init__("\n".join([head, *(f"  {problem}" for problem in self.problems)]))


class DataError(UserError):
    """Data that cannot be read, or that cannot be trained or measured on."""


class ModelError(UserError):
    """A model that cannot be built, loaded or tapped."""


class TeacherError(UserError):
    """A teacher that does not fit the data, the student or the method."""


class RetryableError(TeacherError):
    """A teacher that failed for a moment: busy, restarting, cut off. Whoever asks tries again.

    Args:
        message: What happened.
        after_seconds: How long it wants to be left alone, where it says so.
    """

    def __init__(self, message: str, *, after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.after_seconds = after_seconds


class MethodError(UserError):
    """A method that cannot work with what it is given."""


class StoreError(UserError):
    """A target store that is damaged, incomplete, or of another teacher."""


class ExportError(UserError):
    """A student that cannot be written in a format."""


class MissingExtraError(UserError):
    """An optional dependency is absent; the message names the extra to install."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed. Install it with: pip install 'limbeck[{extra}]'")


class RunError(LimbeckError):
    """A run that broke; what was computed before is kept."""


class BudgetError(RunError):
    """What may be spent on a teacher is spent; what it answered before is kept."""


class NonFiniteLossError(RunError):
    """The loss became infinite or not a number."""


class ExportMismatchError(RunError):
    """An exported file does not answer as the trained student does."""


class DiskError(RunError):
    """The disk is full or cannot be written; earlier files are intact, and the cure is the user's."""

    exit_code: ClassVar[int] = 2


def nearest(name: str, candidates: Iterable[str], *, count: int = 3) -> str:
    """``" Did you mean 'a', 'b'?"`` for the closest candidates, or an empty string where none is close."""
    close = difflib.get_close_matches(name, list(candidates), n=count, cutoff=0.5)
    if not close:
        return ""
    return f" Did you mean {', '.join(repr(match) for match in close)}?"
