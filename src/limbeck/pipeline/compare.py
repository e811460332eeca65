"""Several runs side by side: which is best, and which are not beaten in quality, size and speed at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from limbeck.errors import UserError
from limbeck.files import read_json
from limbeck.pipeline.folder import existing
from limbeck.reports import Report


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of one run."""

    run: str
    file: str
    metric: float
    bytes: int
    p50_ms: float | None
    retention: float | None
    verdict: str | None
    data: str
    """Digest of the data: only equal ones can be compared."""
    front: bool = False
    """Whether no other file is at least as good, small and fast, and better in one of them."""


def leaderboard(runs: Sequence[Path]) -> list[Entry]:
    """Every timed student file of some runs, the best first.

    Raises:
        UserError: If a folder is no finished run.
    """
    entries = [entry for run in runs for entry in _entries(run)]
    marked = [_marked(entry, entries) for entry in entries]
    return sorted(marked, key=lambda entry: (-entry.metric, entry.bytes))


def _entries(run: Path) -> list[Entry]:
    folder = existing(run)
    if not folder.report.exists():
        raise UserError(f"{run} has no report.json yet. Run its recipe to the end.")
    report = Report.model_validate(read_json(folder.report))
    return [
        Entry(
            run=str(run),
            file=Path(file.path).name,
            metric=file.metrics[report.metric],
            bytes=file.bytes,
            p50_ms=file.efficiency.p50_ms if file.efficiency else None,
            retention=report.retention.value,
            verdict=report.verdict.word if report.verdict else None,
            data=str(report.data["digest"]),
        )
        for file in report.exports
        if file.model == "student" and file.efficiency is not None
    ]


def _marked(entry: Entry, entries: Sequence[Entry]) -> Entry:
    beaten = any(_dominates(other, entry) for other in entries if other.data == entry.data)
    return replace(entry, front=not beaten)


def _dominates(other: Entry, entry: Entry) -> bool:
    ours, theirs = _merits(entry), _merits(other)
    return all(a >= b for a, b in zip(theirs, ours, strict=True)) and theirs != ours


def _merits(entry: Entry) -> tuple[float, float, float]:
    return entry.metric, -float(entry.bytes), -(entry.p50_ms or 0.0)
