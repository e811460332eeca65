"""Figures in pages: rendered from the result files in the repository, never typed by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from blocks import table

from limbeck.reports.schema import Control, ModelResult, Report, TeacherResult

Figures = Mapping[str, Any]

DEMO = "demo.json"
_SPECIAL = (DEMO, "scoreboard.json")
_NAMES = {
    "no-teacher": "the same student without a teacher",
    "pseudo-labels": "the same student on hard pseudo-labels",
    "supervised": "the same student supervised on all labels",
    "quantised-teacher": "the merely quantised teacher",
    "linear": "a linear model",
}
_NO_DEMO = (
    "No demo run is committed yet. To make the figures: `make demo`, copy `runs/demo/report.json` to "
    "`benchmarks/results/demo.json`, and run `python docs/generate.py`."
)


def demo_figures(results: Path) -> str:
    """What the committed demo run found; a line that says how to make it where there is none."""
    file = results / DEMO
    return of_report(_report(file)) if file.exists() else _NO_DEMO


def benchmarks(results: Path) -> str:
    """Every benchmark's figures, a section each."""
    files = sorted(path for path in results.glob("*.json") if path.name not in _SPECIAL)
    if not files:
        return "No benchmark is committed yet. `make bench NAME=stored_epoch` writes the first."
    return "\n\n".join(_benchmark(path) for path in files)


def of_report(found: Report) -> str:
    """One run's numbers: the models, the verdict, the files."""
    parts = [
        table(("", "parameters", "labels", found.metric, "student's lead"), _models(found)),
        found.verdict.line if found.verdict else "There is no baseline, so there is no verdict.",
        "\n".join(f"- {line}" for line in _lines(found)),
        _files(found),
        _origin(found),
    ]
    return "\n\n".join(part for part in parts if part)


def _report(file: Path) -> Report:
    return Report.model_validate_json(file.read_text(encoding="utf-8"))


def _models(found: Report) -> Iterator[tuple[str, ...]]:
    labels = f"{found.teacher.labels:,}" if found.teacher.labels else "not known"
    yield _row("teacher", found.teacher, labels, found)
    yield _row("**student**", found.student, f"{found.data['labelled']:,}", found)
    for control in found.controls:
        parameters = f"{control.parameters:,}" if control.parameters else ""
        score = f"{control.metrics[found.metric]:.4f}"
        yield _NAMES.get(control.name, control.name), parameters, control.labels, score, _lead(control)


def _row(name: str, model: TeacherResult | ModelResult, labels: str, found: Report) -> tuple[str, ...]:
    return name, f"{model.parameters:,}", labels, f"{model.metrics[found.metric]:.4f}", ""


def _lead(control: Control) -> str:
    return f"{control.difference:+.4f} ({control.low:+.4f} to {control.high:+.4f}): {control.word}"


def _lines(found: Report) -> Iterator[str]:
    for name, estimate in (("Retention", found.retention), ("Gap recovered", found.gap)):
        if estimate.value is not None and estimate.low is not None and estimate.high is not None:
            yield f"{name}: {estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})."
        else:
            yield f"{name}: none, because {estimate.reason}."
    yield f"Parameters: {found.ratios['parameters']:.1f} times fewer than the teacher's."
    if fastest := found.ratios.get("latency_fastest"):
        yield f"Fastest file at batch 1: {fastest:.1f} times faster than the teacher's fp32."
    yield f"Wall time of the whole run: {found.seconds['total'] / 60:.1f} minutes."


def _files(found: Report) -> str:
    rows = []
    for file in found.exports:
        speed = file.efficiency
        times = (f"{speed.p50_ms:.4f}", f"{speed.examples_per_second:,.0f}") if speed else ("", "")
        score = f"{file.metrics[found.metric]:.4f}" if found.metric in file.metrics else ""
        rows.append((f"`{file.path}`", f"{file.bytes / 1000:,.1f}", score, f"{file.agreement:.4f}", *times))
    columns = ("file", "KB", found.metric, "agreement with its model", "p50 ms", "examples/s")
    return table(columns, rows) if rows else ""


def _origin(found: Report) -> str:
    machine = found.provenance.get("hardware", {})
    commit = str(found.provenance.get("commit") or "unknown")[:12]
    count = len(found.student.seeds)
    seeds = f"{count} seed{'s' if count > 1 else ''}"
    cpu = f"{machine.get('cpu', 'An unnamed processor')}, {machine.get('cores', '?')} cores"
    return (
        f"Mean of {seeds} on {found.data['test']:,} test samples; intervals are 95 %. {cpu}; the files were "
        f"timed on one thread. Commit {commit}."
    )


def _benchmark(path: Path) -> str:
    plain = json.loads(path.read_text(encoding="utf-8"))
    if str(plain.get("schema", "")).startswith("limbeck.report/"):
        return f"## {path.stem}\n\n{of_report(Report.model_validate(plain))}"
    tables = (
        f"**{part['title']}**\n\n{table(part['columns'], part['rows'])}" for part in plain.get("tables", [])
    )
    notes = (f"- {note}" for note in plain.get("notes", []))
    return "\n\n".join(
        [f"## {plain['name']}", figure_table(plain["figures"]), *tables, *notes, origin(plain)]
    )


def figure_table(found: Mapping[str, Figures]) -> str:
    """A benchmark's figures, each with its goal."""
    columns = ("figure", "value", "low", "high", "unit", "better", "goal", "reached")
    return table(columns, [_figure(name, figure) for name, figure in found.items()])


def origin(plain: Figures) -> str:
    """Where a benchmark's figures come from."""
    made = f"`{plain['command']}`, commit {str(plain['commit'])[:12]}, {plain['date']}"
    return f"{made}. {_pairs(plain['hardware'])}; {_pairs(plain['versions'])}."


def _figure(name: str, figure: Figures) -> tuple[str, ...]:
    goal, better = figure.get("goal"), figure.get("better", "")
    reached = "" if goal is None else _reached(figure, goal, better)
    numbers = (figure["value"], figure.get("low"), figure.get("high"))
    shown = ("" if number is None else f"{number:.4g}" for number in numbers)
    return f"`{name}`", *shown, figure.get("unit", ""), better, "" if goal is None else f"{goal:g}", reached


def _reached(figure: Figures, goal: float, better: str) -> str:
    value = figure["value"]
    reached = figure.get("reached", value >= goal if better == "higher" else value <= goal)
    return ("yes" if reached else "no") + (f" ({figure['rule']})" if "rule" in figure else "")


def _pairs(plain: Figures) -> str:
    flat = ((name, held) for name, held in plain.items() if not isinstance(held, (dict, list)))
    return ", ".join(f"{name} {held}" for name, held in flat)
