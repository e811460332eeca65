"""The rows of the page's tables, from the report: what to show, in which order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from limbeck.reports import figures
from limbeck.reports.names import LOWER_IS_BETTER, named
from limbeck.reports.schema import ClassResult, ExportResult, ModelResult, Report, TeacherResult
from limbeck.reports.tracks import Scale as Scale
from limbeck.reports.tracks import padded as padded
from limbeck.reports.tracks import scale as scale

_WEIGHTS: Final = "bytes_safetensors"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: what it is about, a text a column, and what to know of it."""

    name: str
    cells: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Side:
    """A column of the comparison of teacher, student and baseline."""

    key: str
    role: str
    score: str
    model: TeacherResult | ModelResult


def sides(report: Report) -> list[Side]:
    """Teacher, student and, where there is one, baseline."""
    found: list[tuple[str, TeacherResult | ModelResult]] = [
        ("teacher", report.teacher),
        ("student", report.student),
    ]
    if report.baseline is not None:
        found.append(("baseline", report.baseline))
    return [
        Side(key, named(key), figures.score(model.metrics.get(report.metric)), model) for key, model in found
    ]


def side_rows(report: Report) -> list[Row]:
    """What is compared of them, below the main metric."""
    models = [side.model for side in sides(report)]
    rows = [
        Row(
            named(name),
            tuple(figures.score(model.metrics.get(name)) for model in models),
            "lower is better" if name in LOWER_IS_BETTER else "",
        )
        for name in report.student.metrics
        if name != report.metric
    ]
    return [
        *rows,
        Row("Parameters", tuple(figures.count(model.parameters) for model in models)),
        Row("Weights in fp32", tuple(figures.size(model.bytes) for model in models)),
        Row("Training labels", tuple(_labels(report, model) for model in models)),
        Row("Seeds", tuple(_seeds(report, model) for model in models), f"test {report.metric} of each"),
    ]


def _labels(report: Report, model: TeacherResult | ModelResult) -> str:
    if isinstance(model, TeacherResult):
        return figures.count(model.labels) if model.labels else "came trained"
    return figures.plain(report.data.get("labelled"))


def _seeds(report: Report, model: TeacherResult | ModelResult) -> str:
    if isinstance(model, TeacherResult):
        return figures.NONE
    return ", ".join(figures.score(seed.metrics.get(report.metric)) for seed in model.seeds)


def control_scale(report: Report) -> Scale:
    """The line on which the differences from the controls are drawn."""
    margin = report.verdict.margin if report.verdict else 0.0
    ends = [end for control in report.controls for end in (control.low, control.high)]
    return padded([*ends, margin, -margin])


def class_rows(report: Report) -> list[tuple[ClassResult, float | None]]:
    """Each class and how its recall changed from teacher to student, the greatest loss first."""
    rows = [(row, _change(row)) for row in report.per_class]
    return sorted(rows, key=lambda pair: (pair[1] is None, pair[1] or 0.0))


def class_scale(report: Report) -> Scale:
    """The line on which recalls are drawn."""
    return scale(
        [value for row in report.per_class for value in (row.teacher, row.student, row.baseline)], step=0.1
    )


def _change(row: ClassResult) -> float | None:
    if row.teacher is None or row.student is None:
        return None
    return row.student - row.teacher


@dataclass(frozen=True, slots=True)
class Spoiled:
    """One corruption at one severity: the main metric of each model, and what is kept of the teacher's."""

    name: str
    severity: int | None
    values: tuple[float | None, ...]
    kept: float | None


def robust_models(report: Report) -> list[str]:
    """The models whose robustness was measured."""
    return [
        name for name in ("teacher", "student", "baseline") if isinstance(report.robustness.get(name), dict)
    ]


