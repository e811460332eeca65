"""``limbeck label``: only ask the teacher and store its answers."""

from __future__ import annotations

import json

import typer

from limbeck.cli.options import Json, Out, Overrides, RecipeFile, folder_for
from limbeck.cli.watching import watch
from limbeck.files import read_json
from limbeck.pipeline.run import events
from limbeck.recipe import load


def label(recipe: RecipeFile, out: Out = None, set_: Overrides = None, json_: Json = False) -> None:
    """Prepare the teacher, ask it about every training sample, and store what it says for all later runs."""
    whole = load(recipe, overrides=tuple(set_ or ()))
    place = folder_for(whole, out)
    watch(events(whole, place, until="label"))
    facts = read_json(place / "targets.json")
    typer.echo(
        json.dumps(facts, indent=2) if json_ else facts["path"] or "nothing is stored: teacher.view is same"
    )
