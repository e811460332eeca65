"""From the finished pieces to the board: accuracy, intervals and verdicts for each method and pair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.form import write
from benchmarks.scoreboard import data_free
from benchmarks.scoreboard.columns import Row, column
from benchmarks.scoreboard.comparing import LEVEL, Results
from benchmarks.scoreboard.figures import figures
from benchmarks.scoreboard.ledger import Record, finished, ledger
from benchmarks.scoreboard.plan import Finished, shards
from benchmarks.scoreboard.protocol import EXACT, PAIRS, Bench, setting
from benchmarks.scoreboard.rows import DOES_NOT_APPLY, TRIALS
from benchmarks.scoreboard.shards import EXTRA_SEEDS, FIRST_PAIR, SEEDS, Shard
from limbeck.evaluation import retention
from limbeck.pipeline.predict import logits_of


def write_board() -> Path:
    """Write ``results/scoreboard.json`` from whatever is done."""
    bench, records = Bench(), ledger()
    begun = {record["pair"] for record in finished(records).values()}
    teachers = {name: _teacher(bench, name) for name in PAIRS if name in begun}  # none is trained for this
    return write("scoreboard", **board(records, teachers), command="make scoreboard")


def board(records: Mapping[str, Record], teachers: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
    """The board as plain data.

    Args:
        records: The ledger's.
        teachers: Whether the teacher of each pair that has a result is right about each test sample.
    """
    done = finished(records)
    rows = [*column(done, "published"), *column(done, "tuned"), *_data_free(done, teachers)]
    planned = list(shards(done))
    failed = [
        _failed(records[shard.key], shard) for shard in planned if "error" in records.get(shard.key, {})
    ]
    made = sum(shard.key in done for shard in planned)
    return {
        "figures": figures(rows, share_done=made / len(planned)),
        "teachers": {name: round(float(right.mean()), 4) for name, right in teachers.items()},
        "rows": rows,
        "failed": failed,
        "trainings": {"done": made, "planned": len(planned)},
        "setting": {
            "pairs": {pair: setting(pair) for pair in PAIRS},
            "seeds": list(SEEDS),
            "extra_seeds": list(EXTRA_SEEDS),
            "trials": list(TRIALS),
            "level": LEVEL,
            "does_not_apply": [[*place, why] for place, why in DOES_NOT_APPLY.items()],
            "data_free": data_free.setting(),
        },
    }


def _data_free(done: Finished, teachers: Mapping[str, NDArray[np.float64]]) -> Iterator[Row]:
    for pool in data_free.POOLS:
        pieces = [Shard(pool, FIRST_PAIR, "data-free", 0, seed) for seed in SEEDS]
        records = {shard.seed: done[shard.key] for shard in pieces if shard.key in done}
        if records:
            ours = Results(records)
            kept = retention(np.stack(list(ours.scores.values())), teachers[FIRST_PAIR])
            yield {
                "method": pool,
                "pair": FIRST_PAIR,
                "column": "data-free",
                "control": False,
                "reads_teacher": True,
                "uses": [data_free.METHOD.kind],
                **ours.facts(),
                "verdict": None,
                "against_no_teacher": None,
                "against_tuned_kd": None,
                "against_random_teacher": None,
                "against_best": None,
                "share_of_teacher": {"value": kept.value, "low": kept.low, "high": kept.high},
                "making_seconds": float(np.median([record["making_seconds"] for record in records.values()])),
            }


def _failed(record: Record, shard: Shard) -> dict[str, str]:
    return {"training": shard.name, "error": record["error"]}


def _teacher(bench: Bench, pair: str) -> NDArray[np.float64]:
    module = bench.teacher(PAIRS[pair]).offer.module
    if module is None:
        raise RuntimeError(f"the teacher of {pair} has no module")
    test = bench.splits.test
    answers = logits_of(module.eval(), test, bench.preprocessing, EXACT)
    return (answers.argmax(1) == test.labels).numpy().astype(np.float64)