def robust_rows(report: Report) -> list[Spoiled]:
    """Clean, every corruption at every severity, and their mean."""
    tables = [report.robustness[name] for name in robust_models(report)]
    if not tables:
        return []
    kinds = tables[0].get("corrupted", {})
    rows = [_spoiled("Clean", None, [table.get("clean") for table in tables])]
    for kind, values in kinds.items():
        for place in range(len(values)):
            found = [_at(table.get("corrupted", {}).get(kind, ()), place) for table in tables]
            rows.append(_spoiled(named(kind), place + 1, found))
    return [*rows, _spoiled("Mean", None, [table.get("mean") for table in tables])]


def _at(values: Sequence[float], place: int) -> float | None:
    return values[place] if place < len(values) else None


def _spoiled(name: str, severity: int | None, values: Sequence[float | None]) -> Spoiled:
    teacher, student = (values[0], values[1]) if len(values) > 1 else (None, None)
    return Spoiled(
        name, severity, tuple(values), student / teacher if teacher and student is not None else None
    )


@dataclass(frozen=True, slots=True)
class Shipped:
    """A file, and what it is the one to ship for."""

    file: ExportResult
    marks: tuple[str, ...]


def export_rows(report: Report) -> list[Shipped]:
    """The student's files, then the teacher's, with what each should be shipped for."""
    small, fast = for_size(report.exports), for_speed(report.exports)
    rows = []
    for file in sorted(report.exports, key=lambda file: file.model != "student"):
        marks = [word for word, chosen in (("size", small), ("speed", fast)) if file is chosen]
        rows.append(Shipped(file, tuple(marks)))
    return rows


def for_size(files: Iterable[ExportResult]) -> ExportResult | None:
    """The smallest of the student's files that were timed."""
    timed = [(file.bytes, file.efficiency.p50_ms, file) for file in _timed(files) if file.efficiency]
    return min(timed, key=lambda entry: entry[:2])[2] if timed else None


def for_speed(files: Iterable[ExportResult]) -> ExportResult | None:
    """The fastest of the student's files at one example a request."""
    timed = [(file.efficiency.p50_ms, file.bytes, file) for file in _timed(files) if file.efficiency]
    return min(timed, key=lambda entry: entry[:2])[2] if timed else None


def _timed(files: Iterable[ExportResult]) -> list[ExportResult]:
    return [file for file in files if file.model == "student" and file.efficiency is not None]


def timing_rows(report: Report) -> list[tuple[str, float, str]]:
    """Each stage, its seconds, and its share of the longest one in percent; the total last."""
    stages = {name: value for name, value in report.seconds.items() if name != "total"}
    longest = max(stages.values(), default=0.0) or 1.0
    return [(named(name), value, f"{100 * value / longest:.1f}") for name, value in stages.items()]


def method_lines(report: Report) -> list[tuple[str, str]]:
    """Each setting of the method."""
    return [line for term in report.method for line in flattened(term)]


def flattened(value: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """A nested mapping as lines of a dotted name and a text."""
    lines: list[tuple[str, str]] = []
    for key, entry in value.items():
        name = f"{above}.{key}" if above else str(key)
        if isinstance(entry, Mapping) and entry:
            lines += flattened(entry, name)
        else:
            lines.append((name, _verbatim(entry)))
    return lines


def _verbatim(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_verbatim(entry) for entry in value) or figures.NONE
    if isinstance(value, bool) or not isinstance(value, int | float):
        return figures.plain(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def highlights(report: Report) -> list[tuple[str, str]]:
    """How many times smaller and faster the student is, at best, and in what.

    Files of weights alone do not count: the teacher's file that they would be compared with can be run.
    """
    ratios = report.ratios
    files = [value for name, value in ratios.items() if name.startswith("bytes_") and name != _WEIGHTS]
    smallest = max(files, default=None)
    found = [
        (ratios.get("parameters"), "fewer parameters"),
        (smallest, "smaller file"),
        (ratios.get("latency_fastest"), "faster per request"),
    ]
    return [(figures.times(value), text) for value, text in found if value is not None]
