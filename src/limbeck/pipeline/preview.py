"""A run that is only looked at: nothing is written."""

from __future__ import annotations

from pathlib import Path

from limbeck.pipeline.context import Context
from limbeck.pipeline.folder import RunFolder
from limbeck.recipe import Recipe


def preview(recipe: Recipe) -> Context:
    """The context of a recipe without a run folder."""
    context = Context(recipe, RunFolder(Path("runs") / recipe.name))
    context.refuse_early()
    context.resolve()
    return context
