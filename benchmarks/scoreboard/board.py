"""From the finished pieces to the board: a mean, an interval and a verdict for each method and pair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from benchmarks.form import write
from benchmarks.scoreboard.protocol import PAIRS, Bench, setting
from benchmarks.scoreboard.rows import CONTROLS, ROWS, TRIALS
from benchmarks.scoreboard.shards import FIRST_PAIR, SEEDS, Column, Shard, ledger, right
from limbeck.evaluation import Verdict, verdict

MARGIN: Final = 0.005
BASELINE: Final = "no-teacher"

Ledger = Mapping[str, Mapping[str, Any]]


def tuned_choices(done: Ledger) -> dict[str, int]:
    """Which trial each row chose on validation data, for the rows that tried all."""
    found = {}
    for row in ROWS:
        tried = [_record(done, row, FIRST_PAIR, "tuned" if trial else "published", trial, SEEDS[0])
                 for trial in range(len(TRIALS))]  # fmt: skip
        if all(tried):
            scores = [record["validation"] for record in tried if record]
            found[row] = scores.index(max(scores))
    return found


def write_board() -> Path:
    """Write ``results/scoreboard.json`` from whatever is done."""
    done = ledger()
    rows = [line for column in ("published", "tuned") for line in _lines(done, column)]
    bench = Bench()
    teachers = {name: round(_teacher_accuracy(bench, name), 4) for name in PAIRS}
    figures = {
        "methods_on_the_board": {
            "value": len({row["method"] for row in rows} - set(CONTROLS)),
            "unit": "methods",
            "better": "higher",
            "goal": 40,
        },
        "shares_of_planned_trainings": {
            "value": round(len(done) / _planned(), 3), "unit": "share", "better": "higher", "goal": 1,
        },
    }  # fmt: skip
    return write(
        "scoreboard",
        figures,
        command="make scoreboard",
        teachers=teachers,
        rows=rows,
        setting={pair: setting(pair) for pair in PAIRS},
    )


def _lines(done: Ledger, column: Column) -> Iterator[dict[str, Any]]:
    chosen = tuned_choices(done) if column == "tuned" else {}
    for pair in PAIRS if column == "published" else [FIRST_PAIR]:
        for row in [*CONTROLS, *ROWS] if column == "published" else chosen:
            line = _line(done, row, pair, column, chosen.get(row, 0))
            if line is not None:
                yield line


def _line(done: Ledger, row: str, pair: str, column: Column, trial: int) -> dict[str, Any] | None:
    kind: Column = column if trial else "published"
    found = {seed: _record(done, row, pair, kind, trial, seed) for seed in SEEDS}
    records = {seed: record for seed, record in found.items() if record is not None}
    base = {seed: _record(done, BASELINE, pair, "published", 0, seed) for seed in records}
    if not records or not all(base.values()):
        return None
    ours = np.stack([right(dict(record)) for record in records.values()])
    theirs = np.stack([right(dict(record)) for record in base.values() if record])
    judged = verdict(ours, theirs, margin=MARGIN)
    random = _record(done, row, pair, "random-teacher", 0, SEEDS[0])
    return {
        "method": row,
        "pair": pair,
        "column": column,
        "trial": TRIALS[trial],
        "seeds": len(records),
        "metric": round(float(ours.mean()), 4),
        **_against(judged),
        "verdict": judged.word,
        "random_teacher": random["accuracy"] if random else None,
        "seconds_per_epoch": median(record["seconds_per_epoch"] for record in records.values()),
        "peak_mb": median(record["peak_mb"] for record in records.values()),
    }


def _against(judged: Verdict) -> dict[str, Any]:
    return {
        "difference": round(judged.difference, 4),
        "low": round(judged.low, 4),
        "high": round(judged.high, 4),
        "p": judged.p,
    }


def _record(
    done: Ledger, row: str, pair: str, column: Column, trial: int, seed: int
) -> Mapping[str, Any] | None:
    return done.get(Shard(row, pair, column, trial, seed).key)


def _planned() -> int:
    everything = len(CONTROLS) + len(ROWS)
    return len(SEEDS) * len(PAIRS) * everything + len(ROWS) * (len(TRIALS) + len(SEEDS) - 1)


def _teacher_accuracy(bench: Bench, pair: str) -> float:
    module = bench.teacher(PAIRS[pair]).offer.module
    if module is None:
        raise RuntimeError(f"the teacher of {pair} has no module")
    return bench.accuracy(module)
