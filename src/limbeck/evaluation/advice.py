"""From numbers to sentences: which file to ship, and whether distilling was the right thing to do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from limbeck.evaluation.efficiency import cost_per_million
from limbeck.evaluation.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Candidate:
    """One file that could be shipped, with its measured numbers."""

    name: str
    role: Literal["teacher", "student"]
    quantised: bool
    bytes: int
    p50_ms: float
    cpu_ms: float
    quality: float
    """The main metric; higher is better."""


def advice(
    candidates: Sequence[Candidate],
    verdict: Verdict,
    *,
    training_cpu_seconds: float,
    price_per_cpu_hour: float,
    metric: str = "accuracy",
) -> list[str]:
    """What follows from the numbers of a run, a sentence each.

    Args:
        candidates: The files, among them an unquantised teacher; a quantised teacher if there is one.
        verdict: The student against the same student without a teacher; its margin is what does not matter.
        training_cpu_seconds: What the student cost to make: labelling, training all seeds, export.
        price_per_cpu_hour: In any currency.
        metric: What ``quality`` is, as readers know it.

    Returns:
        Which file for size, which for speed, what to do with the teacher, and when the work is paid back;
        only those that the candidates allow.
    """
    teacher = next((one for one in candidates if one.role == "teacher" and not one.quantised), None)
    students = [one for one in candidates if one.role == "student"]
    if teacher is None or not students:
        return []
    quantised = next((one for one in candidates if one.role == "teacher" and one.quantised), None)
    small = min(students, key=lambda one: (one.bytes, one.p50_ms))
    fast = min(students, key=lambda one: (one.p50_ms, one.bytes))
    return [
        _size(small, teacher, students, metric, verdict.margin),
        _speed(fast, teacher, students, metric, verdict.margin),
        _way(teacher, quantised, small, fast, verdict, metric),
        _break_even(teacher, fast, training_cpu_seconds, price_per_cpu_hour),
    ]


def break_even(training_cpu_seconds: float, *, teacher_cpu_ms: float, student_cpu_ms: float) -> int | None:
    """After how many requests the CPU time saved equals what training took; None where nothing is saved."""
    saved = (teacher_cpu_ms - student_cpu_ms) / 1e3
    return math.ceil(training_cpu_seconds / saved) if saved > 0 else None


def _size(
    small: Candidate, teacher: Candidate, students: Sequence[Candidate], metric: str, margin: float
) -> str:
    gain = _times(teacher.bytes, small.bytes, "smaller", "larger")
    return (
        f"For size ship {small.name}: {small.bytes / 1e3:,.1f} KB, {gain} than the teacher's "
        f"{teacher.bytes / 1e3:,.1f} KB{_price(small, students, metric, margin)}."
    )


def _speed(
    fast: Candidate, teacher: Candidate, students: Sequence[Candidate], metric: str, margin: float
) -> str:
    gain = _times(teacher.p50_ms, fast.p50_ms, "faster", "slower")
    return (
        f"For speed ship {fast.name}: {fast.p50_ms:.3g} ms a request, {gain} than the teacher's "
        f"{teacher.p50_ms:.3g} ms{_price(fast, students, metric, margin)}."
    )


def _price(chosen: Candidate, students: Sequence[Candidate], metric: str, margin: float) -> str:
    best = max(students, key=lambda one: one.quality)
    loss = best.quality - chosen.quality
    text = f", at {metric} {chosen.quality:.4f}"
    if loss <= 0:
        return text
    weight = "within" if loss <= margin else "more than"
    return f"{text}, {loss:.4f} below {best.name} ({weight} the margin of {margin:g})"


def _way(
    teacher: Candidate,
    quantised: Candidate | None,
    small: Candidate,
    fast: Candidate,
    verdict: Verdict,
    metric: str,
) -> str:
    own = _distil_or_not(verdict, metric)
    if quantised is None:
        return own
    kept = quantised.quality >= teacher.quality - verdict.margin
    if kept and quantised.bytes <= small.bytes and quantised.p50_ms <= fast.p50_ms:
        return (
            "Only quantise: the quantised teacher is no larger and no slower than any student file and "
            f"keeps {metric} {quantised.quality:.4f} (teacher {teacher.quality:.4f})."
        )
    return f"{own} {_beside_quantising(teacher, quantised, small, fast, metric)}"


def _distil_or_not(verdict: Verdict, metric: str) -> str:
    span = f"{verdict.difference:+.4f} {metric}, {verdict.low:+.4f} to {verdict.high:+.4f}"
    sentences = {
        "beats": f"Distil: the student gains from its teacher ({span}).",
        "ties": f"Neither: the same student does as well without a teacher ({span}), so train it alone.",
        "hurts": f"Neither: the same student does better without a teacher ({span}), so train it alone.",
        "open": f"Open: whether the teacher helps cannot be told yet ({span}); more seeds or examples would.",
    }
    return sentences[verdict.word]


def _beside_quantising(
    teacher: Candidate, quantised: Candidate, small: Candidate, fast: Candidate, metric: str
) -> str:
    return (
        f"Quantising the teacher alone gives {metric} {quantised.quality:.4f} "
        f"(teacher {teacher.quality:.4f}), "
        f"{_times(teacher.bytes, quantised.bytes, 'smaller', 'larger')} and "
        f"{_times(teacher.p50_ms, quantised.p50_ms, 'faster', 'slower')} than the teacher, and still "
        f"{_times(quantised.bytes, small.bytes, 'larger', 'smaller')} than {small.name} and "
        f"{_times(quantised.p50_ms, fast.p50_ms, 'slower', 'faster')} than {fast.name}."
    )


def _break_even(
    teacher: Candidate, fast: Candidate, training_cpu_seconds: float, price_per_cpu_hour: float
) -> str:
    spent = training_cpu_seconds / 3600 * price_per_cpu_hour
    effort = (
        f"{training_cpu_seconds:,.0f} CPU seconds of making the student "
        f"({spent:.3g} at {price_per_cpu_hour:g} per CPU hour)"
    )
    requests = break_even(training_cpu_seconds, teacher_cpu_ms=teacher.cpu_ms, student_cpu_ms=fast.cpu_ms)
    if requests is None:
        return (
            f"The {effort} are never paid back: {fast.name} takes as much CPU time a request as the teacher."
        )
    saved = cost_per_million(teacher.cpu_ms - fast.cpu_ms, price_per_cpu_hour)
    return f"The {effort} are paid back after {requests:,} requests; each further million saves {saved:.3g}."


def _times(larger: int | float, smaller: int | float, gain: str, loss: str) -> str:
    ratio = larger / smaller if smaller else math.inf
    if ratio >= 1:
        return f"{ratio:.3g} times {gain}"
    return f"{1 / ratio:.3g} times {loss}"
