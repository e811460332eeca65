"""What a user of the student must expect, each sentence from the report's own numbers."""

from __future__ import annotations

from typing import Final

from limbeck.reports import figures, tables
from limbeck.reports.names import judged, named
from limbeck.reports.schema import Report

_WORST: Final = 3
_MISCALIBRATED: Final = 0.05


def limits(report: Report) -> list[str]:
    """A sentence for each limit that the numbers show, the most important first."""
    found = [
        _beside(report),
        _worst_classes(report),
        _lost_classes(report),
        _spoiled(report),
        _calibration(report),
        _duplicates(report),
        _left_out(report),
        _seeds(report),
        "All numbers are from this run's test data; on data of another kind they say little.",
    ]
    return [text for text in found if text]


def _beside(report: Report) -> str | None:
    verdict = report.verdict
    if verdict is None:
        return "Whether the teacher helped is not known: the same student was not trained without it."
    if verdict.word == "beats":
        return None
    return (
        f"The student {judged(verdict.word)} the same student without a teacher "
        f"({figures.signed(verdict.difference)}): distilling is not shown to have helped."
    )


def _worst_classes(report: Report) -> str | None:
    known = sorted((row.student, row.name) for row in report.per_class if row.student is not None)[:_WORST]
    if not known:
        return None
    listed = ", ".join(f"{name} ({figures.percent(recall)})" for recall, name in known)
    return f"It is weakest on these classes (share of them that it finds): {listed}."


def _lost_classes(report: Report) -> str | None:
    falls = [
        (row.name, change) for row, change in tables.class_rows(report) if change is not None and change < 0
    ]
    if not falls:
        return None
    listed = ", ".join(f"{name} ({figures.signed(change)})" for name, change in falls[:_WORST])
    return f"Against its teacher it loses most on: {listed}."


def _spoiled(report: Report) -> str | None:
    models = tables.robust_models(report)
    if "student" not in models:
        return None
    place = models.index("student")
    rows = [
        (value, row) for row in tables.robust_rows(report)[1:-1] if (value := row.values[place]) is not None
    ]
    if not rows:
        return None
    value, row = min(rows, key=lambda pair: pair[0])
    return (
        f"Spoiled inputs hurt it: {report.metric} falls to {figures.score(value)} under "
        f"{row.name.lower()} of severity {row.severity}."
    )


def _calibration(report: Report) -> str | None:
    found = report.calibration.get("student", {}).get("ece")
    if found is None:
        return None
    advice = "; do not read its probabilities as chances" if found > _MISCALIBRATED else ""
    return f"Its confidence is off by {figures.percent(found)} on average (calibration error){advice}."


def _duplicates(report: Report) -> str | None:
    counts = report.data.get("contamination", {})
    found = {key: counts.get(key, 0) for key in ("train_test", "validation_test", "train_validation")}
    listed = ", ".join(f"{value} {named(key).lower()}" for key, value in found.items() if value)
    return f"Some samples are in more than one split: {listed}." if listed else None


def _left_out(report: Report) -> str | None:
    count = len(report.data.get("left_out", ()))
    files = f"{count:,} file{'s' if count > 1 else ''}"
    return (
        f"{files} of the data could not be read, and were left out; report.json names them."
        if count
        else None
    )


def _seeds(report: Report) -> str | None:
    count = len(report.student.seeds)
    if count > 1:
        return None
    return "One seed was trained: the intervals cover other examples, not other trainings."
