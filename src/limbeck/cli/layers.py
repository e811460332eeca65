"""`limbeck layers`: the layers of a model, by the names that a recipe uses for them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limbeck.cli.table import table

if TYPE_CHECKING:
    from torch import nn

    from limbeck.taps import Layer


class Role(StrEnum):
    """Whose layers."""

    TEACHER = "teacher"
    STUDENT = "student"


def layers(
    model: Annotated[
        str, typer.Argument(help="python:package.module:function, a recipe, or a run's folder.")
    ],
    role: Annotated[Role, typer.Argument(help="Which model of a recipe.")] = Role.STUDENT,
    shape: Annotated[
        str | None, typer.Option(help="One input of a python: model, as in 3,32,32 or 64.", metavar="SIZES")
    ] = None,
    argument: Annotated[
        list[str] | None, typer.Option(help="An argument of a python: function, NAME=VALUE; repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List a model's layers with the shape of what each gives."""
    from limbeck.errors import UserError

    if model.startswith("python:"):
        found = _of_function(model.removeprefix("python:"), shape, argument or [])
    elif ":" in model and not Path(model).exists():
        raise UserError(
            f"{model} names neither a recipe nor a run. A function is written python:{model}, with --shape."
        )
    else:
        found = _of_recipe(Path(model), role)
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(layer) for layer in found], indent=2))
        return
    typer.echo(table(("LAYER", "KIND", "SHAPE", "PARAMETERS"), map(_row, found), right=["PARAMETERS"]))
    for line in _names(found):
        typer.echo(line)


def _row(layer: Layer) -> tuple[str, str, str, str]:
    shape = (
        " x ".join(f"{size} {axis}" for size, axis in zip(layer.shape[1:], layer.axes[1:], strict=True))
        if layer.shape and layer.axes
        else " x ".join(map(str, layer.shape[1:]))
        if layer.shape
        else "not one tensor"
        if layer.runs
        else "not run"
    )
    kind = layer.kind if layer.runs < 2 else f"{layer.kind} (runs {layer.runs} times)"
    return layer.name, kind, shape, f"{layer.parameters:,}"


def _names(found: list[Layer]) -> Iterator[str]:
    """What the words that a recipe may use for layers mean in this model."""
    from limbeck.errors import ModelError
    from limbeck.taps import penultimate, stages

    try:
        yield f"penultimate: {penultimate(found)}"
    except ModelError:
        yield "penultimate: none, as no linear layer gives one row an example"
    try:
        yield "stages: " + ", ".join(f"stage:{number} {name}" for number, name in enumerate(stages(found), 1))
    except ModelError:
        yield "stages: none that can be told from the shapes"


def _of_function(reference: str, shape: str | None, arguments: list[str]) -> list[Layer]:
    from torch import nn

    from limbeck.errors import ModelError, UserError
    from limbeck.importing import import_function
    from limbeck.recipe.overriding import override

    if shape is None:
        raise UserError("--shape is missing: one input of the model, as in --shape 3,32,32 or --shape 64.")
    sizes = _sizes(shape)
    values, _ = override({}, arguments, source="--argument")
    try:
        module = import_function(reference)(**values)
    except TypeError as error:
        raise ModelError(
            f"python:{reference} could not be called: {error}. Give --argument NAME=VALUE."
        ) from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"python:{reference} must return a torch.nn.Module, got {type(module).__name__}.")
    return _traced(module, sizes)


def _sizes(shape: str) -> tuple[int, ...]:
    from limbeck.errors import UserError

    parts = shape.replace("x", ",").split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise UserError(
            f"--shape must be whole numbers with commas between them, as in 3,32,32, got {shape!r}."
        )
    return tuple(map(int, parts))


def _of_recipe(path: Path, role: Role) -> list[Layer]:
    from limbeck.data import load as load_data
    from limbeck.recipe import load as load_recipe

    recipe = load_recipe(path / "recipe.yaml" if path.is_dir() else path)
    splits = load_data(recipe.data, recipe.preprocessing)
    shape = recipe.preprocessing.shape(splits.train.shape)
    config = recipe.teacher.model if role is Role.TEACHER else recipe.student.model
    return _traced(config.build(shape, len(splits.train.classes)), shape)


def _traced(module: nn.Module, shape: tuple[int, ...]) -> list[Layer]:
    import torch

    from limbeck.taps import layers as trace

    return trace(module, torch.zeros(1, *shape))
