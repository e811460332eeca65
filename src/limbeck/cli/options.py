"""Options that several verbs share, and what they mean."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limbeck.recipe import Recipe

RecipeFile = Annotated[Path, typer.Argument(help="A recipe in YAML; `limbeck new` writes one to start from.")]
Out = Annotated[
    Path | None, typer.Option(help="The run folder. By default runs/NAME, with the recipe's name.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=VALUE", help="Change one value of the recipe; repeatable."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


def folder_for(recipe: Recipe, out: Path | None) -> Path:
    """Where a recipe runs."""
    return out if out is not None else Path("runs") / recipe.name
