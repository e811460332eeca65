"""The scoreboard's work in short pieces: each is one training, written down as soon as it is done."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.form import RESULTS
from benchmarks.scoreboard.protocol import PAIRS, Bench, fit, setting
from benchmarks.scoreboard.rows import CONTROLS, ROWS, TRIALS
from limbeck.methods import Method, parse
from limbeck.types import digest

LEDGER: Final = RESULTS / "scoreboard.shards.jsonl"
SEEDS: Final = (0, 1, 2)
FIRST_PAIR: Final = next(iter(PAIRS))

Column = Literal["published", "tuned", "random-teacher"]


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
        method = self.method.model_dump(mode="json")
        facts = [method, self.pair, self.column == "random-teacher", self.seed, setting(self.pair)]
        return digest(facts)


def shards(tuned: dict[str, int]) -> Iterator[Shard]:
    """Everything there is to train, the most telling first.

    Args:
        tuned: Which trial each row chose on the first pair, for the rows that have tried all.
    """
    rows = [*CONTROLS, *ROWS]
    for seed in SEEDS:
        for pair in PAIRS:
            for row in rows:
                yield Shard(row, pair, "published", 0, seed)
                if (
                    seed == 0
                    and pair == FIRST_PAIR
                    and Shard(row, pair, "published", 0, seed).method.reads.teacher
                ):
                    yield Shard(row, pair, "random-teacher", 0, seed)
    for row in ROWS:
        for trial in range(1, len(TRIALS)):
            yield Shard(row, FIRST_PAIR, "tuned", trial, SEEDS[0])
    for row, trial in tuned.items():
        for seed in SEEDS[1:]:
            yield Shard(row, FIRST_PAIR, "tuned", trial, seed)


def train_shard(shard: Shard) -> dict[str, Any]:
    """Do one piece of the work; the record of it."""
    outcome = fit(
        Bench(), PAIRS[shard.pair], shard.method,
        seed=shard.seed, untrained=shard.column == "random-teacher",
    )  # fmt: skip
    return {
        "key": shard.key,
        "row": shard.row,
        "pair": shard.pair,
        "trial": shard.trial,
        "random_teacher": shard.column == "random-teacher",
        "seed": shard.seed,
        "validation": round(outcome.validation, 5),
        "accuracy": round(float(outcome.right.mean()), 5),
        "seconds_per_epoch": round(outcome.seconds_per_epoch, 3),
        "peak_mb": round(outcome.peak_mb, 1),
        "right": base64.b64encode(np.packbits(outcome.right).tobytes()).decode(),
    }


def ledger(path: Path = LEDGER) -> dict[str, dict[str, Any]]:
    """What is done, by key; a line that a kill cut short does not count."""
    found = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            found[record["key"]] = record
    return found


def write_down(record: dict[str, Any], path: Path = LEDGER) -> None:
    """Append one finished piece."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def right(record: dict[str, Any]) -> NDArray[np.float64]:
    """1 for each test sample that the student of a piece was right about, 0 for the others."""
    bits = np.unpackbits(np.frombuffer(base64.b64decode(record["right"]), dtype=np.uint8))
    return bits.astype(np.float64)
