"""The run's result in plain words; every number comes from the report."""

from __future__ import annotations

from collections.abc import Sequence

from limbeck.evaluation import Verdict as Judgement
from limbeck.reports import (
    AssistantResult,
    Control,
    Estimate,
    ExportResult,
    ModelResult,
    Retention,
    TeacherResult,
    Verdict,
)

_WORDS = {
    "beats": "beats",
    "ties": "ties with",
    "hurts": "is worse than",
    "open": "cannot be told apart from",
}
_NAMES = {
    "no-teacher": "the same student without a teacher",
    "pseudo-labels": "hard pseudo-labels",
    "supervised": "the same student supervised on all labels",
    "direct": "the same student distilled from the teacher itself",
    "quantised-teacher": "the merely quantised teacher",
    "linear": "a linear model",
}


def verdict_line(found: Judgement, controls: Sequence[Control], margin: float) -> str:
    """The verdict against the baseline, and against the strongest control."""
    line = (
        f"The student {_WORDS[found.word]} {_NAMES['no-teacher']}: {found.difference:+.4f} "
        f"({found.low:+.4f} to {found.high:+.4f}; margin {margin:g})."
    )
    if not controls:
        return line
    strongest = max(controls, key=lambda control: control.metrics["accuracy"])
    return (
        f"{line} The strongest control is {_NAMES[strongest.name]} with "
        f"{strongest.metrics['accuracy']:.4f}: the student {_WORDS[strongest.word]} it "
        f"({strongest.difference:+.4f}, {strongest.low:+.4f} to {strongest.high:+.4f})."
    )


def summary(
    teacher: TeacherResult,
    assistants: Sequence[AssistantResult],
    student: ModelResult,
    baseline: ModelResult | None,
    retention: Retention,
    gap: Estimate,
    verdict: Verdict | None,
    exports: Sequence[ExportResult],
) -> str:
    """One paragraph."""
    seeds = len(student.seeds)
    parts = [
        f"The student has {student.parameters:,} parameters, {teacher.parameters / student.parameters:.1f} times "
        f"fewer than the teacher, and reaches {student.metrics['accuracy']:.4f} where the teacher reaches "
        f"{teacher.metrics['accuracy']:.4f} (mean of {seeds} seed{'s' if seeds > 1 else ''})."
    ]
    if assistants:
        parts.append(_between(assistants))
    if retention.value is not None:
        parts.append(f"It keeps {_percent(retention)} of the teacher's accuracy.")
    if baseline is not None and gap.value is not None:
        parts.append(
            f"Without the teacher it reaches {baseline.metrics['accuracy']:.4f}; {_percent(gap)} of what there was "
            "to gain is gained."
        )
    if teacher.labels:
        parts.append(f"The teacher saw {teacher.labels:,} labels.")
    if verdict is not None:
        parts.append(verdict.line)
    smallest = min(
        (file for file in exports if file.model == "student"), key=lambda file: file.bytes, default=None
    )
    whole = next((file for file in exports if file.model == "teacher" and file.precision == "fp32"), None)
    if smallest is not None and whole is not None:
        parts.append(
            f"The smallest file takes {smallest.bytes / 1000:.1f} KB, {whole.bytes / smallest.bytes:.1f} times less."
        )
    return " ".join(parts)


def _between(assistants: Sequence[AssistantResult]) -> str:
    each = ", ".join(
        f"{one.name} ({one.parameters:,} parameters, {one.metrics['accuracy']:.4f})" for one in assistants
    )
    return f"It learned from the teacher by way of {each}."


def _percent(found: Estimate) -> str:
    if found.value is None or found.low is None or found.high is None:
        return "an unknown share"
    return f"{found.value:.1%} ({found.low:.1%} to {found.high:.1%})"
