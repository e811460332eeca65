"""``make bench NAME=engine``: measure what is not measured yet, then write the results.

It may be stopped at any time and goes on where it was, as long as the code is the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

from benchmarks.engine import accuracy, overhead, timing
from benchmarks.engine.board import write_board
from benchmarks.engine.ledger import Ledger
from benchmarks.engine.ours import measured_plan
from benchmarks.engine.task import Task
from limbeck.recipe import Plan

_SIDE_BY_SIDE = 2


def main() -> None:
    """Measure and write ``results/engine.json``."""
    ledger = Ledger()
    done = ledger.parts()

    def part(name: str, measure: Callable[[], Any]) -> Any:
        if name not in done:
            print(f"{name} ...", flush=True)
            done[name] = measure()
            ledger.write_down(name, done[name])
        return done[name]

    for row in timing.rows():
        part(row.name, lambda row=row: timing.measured(row))
    plan = Plan.model_validate(part("plan", lambda: _alone(_plan)))
    part("overhead", lambda: _alone(_overhead, plan))
    part("teacher", lambda: _alone(_teacher))
    waiting = [one for one in accuracy.trainings(plan) if one.name not in done]
    with ProcessPoolExecutor(_SIDE_BY_SIDE, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        running = {pool.submit(accuracy.fit, one): one for one in waiting}
        for future in as_completed(running):
            name = running[future].name
            part(name, future.result)
    print(write_board(done).read_text())


def _alone(work: Callable[..., Any], *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def _plan() -> dict[str, Any]:
    return measured_plan(accuracy.LIMBECK, Task.fashion_mnist()).model_dump(mode="json")


def _overhead(plan: Plan) -> dict[str, list[float]]:
    return overhead.paired_seconds(
        Task.fashion_mnist(), accuracy.LIMBECK, plan,
        repetitions=overhead.REPETITIONS, block_steps=overhead.BLOCK_STEPS,
    )  # fmt: skip


def _teacher() -> str:
    accuracy.trained_teacher()
    return "trained"


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
