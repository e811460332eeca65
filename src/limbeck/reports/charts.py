"""The data of the page's charts, as plain values; ``assets/charts.js`` draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from limbeck.reports.names import named
from limbeck.reports.schema import Curve, Report

_POINTS: Final = 160  # of one curve; more cannot be told apart


def charts(report: Report) -> dict[str, Any]:
    """What each chart shows, by the name of its box; a chart without data is left out."""
    found = {
        "validation": {
            "kind": "curves",
            "title": named(report.metric),
            "log": False,
            "lines": _lines(report.curves, "validation_steps", "validation"),
        },
        "loss": {
            "kind": "curves",
            "title": "Training loss",
            "log": True,
            "lines": _lines(report.curves, "steps", "losses"),
        },
        "size": _scatter(report, "Size (KB)", _sizes(report)),
        "latency": _scatter(report, "Median latency (ms)", _latencies(report)),
        "reliability": {"kind": "reliability", "lines": _reliability(report)},
    }
    return {name: chart for name, chart in found.items() if chart.get("lines") or chart.get("points")}


def _lines(curves: Sequence[Curve], steps: str, values: str) -> list[dict[str, Any]]:
    return [
        {"key": curve.model, "name": named(curve.model), "seed": curve.seed, "points": points}
        for curve in curves
        if (points := _thinned(list(zip(getattr(curve, steps), getattr(curve, values), strict=False))))
    ]


def _thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Means over equal stretches, where there are more points than can be seen."""
    stretch = -(-len(points) // _POINTS)
    if stretch <= 1:
        return points
    blocks = [points[start : start + stretch] for start in range(0, len(points), stretch)]
    return [(block[-1][0], sum(value for _, value in block) / len(block)) for block in blocks]


def _scatter(report: Report, axis: str, points: list[dict[str, Any]]) -> dict[str, Any]:
    return {"kind": "scatter", "x": axis, "y": named(report.metric), "points": points}


def _sizes(report: Report) -> list[dict[str, Any]]:
    files = [
        _point(file.model, file.format, file.bytes / 1e3, file.metrics.get(report.metric))
        for file in report.exports
    ]
    drawn = {"quantised-teacher"} if any(file.model == "teacher" for file in report.exports) else set()
    others = [
        _point(control.name, "", control.bytes / 1e3, control.metrics.get(report.metric))
        for control in report.controls
        if control.bytes and control.name not in drawn
    ]
    return [point for point in (*files, *others) if point["y"] is not None]


def _latencies(report: Report) -> list[dict[str, Any]]:
    points = [
        _point(file.model, file.format, file.efficiency.p50_ms, file.metrics.get(report.metric))
        for file in report.exports
        if file.efficiency is not None
    ]
    return [point for point in points if point["y"] is not None]


def _point(key: str, form: str, x: float, y: float | None) -> dict[str, Any]:
    return {"key": key, "name": named(key), "format": form, "x": x, "y": y}


def _reliability(report: Report) -> list[dict[str, Any]]:
    return [
        {
            "key": model,
            "name": named(model),
            "points": [(bar.confidence, bar.accuracy, bar.count) for bar in bins],
        }
        for model, bins in report.reliability.items()
        if bins
    ]


def _form(file: str) -> str:
    """A file's format, by the names that the export gives; another name stays as it is."""
    return {"model.onnx": "onnx", "model-int8.onnx": "onnx-int8"}.get(file, file)


def comparison_charts(entries: Sequence[Mapping[str, Any]], runs: Mapping[str, str]) -> dict[str, Any]:
    """The charts of several runs' files: the metric over size, and over latency.

    Args:
        entries: As :func:`limbeck.reports.write_comparison` takes them.
        runs: What readers call each run.
    """
    found = {}
    for name, axis, field, unit in (
        ("size", "Size (KB)", "bytes", 1e3),
        ("latency", "Median latency (ms)", "p50_ms", 1.0),
    ):
        points = [
            _point(runs[str(entry["run"])], _form(str(entry["file"])), entry[field] / unit, entry["metric"])
            | {"name": runs[str(entry["run"])], "front": bool(entry.get("front"))}
            for entry in entries
            if entry.get(field)
        ]
        if points:
            found[name] = {"kind": "scatter", "x": axis, "y": "Metric", "points": points, "front": True}
    return found
