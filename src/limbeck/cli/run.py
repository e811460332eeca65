"""``limbeck run``: a recipe from beginning to end, or on from where it stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from limbeck.cli.options import Json, Out, Overrides, RecipeFile, folder_for
from limbeck.cli.profiling import profile_text
from limbeck.cli.results import show
from limbeck.cli.watching import watch
from limbeck.errors import GateError
from limbeck.pipeline.folder import existing
from limbeck.pipeline.run import events, opened
from limbeck.recipe import load

Until = Annotated[str | None, typer.Option(help="The last stage to run, such as label.")]
Profile = Annotated[
    bool, typer.Option("--profile", help="Say where the time of each training went, and trace a few steps.")
]


def run(
    recipe: RecipeFile,
    out: Out = None,
    set_: Overrides = None,
    until: Until = None,
    json_: Json = False,
    profile: Profile = False,
) -> None:
    """Run a recipe: teacher, answers, baseline, student, evaluation, export, report. Goes on where it stopped."""
    whole = load(recipe, overrides=tuple(set_ or ()))
    place = folder_for(whole, out)
    try:
        watch(events(whole, place, until=until, profile=profile))
    except GateError:
        _finish(place, as_json=json_)  # the run is complete: its results are worth showing
        raise
    if profile:
        typer.echo(profile_text(existing(place)), err=json_)
    if until is None:
        _finish(place, as_json=json_)
    elif json_:
        typer.echo(json.dumps(existing(place).stages(), indent=2))


def _finish(place: Path, *, as_json: bool) -> None:
    found = opened(place)
    if as_json:
        typer.echo(json.dumps(found.report.model_dump(mode="json", by_alias=True), indent=2))
    else:
        show(found)
