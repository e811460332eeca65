"""`limbeck new`: a commented recipe to edit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limbeck.cli.table import table


def new(
    name: Annotated[str | None, typer.Argument(help="Which recipe; without a name they are listed.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write it; NAME.yaml if not given.")] = None,
) -> None:
    """Write a commented recipe to start from, or list those there are."""
    from limbeck.recipe.presets import PRESETS, preset, summary

    if name is None:
        typer.echo(table(("NAME", "FOR"), [(each, summary(each)) for each in PRESETS]))
        return
    path = out or Path(f"{name}.yaml")
    _write(path, preset(name))
    typer.echo(f"{path} is written. Edit it, then: limbeck check {path}")


def _write(path: Path, text: str) -> None:
    from limbeck.errors import UserError
    from limbeck.files import disk_errors

    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except (FileExistsError, IsADirectoryError) as error:
            raise UserError(
                f"{path} is there already. Remove it, or name another file with --out."
            ) from error
