"""The generated reference: recipe, methods, report, from the code's own schemas and docstrings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from blocks import markdown, table, value

from limbeck.methods import dump
from limbeck.methods.table import METHODS
from limbeck.recipe import Recipe, json_schema
from limbeck.reports.schema import Report
from limbeck.training.inversion import Inversion
from limbeck.training.synthesis import Synthesis

Schema = Mapping[str, Any]

_RECIPE_GROUPS = (
    ("Data", "data", ("FashionMNIST", "Digits", "ArrayFiles", "ImageFolder", "PythonData")),
    ("Preprocessing", "preprocessing", ("Preprocessing",)),
    ("Augmentation", "augmentation, teacher.augmentation", ("Augmentation",)),
    (
        "Teacher",
        "teacher",
        (
            "TeacherRecipe",
            "Views",
            "Epochs",
            "DenseAnswers",
            "TopKAnswers",
            "TopKSampledAnswers",
            "SampledAnswers",
            "Taps",
            "EnsembleModel",
            "Member",
        ),
    ),
    ("Student", "student", ("StudentRecipe",)),
    ("Assistants", "assistants", ("Assistant",)),
    (
        "Models",
        "teacher.model, student.model, assistants.model, teacher.model.members.model",
        ("Residual", "Separable", "ViT", "MLP", "Linear", "PythonModel"),
    ),
    ("Training", "training, teacher.training", ("Training", "SGD", "AdamW", "Cosine", "OneCycle")),
    ("Tuning", "tuning", ("Choice",)),
    ("Evaluation", "evaluation", ("Evaluation",)),
    ("Export", "export", ("Exports",)),
    ("Gate", "gate", ("Gate",)),
    ("Plan", "plan", ("Plan", "Execution", "Asking")),
)
FAMILIES = (
    "supervised", "response", "feature", "relation", "self", "online", "ensemble", "continual", "modifier",
)  # fmt: skip
_ELSEWHERE = {"AnyMethod": "a [method](methods.md)", "Pair": "[`{student, teacher}`](methods.md#layers)"}
"""What is not described beside the recipe's fields, and how a field that takes it says so."""
_IN_PYTHON = ("ObjectData", "ObjectModel")
_SHARED_DATA = ("validation", "test", "labelled", "seed", "limit")


def recipe_fields() -> str:
    """Every field of a recipe, grouped as the recipe is."""
    schema = json_schema()
    known = schema["$defs"]
    parts = ["## The whole recipe", _fields(schema)]
    for title, place, names in _RECIPE_GROUPS:
        parts += [f"## {title}", f"Stands under: {', '.join(f'`{one}`' for one in place.split(', '))}."]
        if title == "Data":
            parts += list(_data(known))
        else:
            parts += [part for name in names for part in _section(name, known[name], alone=len(names) == 1)]
    parts += [
        "## In resolved recipes only",
        "These stand in the `recipe.yaml` of a run that was started from Python.",
    ]
    parts += [part for name in _IN_PYTHON for part in _section(name, known[name])]
    listed = {name for *_, names in _RECIPE_GROUPS for name in names} | {*_IN_PYTHON, *_ELSEWHERE}
    if missing := set(known) - listed:
        raise ValueError(f"docs/reference.py groups no {sorted(missing)}; add them to _RECIPE_GROUPS")
    return "\n\n".join(parts)


def method_fields(name: str) -> str:
    """Every field of a method."""
    properties = METHODS[name].model_json_schema()["properties"]
    return _fields({"properties": {field: held for field, held in properties.items() if field != "kind"}})


def data_free_settings() -> str:
    """The settings of both ways to make inputs."""
    kinds: tuple[type[Inversion | Synthesis], ...] = (Inversion, Synthesis)
    return "\n\n".join(f"### {kind.__name__}\n\n{_fields(kind.model_json_schema())}" for kind in kinds)


def report_fields() -> str:
    """Every field of ``report.json``."""
    schema = Report.model_json_schema(by_alias=True)
    parts = ["### The whole report", _fields(schema, defaults=False)]
    for name, held in schema["$defs"].items():
        parts += _section(name, held, defaults=False)
    return "\n\n".join(parts)


