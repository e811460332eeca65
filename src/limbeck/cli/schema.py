"""`limbeck schema`: what a recipe may hold, for editors and other programs."""

from __future__ import annotations

import json

import typer


def schema() -> None:
    """Print the JSON Schema of a recipe."""
    from limbeck.recipe import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
