"""``make bench NAME=engine``: measure what is not measured yet, then write the results.

It may be stopped at any time and goes on where it was, as long as the code is the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

from benchmarks.engine import accuracy, timing
from benchmarks.engine.board import write_board
from benchmarks.engine.ledger import Ledger
from benchmarks.engine.separate import alone, loop_seconds, plan_facts, teacher_trained
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
    plan = Plan.model_validate(part("plan", lambda: alone(plan_facts)))
    part("overhead", lambda: alone(loop_seconds, plan))
    part("teacher", lambda: alone(teacher_trained))
    waiting = [one for one in accuracy.trainings(plan) if one.name not in done]
    with ProcessPoolExecutor(_SIDE_BY_SIDE, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        running = {pool.submit(accuracy.fit, one): one for one in waiting}
        for future in as_completed(running):
            name = running[future].name
            part(name, future.result)
    print(write_board(done).read_text())


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
