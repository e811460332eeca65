"""``limbeck compare``: runs side by side, and which files nothing else beats."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from limbeck.cli.options import Json
from limbeck.cli.results import wide_console
from limbeck.pipeline.compare import Entry, leaderboard
from limbeck.reports import write_comparison

Runs = Annotated[list[Path], typer.Argument(help="Run folders.")]
Page = Annotated[Path | None, typer.Option("--out", help="Also write an HTML page with the chart.")]


def compare(runs: Runs, out: Page = None, json_: Json = False) -> None:
    """A leaderboard of runs and their Pareto front in quality, size and latency."""
    found = leaderboard(runs)
    if out is not None:
        write_comparison([asdict(entry) for entry in found], out)
    if json_:
        typer.echo(json.dumps([asdict(entry) for entry in found], indent=2))
        return
    console = wide_console()
    console.print(_table(found))
    if len({entry.data for entry in found}) > 1:
        console.print(
            "warning: these runs are on different data; only equal data can be compared", style="yellow"
        )
    if out is not None:
        console.print(str(out), markup=False)


def _table(found: list[Entry]) -> Table:
    table = Table()
    for name in ("run", "file", "accuracy", "KB", "p50 ms", "retention", "verdict", "front"):
        table.add_column(
            name, justify="right" if name in ("accuracy", "KB", "p50 ms", "retention") else "left"
        )
    for entry in found:
        table.add_row(
            entry.run,
            entry.file,
            f"{entry.metric:.4f}",
            f"{entry.bytes / 1000:,.1f}",
            f"{entry.p50_ms:.4f}" if entry.p50_ms is not None else "",
            f"{entry.retention:.4f}" if entry.retention is not None else "",
            entry.verdict or "",
            "*" if entry.front else "",
        )
    return table
