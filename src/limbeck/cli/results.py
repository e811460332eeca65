"""A run's result as a short table."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from limbeck.pipeline.run import Run
from limbeck.reports import Report

_PLAIN_COLUMNS = 160


def show(run: Run) -> None:
    """Print teacher, student, baseline, controls and files, the verdict, and where the page lies."""
    report = run.report
    console = wide_console()
    console.print(_models(report))
    if report.exports:
        console.print(_files(report))
    console.print(report.summary, markup=False)
    for sentence in report.advice:
        console.print(f"- {sentence}", markup=False)
    for sentence in report.warnings:
        console.print(f"warning: {sentence}", style="yellow", markup=False)
    console.print(str(run.folder.page), markup=False)


def wide_console() -> Console:
    """Standard output; where it is no terminal, wide enough for any table."""
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _PLAIN_COLUMNS
    return console


def _models(report: Report) -> Table:
    table = Table(title=f"{report.name}: {report.metric} on {report.data['test']:,} test samples")
    for name in ("model", "parameters", report.metric, "student's lead", "verdict"):
        table.add_column(name, justify="left" if name in ("model", "verdict") else "right")
    table.add_row(
        "teacher", f"{report.teacher.parameters:,}", _number(report.teacher.metrics[report.metric]), "", ""
    )
    table.add_row(
        "student", f"{report.student.parameters:,}", _number(report.student.metrics[report.metric]), "", ""
    )
    for control in report.controls:
        parameters = f"{control.parameters:,}" if control.parameters else ""
        lead = f"{control.difference:+.4f} ({control.low:+.4f} to {control.high:+.4f})"
        table.add_row(control.name, parameters, _number(control.metrics[report.metric]), lead, control.word)
    return table


def _files(report: Report) -> Table:
    table = Table(title="files")
    for name in ("file", "KB", report.metric, "agreement", "p50 ms", "p95 ms", "examples/s", "CPU ms"):
        table.add_column(name, justify="left" if name == "file" else "right")
    for file in report.exports:
        speed = file.efficiency
        timed = (
            (
                f"{speed.p50_ms:.4f}",
                f"{speed.p95_ms:.4f}",
                f"{speed.examples_per_second:,.0f}",
                f"{speed.cpu_ms:.4f}",
            )
            if speed
            else ("", "", "", "")
        )
        size = f"{file.bytes / 1000:,.1f}"
        table.add_row(file.path, size, _number(file.metrics[report.metric]), f"{file.agreement:.4f}", *timed)
    return table


def _number(value: float) -> str:
    return f"{value:.4f}"
