"""From what pydantic says to what a reader needs: path, line, value, expectation, nearest name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from limbeck.errors import Problem, nearest
from limbeck.recipe.fields import Fields, Node
from limbeck.recipe.lines import Document, Path, dotted

_SHOWN_CHARACTERS: Final = 60
_PREFIXES: Final = (("Input should be ", "must be "), ("Value error, ", ""), ("Assertion failed, ", ""))
_WHOLE: Final = "must be a whole number"
_NUMBER: Final = "must be a number"
_BOOL: Final = "must be true or false"
_WORDS: Final[Mapping[str, str]] = {
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "bool_type": _BOOL,
    "bool_parsing": _BOOL,
    "path_type": "must be a path",
    "string_type": "must be text (in quotes where it looks like a number)",
    "dict_type": "must be a map",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "too_short": "must hold at least {min_length}",
    "too_long": "must hold at most {max_length}",
    "invalid_key": "must be text (in quotes where it looks like a number)",
}


@dataclass(frozen=True, slots=True)
class _Mistake:
    """Something wrong at a path."""

    path: Path
    message: str
    place: Path
    """The key or item whose line is named."""


def problems(
    error: ValidationError, document: Document, *, schema: Node, overridden: Iterable[Path] = ()
) -> list[Problem]:
    """Every mistake that pydantic found, once, in the order of the file.

    Args:
        error: What the recipe's validation raised.
        document: The data that was validated, with its lines.
        schema: The recipe's JSON Schema.
        overridden: Paths that ``--set`` gave; they have no line.
    """
    fields = Fields(schema, document.value)
    found = [mistake for detail in error.errors() for mistake in _read(detail, fields)]
    set_here = tuple(overridden)
    made = [_problem(path, messages, place, document, set_here) for path, messages, place in _joined(found)]
    return sorted(made, key=lambda problem: problem.line or 0)


def _problem(
    path: Path, message: str, place: Path, document: Document, overridden: tuple[Path, ...]
) -> Problem:
    if any(_given(place, path_set, document) for path_set in overridden):
        return Problem(dotted(path), f"{message} (given by --set)")
    return Problem(dotted(path), message, document.line(place))


def _given(place: Path, overridden: Path, document: Document) -> bool:
    """Whether ``--set`` gave what stands at ``place``, or made it on the way."""
    if place[: len(overridden)] == overridden:
        return True
    return overridden[: len(place)] == place and tuple(map(str, place)) not in document.lines


def _joined(found: Iterable[_Mistake]) -> Iterator[tuple[Path, str, Path]]:
    """Where a value may be one of several things, it is one mistake to be none of them."""
    groups: dict[tuple[Path, Path], list[str]] = {}
    for mistake in found:
        messages = groups.setdefault((mistake.path, mistake.place), [])
        if mistake.message not in messages:
            messages.append(mistake.message)
    for (path, place), messages in groups.items():
        yield path, _either(messages), place


def _either(messages: list[str]) -> str:
    """``must be A, got 1`` and ``must be B, got 1`` as ``must be A or B, got 1``."""
    split = [message.rpartition(", got ") for message in messages]
    values = {value for _, _, value in split}
    if len(messages) == 1 or len(values) > 1 or not all(head.startswith("must be ") for head, _, _ in split):
        return "; or ".join(messages)
    heads = list(dict.fromkeys(head.removeprefix("must be ") for head, _, _ in split))
    return f"must be {' or '.join(heads)}, got {values.pop()}"


def _read(detail: ErrorDetails, fields: Fields) -> Iterator[_Mistake]:
    kind = detail["type"]
    if kind == "conflicts":
        for path, message in detail["ctx"]["conflicts"]:
            yield _Mistake(path, message, path)
        return
    if kind == "missing":
        path = _inside(detail["loc"][:-1], fields.data)
        yield _missing((*path, detail["loc"][-1]), path, fields)
        return
    if kind == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"]:
        return  # long enough, but for items that are reported themselves
    path = _inside(detail["loc"], fields.data)
    read = _READERS.get(kind)
    yield read(detail, path, fields) if read else _Mistake(path, _plain(detail, path, fields), path)


def _inside(loc: tuple[str | int, ...], data: Any) -> Path:
    """The parts of a pydantic location that stand in the data: the others name union members.

    Of two readings with equally many parts, the one with the later parts is right: ``python`` is a union
    member in ``(model, python, arguments)`` although the model has a field of that name.
    """
    if not loc:
        return ()
    head, rest = loc[0], loc[1:]
    without = _inside(rest, data)
    if not _holds(data, head):
        return without
    within = (head, *_inside(rest, data[head]))
    return within if len(within) > len(without) else without


def _holds(data: Any, part: str | int) -> bool:
    if isinstance(data, Mapping):
        return part in data
    return isinstance(data, (list, tuple)) and isinstance(part, int) and part < len(data)


def _missing(path: Path, place: Path, fields: Fields) -> _Mistake:
    described = fields.description(path)
    return _Mistake(
        path, f"is missing: {described[0].lower()}{described[1:]}" if described else "is missing", place
    )


def _unknown(detail: ErrorDetails, path: Path, fields: Fields) -> _Mistake:
    name = str(path[-1]) if path else ""
    owner = path[:-1]
    names = fields.names(owner)
    if name in names:  # of another form of the same map
        others = " and ".join(str(other) for other in fields.given(owner) if other != name)
        return _Mistake(owner, f"has {name} and {others}, of which only one can be given; remove one", path)
    return _Mistake(owner, f"has no field {name!r};{_hint(name, names, 'its fields are')}", path)


def _unknown_kind(detail: ErrorDetails, path: Path, fields: Fields) -> _Mistake:
    kinds = fields.kinds(path)
    if not isinstance(detail["input"], Mapping):
        return _Mistake(
            path, f"must be a map with a kind ({_listed(kinds)}), got {shown(detail['input'])}", path
        )
    if "kind" not in detail["input"]:
        return _Mistake((*path, "kind"), f"is missing; expected {_listed(kinds)}", path)
    name = detail["input"]["kind"]
    hint = nearest(str(name), kinds, count=1)
    return _Mistake((*path, "kind"), f"must be {_listed(kinds)}, got {shown(name)}.{hint}", (*path, "kind"))


def _unknown_form(detail: ErrorDetails, path: Path, fields: Fields) -> _Mistake:
    given = detail["input"]
    if isinstance(given, Mapping) and "kind" in given:
        return _unknown_kind(detail, path, fields)
    return _Mistake(path, _plain(detail, path, fields), path)


def _not_a_map(detail: ErrorDetails, path: Path, fields: Fields) -> _Mistake:
    kinds = fields.kinds(path)
    if len(kinds) > 1:
        return _unknown_kind(detail, path, fields)
    names = ", ".join(fields.names(path))
    return _Mistake(
        path, f"must be a map with some of the fields {names}; got {shown(detail['input'])}", path
    )


def _unknown_word(detail: ErrorDetails, path: Path, fields: Fields) -> _Mistake:
    words = [word.strip("' ") for word in detail["ctx"]["expected"].replace(" or ", ", ").split(",")]
    hint = nearest(str(detail["input"]), words, count=1)
    message = f"must be {detail['ctx']['expected']}, got {shown(detail['input'])}"
    return _Mistake(path, f"{message}.{hint}" if hint else message, path)


_READERS: Final[Mapping[str, Callable[[ErrorDetails, Path, Fields], _Mistake]]] = {
    "extra_forbidden": _unknown,
    "union_tag_invalid": _unknown_kind,
    "union_tag_not_found": _unknown_kind,
    "keep": _unknown_form,
    "model_type": _not_a_map,
    "model_attributes_type": _not_a_map,
    "literal_error": _unknown_word,
}


def _plain(detail: ErrorDetails, path: Path, fields: Fields) -> str:
    words = _WORDS.get(detail["type"])
    message = words.format(**detail.get("ctx", {})) if words else detail["msg"]
    if detail["type"] == "string_pattern_mismatch":
        message = _form(path, fields)
    for before, after in _PREFIXES:
        if message.startswith(before):
            message = after + message.removeprefix(before)
    value = detail["input"]
    if (
        isinstance(value, Mapping)
        or ", got " in message
        or (isinstance(value, str) and repr(value) in message)
    ):
        return message
    return f"{message}, got {shown(value)}"


def _form(path: Path, fields: Fields) -> str:
    example = fields.example(path)
    return f"must look like {example!r}" if example else f"must be {fields.description(path)}"


def shown(value: Any) -> str:
    """A value as a recipe would write it, cut where it is long."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _hint(name: str, names: list[str], otherwise: str) -> str:
    close = nearest(name, names, count=1).strip()
    if close:
        return f" {close[0].lower()}{close[1:]}"
    return f" {otherwise} {', '.join(names)}"


def _listed(words: list[str]) -> str:
    quoted = [repr(word) for word in words]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]]) if len(quoted) > 1 else "".join(quoted)
