"""`limbeck methods`: every method that a recipe can name."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from limbeck.cli.table import table


def methods(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with defaults and needs.")] = False,
) -> None:
    """List the methods, with the paper of each."""
    from limbeck.methods import catalogue

    entries = catalogue()
    if as_json:
        typer.echo(json.dumps(entries, indent=2, ensure_ascii=False))
        return
    columns = ("name", "family", "summary", "paper")
    rows = [[entry[column] for column in columns] for entry in entries]
    typer.echo(table([column.upper() for column in columns], rows))
