"""`limbeck methods`: every method that a recipe can name, and the page of one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from limbeck.cli.table import table

if TYPE_CHECKING:
    from limbeck.methods.description import Description


def methods(
    name: Annotated[str | None, typer.Argument(help="One of them, to read all about it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with defaults and needs.")] = False,
) -> None:
    """List the methods with the paper of each, or describe one."""
    from limbeck.errors import UserError
    from limbeck.methods import METHODS, catalogue

    if name is not None and name not in METHODS:
        raise UserError(_unknown(name))
    entries = [entry for entry in catalogue() if name in (None, entry["name"])]
    if as_json:
        typer.echo(json.dumps(entries if name is None else entries[0], indent=2, ensure_ascii=False))
        return
    if name is not None:
        from limbeck.methods.description import description

        typer.echo(_page(description(name)).replace("``", "`"))
        return
    columns = ("name", "family", "summary", "paper")
    rows = [[entry[column] for column in columns] for entry in entries]
    typer.echo(table([column.upper() for column in columns], rows))


def _unknown(name: str) -> str:
    from limbeck.errors import nearest
    from limbeck.methods import METHODS

    return f"There is no method {name!r}.{nearest(name, METHODS)} `limbeck methods` lists all."


def _page(found: Description) -> str:
    """What the page in the documentation says, as plain text."""
    formulas = "\n".join(f"  {formula.words}\n    {formula.tex}" for formula in found.formulas)
    defaults = table(
        ("FIELD", "DEFAULT"), [(field, json.dumps(held)) for field, held in found.defaults.items()]
    )
    parts = (
        f"{found.name}: {found.summary}",
        found.text,
        f"Formulas of its losses\n{formulas}" if formulas else "",
        f"When it helps\n  {' '.join(found.helps.split())}",
        f"What it costs\n  {' '.join(found.costs.split())}",
        f"{found.needs} {found.state}",
        defaults,
        f"In Python: lb.{found.kind.__name__}. Family: {found.kind.family}. Paper: {found.kind.paper}",
    )
    return "\n\n".join(part for part in parts if part)
