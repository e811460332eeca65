"""One value of a recipe replaced from the command line: ``--set method.kd.temperature=2``."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from limbeck.errors import Problem, RecipeError
from limbeck.recipe.lines import Path, dotted, value_of


class _AssignmentError(Exception):
    """What is wrong with one assignment."""


def override(value: Any, assignments: Iterable[str], *, source: str = "--set") -> tuple[Any, list[Path]]:
    """Plain recipe data with some values replaced.

    Missing maps and lists on the way are made. A number in a path is a place in a list; the place after the
    last one appends.

    Args:
        value: What a recipe file holds; it is not changed.
        assignments: ``path=value`` each; the path is dotted and the value is YAML.
        source: What to call them in a message.

    Returns:
        The new data, and the paths that were set.

    Raises:
        RecipeError: For every assignment that cannot be read or does not fit, at once.
    """
    changed = copy.deepcopy(value)
    paths: list[Path] = []
    problems: list[Problem] = []
    for text in assignments:
        try:
            path, new = _parse(text)
            changed = _replaced(changed, path, new, ())
            paths.append(path)
        except (_AssignmentError, RecipeError) as mistake:
            problems.append(Problem(f"--set {text}", _reason(mistake)))
    if problems:
        raise RecipeError(problems, source=source)
    return changed, paths


def _reason(mistake: _AssignmentError | RecipeError) -> str:
    if isinstance(mistake, RecipeError):
        return "; ".join(problem.message for problem in mistake.problems)
    return str(mistake)


def _parse(text: str) -> tuple[Path, Any]:
    left, equals, right = text.partition("=")
    names = left.strip().split(".")
    if not equals or not all(names):
        raise _AssignmentError("must have the form path=value, as in method.kd.temperature=2")
    path = tuple(int(name) if name.isdecimal() else name for name in names)
    return path, value_of(right.strip())


def _replaced(current: Any, path: Path, new: Any, before: Path) -> Any:
    if not path:
        return new
    head, rest = path[0], path[1:]
    if current is None:
        current = [] if isinstance(head, int) else {}
    if isinstance(current, list):
        return _replaced_item(current, head, rest, new, before)
    if not isinstance(current, Mapping):
        raise _AssignmentError(
            f"{dotted(before)} is {current!r}, which has no parts; set {dotted(before)} itself, "
            f"for example {dotted(before)}={{{dotted(path)}: ...}}"
        )
    key = head if head in current else str(head)
    return {**current, key: _replaced(current.get(key), rest, new, (*before, key))}


def _replaced_item(items: list[Any], place: str | int, rest: Path, new: Any, before: Path) -> list[Any]:
    if not isinstance(place, int) or place > len(items):
        raise _AssignmentError(
            f"{dotted(before)} is a list; expected a place in it from 0 to {len(items)}, got {place!r}"
        )
    current = items[place] if place < len(items) else None
    changed = _replaced(current, rest, new, (*before, place))
    return [*items[:place], changed, *items[place + 1 :]]
