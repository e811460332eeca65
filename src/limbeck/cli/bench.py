"""``limbeck bench``: latency, throughput and memory of runs, side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from limbeck.cli.options import Json
from limbeck.cli.results import wide_console
from limbeck.evaluation import hardware
from limbeck.pipeline.bench import BLOCK_EXAMPLES, THREADS, Timed
from limbeck.pipeline.bench import bench as timed_files

Runs = Annotated[list[Path], typer.Argument(help="Run folders.")]
Repetitions = Annotated[int, typer.Option(min=3, help="Interleaved rounds.")]


def bench(runs: Runs, repetitions: Repetitions = 40, json_: Json = False) -> None:
    """Time the ONNX files of runs in onnxruntime, interleaved in one process. Leave the machine idle meanwhile."""
    found = list(timed_files(runs, repetitions=repetitions))
    machine = hardware()
    if json_:
        rows = [
            {"run": row.run, "file": row.path, "bytes": row.bytes, **row.efficiency.model_dump()}
            for row in found
        ]
        typer.echo(json.dumps({"hardware": machine, "threads": THREADS, "files": rows}, indent=2))
        return
    console = wide_console()
    console.print(_table(found))
    console.print(f"{machine['cpu']}, {THREADS} thread, onnxruntime {machine['versions']['onnxruntime']}")


def _table(found: list[Timed]) -> Table:
    table = Table()
    names = ("file", "KB", "p50 ms", "p95 ms", f"examples/s at {BLOCK_EXAMPLES}", "CPU ms", "peak MB")
    for name in names:
        table.add_column(name, justify="left" if name == "file" else "right")
    for row in sorted(found, key=lambda row: row.efficiency.p50_ms):
        speed = row.efficiency
        table.add_row(
            f"{row.run}/exports/{row.path}",
            f"{row.bytes / 1000:,.1f}",
            f"{speed.p50_ms:.4f}",
            f"{speed.p95_ms:.4f}",
            f"{speed.examples_per_second:,.0f}",
            f"{speed.cpu_ms:.4f}",
            f"{speed.peak_rss_mb:.0f}",
        )
    return table
