"""One row of the board against another: what the seeds that both have say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import median
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.scoreboard.ledger import Record, right
from benchmarks.scoreboard.plan import Finished, piece
from benchmarks.scoreboard.shards import EXTRA_SEEDS, SEEDS, Shard
from limbeck.evaluation import verdict

MARGIN: Final = 0.005
LEVEL: Final = 0.05
_DIGITS: Final = 4


@dataclass(frozen=True)
class Results:
    """What one row has reached with a pair: a training for each seed."""

    records: Mapping[int, Record]

    @cached_property
    def scores(self) -> dict[int, NDArray[np.float64]]:
        """Right or wrong for each test sample, by seed."""
        return {seed: right(record) for seed, record in self.records.items()}

    @property
    def accuracy(self) -> float:
        """Mean over the seeds."""
        return float(np.mean([rows.mean() for rows in self.scores.values()]))

    def facts(self) -> dict[str, Any]:
        """Its own accuracy, with an interval over seeds and test samples, and its cost."""
        rows = np.stack(list(self.scores.values()))
        own = verdict(rows, np.zeros((1, rows.shape[1])), margin=0.0)
        return {
            "seeds": len(rows),
            "metric": round(own.difference, _DIGITS),
            "low": round(own.low, _DIGITS),
            "high": round(own.high, _DIGITS),
            "seconds_per_epoch": median(record["seconds_per_epoch"] for record in self.records.values()),
            "peak_mb": median(record["peak_mb"] for record in self.records.values()),
        }


@dataclass(frozen=True, slots=True)
class Lead:
    """How far a row is above another, and what may be said of it."""

    difference: float
    low: float
    high: float
    verdict: str
    p: float | None
    """Of a paired t-test over seeds; absent with one seed."""
    seeds: int

    def plain(self) -> dict[str, Any]:
        """For the record."""
        return asdict(self)


def results(
    done: Finished, row: str, pair: str, trial: int = 0, *, seeds: tuple[int, ...] = (*SEEDS, *EXTRA_SEEDS)
) -> Results | None:
    """What is there of a row with a trained teacher; None where nothing is."""
    return _results(done, [piece(row, pair, trial, seed) for seed in seeds])


def results_of(done: Finished, shard: Shard) -> Results | None:
    """What is there of one training."""
    return _results(done, [shard])


def lead(ours: Results | None, theirs: Results | None) -> Lead | None:
    """Compare over the seeds that both have; None where there are none."""
    if ours is None or theirs is None:
        return None
    both = [seed for seed in ours.records if seed in theirs.records]
    if not both:
        return None
    found = verdict(
        np.stack([ours.scores[seed] for seed in both]),
        np.stack([theirs.scores[seed] for seed in both]),
        margin=MARGIN,
    )
    ends = (round(number, _DIGITS) for number in (found.difference, found.low, found.high))
    return Lead(*ends, verdict=found.word, p=found.p, seeds=len(both))


def _results(done: Finished, wanted: list[Shard]) -> Results | None:
    records = {shard.seed: done[shard.key] for shard in wanted if shard.key in done}
    return Results(records) if records else None
