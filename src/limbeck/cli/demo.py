"""``limbeck demo``: the whole story on data that everyone can have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from limbeck.cli.options import Json, Overrides
from limbeck.cli.results import show
from limbeck.cli.watching import watch
from limbeck.pipeline.run import events, opened
from limbeck.recipe import load, preset

DEMO, SMOKE = "fashion-mnist", "digits"

Smoke = Annotated[
    bool, typer.Option("--smoke", help="scikit-learn's digits instead of Fashion-MNIST: under a minute.")
]
Folder = Annotated[Path, typer.Option(help="The run folder.")]


def demo(
    out: Folder = Path("runs/demo"), smoke: Smoke = False, set_: Overrides = None, json_: Json = False
) -> None:
    """Train a teacher, distil a student from it, train its controls, export, measure, report."""
    recipe = load(preset(SMOKE if smoke else DEMO), overrides=("name=demo", *(set_ or ())))
    watch(events(recipe, out))
    found = opened(out)
    if json_:
        typer.echo(json.dumps(found.report.model_dump(mode="json", by_alias=True), indent=2))
    else:
        show(found)
