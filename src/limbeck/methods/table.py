"""Every method that a recipe can name, and how a composed one is read and written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, ValidationError, WithJsonSchema
from pydantic_core import InitErrorDetails, PydanticCustomError

from limbeck.errors import MethodError, nearest
from limbeck.methods.algebra import Sum, parts
from limbeck.methods.base import Method
from limbeck.methods.ce import CE
from limbeck.methods.kd import KD
from limbeck.methods.pseudo_label import PseudoLabel

METHODS: Mapping[str, type[Method]] = {"ce": CE, "kd": KD, "pseudo-label": PseudoLabel}


def dump(method: Method) -> list[dict[str, Any]]:
    """A method as plain data: ``{name: hyperparameters}`` for each part; :func:`parse` makes its equal.

    Raises:
        MethodError: If a part is not in :data:`METHODS`, so that no recipe can name it.
    """
    return [{_name(part): part.model_dump(mode="json", exclude={"kind"})} for part in parts(method)]


def parse(value: Any) -> Method:
    """A method from plain data.

    Args:
        value: ``{"kd": {"temperature": 4}, "ce": {"weight": 0.1}}``; a list of such mappings, where one
            method comes twice; a name alone; or a method.

    Raises:
        pydantic.ValidationError: With a location for every mistake, such as ``kd.temperature``.
    """
    if isinstance(value, Method):
        return value
    problems: list[InitErrorDetails] = []
    found = [_one(name, fields, place, problems) for name, fields, place in _entries(value, problems)]
    if not found and not problems:
        problems.append(_problem("a method needs at least one part, such as kd: {temperature: 4}", (), value))
    if problems:
        raise ValidationError.from_exception_data("method", problems)
    methods = tuple(part for part in found if part is not None)
    return methods[0] if len(methods) == 1 else Sum(methods=methods)


def catalogue() -> list[dict[str, Any]]:
    """What ``limbeck methods --json`` lists: name, family, summary, reads, defaults, paper."""
    return [_described(name, kind) for name, kind in METHODS.items()]


def _schema() -> dict[str, Any]:
    fields = {}
    for name, kind in METHODS.items():
        entry = kind.model_json_schema()
        entry["properties"].pop("kind")
        fields[name] = {"anyOf": [entry, {"type": "null"}]}
    together = {"type": "object", "additionalProperties": False, "minProperties": 1, "properties": fields}
    names = {"type": "string", "enum": list(METHODS)}
    return {
        "anyOf": [together, {"type": "array", "minItems": 1, "items": {"anyOf": [together, names]}}, names]
    }


AnyMethod = Annotated[
    Method,
    BeforeValidator(parse),
    PlainSerializer(dump, return_type=list[dict[str, Any]]),
    WithJsonSchema(_schema()),
]
"""A method in a recipe."""

_Place = tuple[int | str, ...]


def _entries(value: Any, problems: list[InitErrorDetails]) -> list[tuple[str, Any, _Place]]:
    if isinstance(value, str):
        return [(value, None, (value,))]
    if isinstance(value, Mapping):
        return [(str(name), fields, (str(name),)) for name, fields in value.items()]
    if isinstance(value, (list, tuple)):
        nested = [(place, _entries(entry, problems)) for place, entry in enumerate(value)]
        return [(name, fields, (place, *inner)) for place, group in nested for name, fields, inner in group]
    problems.append(_problem("expected a mapping such as kd: {temperature: 4}, or a list of such", (), value))
    return []


def _one(name: str, fields: Any, place: _Place, problems: list[InitErrorDetails]) -> Method | None:
    kind = METHODS.get(name)
    if kind is None:
        text = f"there is no method {name!r}.{nearest(name, METHODS)} `limbeck methods` lists all"
        problems.append(_problem(text, place, name))
        return None
    try:
        return kind.model_validate({} if fields is None else fields)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            known = {"type": detail["type"], "loc": (*place, *detail["loc"]), "input": detail["input"]}
            problems.append(InitErrorDetails(**known, ctx=detail.get("ctx", {})))  # type: ignore[typeddict-item]
        return None


def _problem(text: str, place: _Place, value: Any) -> InitErrorDetails:
    return InitErrorDetails(
        type=PydanticCustomError("method", "{text}", {"text": text}), loc=place, input=value
    )


def _name(method: Method) -> str:
    for name, kind in METHODS.items():
        if type(method) is kind:
            return name
    raise MethodError(
        f"{type(method).__name__} has no name in METHODS, so it cannot be written down, expected one of "
        f"{', '.join(METHODS)}. Add it to limbeck/methods/table.py."
    )


def _described(name: str, kind: type[Method]) -> dict[str, Any]:
    example = kind()
    reads = example.reads
    return {
        "name": name,
        "family": kind.family,
        "summary": (kind.__doc__ or "").strip().splitlines()[0],
        "reads": {"teacher": reads.teacher, "labels": reads.labels, "taps": list(reads.taps)},
        "defaults": example.model_dump(mode="json", exclude={"kind"}),
        "paper": kind.paper,
    }
