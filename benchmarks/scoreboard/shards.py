"""The scoreboard's work in short pieces: each is one training, written down as soon as it is done."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from benchmarks.scoreboard import data_free
from benchmarks.scoreboard.ledger import LEDGER, Record, claimed, finished, ledger, packed, write_down
from benchmarks.scoreboard.protocol import PAIRS, Bench, fit, setting
from benchmarks.scoreboard.rows import CONTROLS, ROWS, TRIALS
from limbeck.methods import Method, parse
from limbeck.types import digest

SEEDS: Final = (0, 1, 2)
EXTRA_SEEDS: Final = (3, 4)
"""For the rows that are ahead of the tuned KD."""
FIRST_PAIR: Final = next(iter(PAIRS))

Column = Literal["published", "tuned", "random-teacher", "data-free"]


@dataclass(frozen=True, slots=True)
class Shard:
    """One training."""

    row: str
    pair: str
    column: Column
    trial: int
    """Which of the tuning choices; 0 is the published one."""
    seed: int

    @property
    def method(self) -> Method:
        """What is trained: the row's method, with the trial's multiple of its distillation terms."""
        if self.column == "data-free":
            return data_free.METHOD
        plain = {**CONTROLS, **ROWS}[self.row]
        factor = TRIALS[self.trial]
        scaled = {
            name: fields if name == "ce" else {**fields, "weight": fields.get("weight", 1.0) * factor}
            for name, fields in plain.items()
        }
        return parse(scaled)

    @property
    def key(self) -> str:
        """Changes with whatever changes the result."""
        return _key(self)

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.pair} {self.row} {self.column} x{TRIALS[self.trial]:g} seed {self.seed}"


@cache
def _key(shard: Shard) -> str:
    method = shard.method.model_dump(mode="json")
    if shard.column == "data-free":
        made = data_free.setting()[shard.row]
        return digest([method, shard.pair, shard.column, made, shard.seed, setting(shard.pair)])
    return digest([method, shard.pair, shard.column == "random-teacher", shard.seed, setting(shard.pair)])


def work(shard: Shard, path: Path = LEDGER) -> Record | None:
    """Do one piece of the work and write it down, also when it fails.

    Returns:
        What was written; None where another process is at it, or has done it.
    """
    with claimed(shard.key) as mine:
        if not mine or shard.key in finished(ledger(path)):
            return None
        record = _attempt(shard)
        write_down(record, path)
        return record


def train_shard(shard: Shard) -> Record:
    """Train one piece; the record of it."""
    bench, pair = Bench(), PAIRS[shard.pair]
    facts: dict[str, Any] = {}
    if shard.column == "data-free":
        outcome, facts["making_seconds"] = data_free.fit(bench, pair, shard.row, seed=shard.seed)
    else:
        outcome = fit(bench, pair, shard.method, seed=shard.seed, untrained=shard.column == "random-teacher")
    return {
        **_facts(shard),
        "validation": round(outcome.validation, 5),
        "accuracy": round(float(outcome.right.mean()), 5),
        "seconds_per_epoch": round(outcome.seconds_per_epoch, 3),
        "peak_mb": round(outcome.peak_mb, 1),
        **facts,
        "right": packed(outcome.right),
    }


def failure(shard: Shard, error: str) -> Record:
    """The record of a piece that has no result."""
    return {**_facts(shard), "error": error}


def _attempt(shard: Shard) -> Record:
    try:
        return train_shard(shard)
    except Exception as error:  # the board goes on with the others, and shows this one as failed
        traceback.print_exc()
        return failure(shard, f"{type(error).__name__}: {error}")


def _facts(shard: Shard) -> dict[str, Any]:
    return {
        "key": shard.key,
        "row": shard.row,
        "pair": shard.pair,
        "trial": shard.trial,
        "random_teacher": shard.column == "random-teacher",
        "data_free": shard.column == "data-free",
        "seed": shard.seed,
    }
