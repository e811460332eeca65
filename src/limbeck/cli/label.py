"""``limbeck label``: only ask the teacher and store its answers."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from limbeck.cli.options import Json, Out, Overrides, RecipeFile, folder_for
from limbeck.cli.watching import watch
from limbeck.files import read_json
from limbeck.pipeline.run import events
from limbeck.recipe import load


def label(
    recipe: RecipeFile,
    out: Out = None,
    set_: Overrides = None,
    processes: Annotated[
        int, typer.Option(min=1, help="How many processes ask at once, each in one thread if several.")
    ] = 1,
    json_: Json = False,
) -> None:
    """Prepare the teacher, ask it about every training sample, and store what it says for all later runs."""
    whole = load(recipe, overrides=tuple(set_ or ()))
    place = folder_for(whole, out)
    watch(events(whole, place, until="label", processes=processes))
    facts = read_json(place / "targets.json")
    typer.echo(
        json.dumps(facts, indent=2) if json_ else facts["path"] or "nothing is stored: teacher.view is same"
    )
