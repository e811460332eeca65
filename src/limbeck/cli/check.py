"""``limbeck check``: find out what cannot work before any time is spent."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from limbeck.cli.options import Json, Overrides, RecipeFile
from limbeck.pipeline.check import findings
from limbeck.pipeline.preview import preview
from limbeck.recipe import load


def check(recipe: RecipeFile, set_: Overrides = None, json_: Json = False) -> None:
    """Measure the teacher, trace shapes, look at the data, estimate memory and time. Writes nothing."""
    found = list(findings(preview(load(recipe, overrides=tuple(set_ or ())))))
    if json_:
        typer.echo(json.dumps([asdict(finding) for finding in found], indent=2))
        return
    for finding in found:
        mark = "warning" if finding.level == "warning" else "ok"
        typer.echo(f"{mark:8}{finding.subject}: {finding.text}")
