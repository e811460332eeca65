"""YAML to plain values, with the line of each: the core of YAML 1.2, nothing executed, no key twice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from limbeck.errors import Problem, RecipeError

Path = tuple[str | int, ...]
_Lines = dict[tuple[str, ...], int]

_PREFIX: Final = "tag:yaml.org,2002:"
_KEPT: Final = frozenset({f"{_PREFIX}null", f"{_PREFIX}merge"})
_CORE: Final = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+0123456789.",
    ),
)


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """What a plain scalar is, by its first character: `no` and `on` are text, 1e-3 is a number."""
    found = {
        first: [rule for rule in rules if rule[0] in _KEPT]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for name, pattern, firsts in _CORE:
        for first in firsts:
            found.setdefault(first, []).append((_PREFIX + name, re.compile(rf"^(?:{pattern})$")))
    return found


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = _resolvers()


class Dumper(yaml.SafeDumper):
    """Writes what :func:`read` reads back as the same value; everything is spelled out, without aliases."""

    yaml_implicit_resolvers = _resolvers()

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(str(loader.construct_scalar(node)))


_Loader.add_constructor(f"{_PREFIX}int", _integer)


@dataclass(frozen=True, slots=True)
class Document:
    """A value, and the line (from 1) of every key and item in it."""

    value: Any
    lines: dict[tuple[str, ...], int] = field(default_factory=dict)

    def line(self, path: Path) -> int | None:
        """The line of ``path``, or of the nearest thing around it."""
        names = tuple(map(str, path))
        while names and names not in self.lines:
            names = names[:-1]
        return self.lines.get(names)


def read(text: str, *, source: str = "recipe") -> Document:
    """Read YAML.

    Args:
        text: One document. Only plain values are made: numbers, text, lists, maps.
        source: What to call it in a message.

    Raises:
        RecipeError: For a mistake of syntax, or every key that stands twice, with its line.
    """
    try:
        root = yaml.compose(text, Loader=_Loader)
        if root is None:
            return Document(None)
        lines: _Lines = {}
        problems = list(_walk(root, (), lines, ()))
        if problems:
            raise RecipeError(problems, source=source)
        return Document(yaml.load(text, Loader=_Loader), lines)  # noqa: S506 (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        raise RecipeError([_syntax(error)], source=source) from error
    except yaml.YAMLError as error:
        raise RecipeError([Problem("YAML", f"cannot be read: {error}")], source=source) from error


def value_of(text: str) -> Any:
    """The value of a few characters of YAML, as after ``--set a.b=``."""
    return read(text, source=repr(text)).value


def dotted(path: Path) -> str:
    """``("tuning", 1, "learning_rate")`` as people write it: ``tuning.1.learning_rate``."""
    return ".".join(map(str, path)) or "recipe"


def _walk(
    node: yaml.Node, path: tuple[str, ...], lines: _Lines, around: tuple[yaml.Node, ...]
) -> Iterator[Problem]:
    """Note the lines of a node's parts; yield keys that stand twice and anchors that hold themselves."""
    if any(node is outer for outer in around):
        yield Problem(dotted(path), "refers to itself; an anchor cannot hold its own alias", _line(node))
        return
    lines.setdefault(path, _line(node))
    around = (*around, node)
    if isinstance(node, yaml.MappingNode):
        yield from _walk_mapping(node, path, lines, around)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _walk(item, (*path, str(number)), lines, around)


def _walk_mapping(
    node: yaml.MappingNode, path: tuple[str, ...], lines: _Lines, around: tuple[yaml.Node, ...]
) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for key, value in node.value:
        name, here = str(key.value), _line(key)
        if name in first:
            yield Problem(
                dotted((*path, name)), f"stands twice, first in line {first[name]}; remove one of them", here
            )
            continue
        first[name] = here
        lines[(*path, name)] = here
        yield from _walk(value, (*path, name), lines, around)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _syntax(error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    message = f"cannot be read as YAML: {error.problem or error.context}"
    if "\\t" in message:
        message += " (indent with spaces, not with tabs)"
    return Problem("YAML", message, None if mark is None else mark.line + 1)