def _data(known: Schema) -> Iterator[str]:
    yield "Every kind takes these:"
    whole = known["FashionMNIST"]
    yield _fields({"properties": {name: whole["properties"][name] for name in _SHARED_DATA}})
    for name in _RECIPE_GROUPS[0][2]:
        own = {field: held for field, held in known[name]["properties"].items() if field not in _SHARED_DATA}
        yield from _section(name, {**known[name], "properties": own})


def _section(name: str, schema: Schema, *, alone: bool = False, defaults: bool = True) -> Iterator[str]:
    kind = _kind(schema)
    if not alone:
        yield f"### {_heading(name, kind)}"
    if "description" in schema:
        yield markdown(schema["description"])
    rest = {field: held for field, held in schema["properties"].items() if not (kind and field == "kind")}
    if rest:
        yield _fields({**schema, "properties": rest}, defaults=defaults)
    elif kind:
        yield "It has no fields of its own."


def _kind(schema: Schema) -> str | None:
    found: str | None = schema["properties"].get("kind", {}).get("const")
    return found


def _heading(name: str, kind: str | None) -> str:
    return f"{name}, kind: {kind}" if kind else name


def _fields(schema: Schema, *, defaults: bool = True) -> str:
    required = schema.get("required", ())
    rows = []
    for name, held in schema["properties"].items():
        row = [f"`{name}`", _type(held)]
        if defaults:
            row.append("required" if name in required else _default(name, held))
        rows.append([*row, markdown(held.get("description", "")).replace("\n\n", " ")])
    columns = ("Field", "Takes", "Default", "Meaning") if defaults else ("Field", "Type", "Meaning")
    return table(columns, rows)


def _default(name: str, held: Schema) -> str:
    if name == "method":
        return value({part: {} for entry in dump(Recipe.model_fields["method"].default) for part in entry})
    if "default" not in held:  # made anew for each
        return value({})
    plain = held["default"]
    if isinstance(plain, dict):
        return value({"kind": plain["kind"]}) if "kind" in plain else "its defaults"
    if isinstance(plain, list):
        return value([_set(entry) for entry in plain])
    return value(plain)


def _set(entry: Any) -> Any:
    """What of a default is not null."""
    return (
        {name: held for name, held in entry.items() if held is not None} if isinstance(entry, dict) else entry
    )


def _type(held: Schema) -> str:
    """What a field takes, in words."""
    if held.get("title") == "Method" or "minProperties" in (held.get("anyOf") or [{}])[0]:
        return "a [method](methods.md)"
    if "$ref" in held:
        name = held["$ref"].rpartition("/")[2]
        return _ELSEWHERE[name] if name in _ELSEWHERE else _named(held["$ref"])
    for choice in ("oneOf", "anyOf"):
        if choice in held:
            return " or ".join(dict.fromkeys(_type(one) for one in held[choice]))
    if "const" in held:
        return f"`{held['const']}`"
    if "enum" in held:
        return ", ".join(f"`{one}`" for one in held["enum"])
    return _plain_type(held)


def _plain_type(held: Schema) -> str:
    match held.get("type"):
        case "array" if "prefixItems" in held:
            return f"list of {len(held['prefixItems'])}: {_type(held['prefixItems'][0])}"
        case "array":
            return f"list of {_type(held.get('items', {}))}"
        case "object" if isinstance(held.get("additionalProperties"), dict):
            return f"map to {_type(held['additionalProperties'])}"
        case "object":
            return "map"
        case "integer" | "number" as name:
            return f"{'whole number' if name == 'integer' else 'number'}{_bounds(held)}"
        case "boolean":
            return "`true` or `false`"
        case "null":
            return "`null`"
        case "string":
            return "path" if held.get("format") == "path" else "text"
        case _:
            return "anything"


def _bounds(held: Schema) -> str:
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    found = [f"{word} {held[name]:g}" for name, word in words.items() if name in held]
    return f", {', '.join(found)}" if found else ""


def _named(reference: str) -> str:
    name = reference.rpartition("/")[2]
    known = {**json_schema()["$defs"], **Report.model_json_schema()["$defs"]}
    kind = _kind(known[name])
    alone = {names[0]: title for title, _, names in _RECIPE_GROUPS if len(names) == 1}
    heading = alone.get(name, _heading(name, kind))
    anchor = re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
    return f"[{f'kind: {kind}' if kind else name}](#{anchor})"
