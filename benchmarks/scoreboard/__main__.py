"""``make scoreboard``: train what is not trained yet, in parallel one-thread processes, then write the board.

It may be stopped at any time and goes on where it was. ``MINUTES=60`` stops by itself.
"""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from typing import Any

from benchmarks.scoreboard.board import tuned_choices, write_board
from benchmarks.scoreboard.shards import Shard, ledger, shards, train_shard, write_down


def main(minutes: float) -> None:
    """Train until everything is there or the time is up."""
    end = time.monotonic() + 60 * minutes
    workers = int(os.environ.get("WORKERS", len(os.sched_getaffinity(0))))
    processes = get_context("forkserver")
    processes.set_forkserver_preload(["benchmarks.scoreboard.shards"])  # imported once, not by each shard
    with ProcessPoolExecutor(workers, mp_context=processes, max_tasks_per_child=1) as pool:
        running: dict[Future[dict[str, Any]], Shard] = {}
        while True:
            done = ledger()
            waiting = _open(done, set(running.values()))
            while time.monotonic() < end and len(running) < workers and (shard := next(waiting, None)):
                running[pool.submit(train_shard, shard)] = shard
            if not running:
                break
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                shard = running.pop(future)
                record = future.result()
                write_down(record)
                name = f"{shard.pair} {shard.row} {shard.column} seed {shard.seed}"
                print(f"{name}: {record['accuracy']:.4f}", flush=True)
    print(write_board())


def _open(done: dict[str, Any], running: set[Shard]) -> Any:
    seen: set[str] = {shard.key for shard in running} | set(done)
    for shard in shards(tuned_choices(done)):
        if shard.key not in seen:
            seen.add(shard.key)
            yield shard


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 1e9)
