"""``make scoreboard``: train what is not trained yet, in parallel one-thread processes, then write the board.

It may be stopped at any time and goes on where it was; several may run beside each other. ``MINUTES=60`` stops by
itself. A training that fails is written down with its error, and tried again by the next start.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

from benchmarks.scoreboard.board import write_board
from benchmarks.scoreboard.ledger import finished, ledger, write_down
from benchmarks.scoreboard.plan import shards
from benchmarks.scoreboard.shards import Shard, failure, work


def main(minutes: float) -> None:
    """Train until everything is there or the time is up."""
    end = time.monotonic() + 60 * minutes
    workers = int(os.environ.get("WORKERS", len(os.sched_getaffinity(0))))
    processes = get_context("forkserver")
    # imported once, not by each shard; torch would import the second when it builds an optimizer
    processes.set_forkserver_preload(["benchmarks.scoreboard.shards", "torch._dynamo"])
    running: dict[Any, tuple[BaseProcess, Shard]] = {}
    tried: set[str] = set()
    while True:
        waiting = _open(tried)
        while time.monotonic() < end and len(running) < workers and (shard := next(waiting, None)):
            tried.add(shard.key)
            process = processes.Process(target=work, args=(shard,))
            process.start()
            running[process.sentinel] = (process, shard)
        if not running:
            break
        for sentinel in wait(list(running)):
            _ended(*running.pop(sentinel))
    print(write_board())


def _open(tried: set[str]) -> Iterator[Shard]:
    """What is to be trained and was not tried by this start."""
    done = finished(ledger())
    return (shard for shard in shards(done) if shard.key not in done and shard.key not in tried)


def _ended(process: BaseProcess, shard: Shard) -> None:
    """Say what came of a training; one whose process was killed could not write that down itself."""
    process.join()
    record = ledger().get(shard.key)
    if process.exitcode and (record is None or "error" in record):
        record = failure(shard, f"the process ended with exit code {process.exitcode}")
        write_down(record)
    if record is None:
        print(f"{shard.name}: another process is at it", flush=True)
    else:
        print(f"{shard.name}: {record.get('error') or format(record['accuracy'], '.4f')}", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 1e9)
