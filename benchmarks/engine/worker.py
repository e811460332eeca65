"""The process of an arm: it waits for orders, and says how much time each took."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import psutil

from benchmarks.engine.task import Arm

_IDLE_SECONDS: Final = 0.1
_PATIENCE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Spent:
    """What some work took."""

    cpu_seconds: float
    """Of the arm's process and of those that prepare its samples."""
    wall_seconds: float
    count: int
    """Steps."""


class Worker:
    """An arm in a process of its own, which does nothing while another is measured.

    Args:
        arm: What it does.
    """

    def __init__(self, arm: Arm) -> None:
        self.arm = arm
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, arm), daemon=False)
        self._process.start()
        theirs.close()

    def wait(self) -> None:
        """Until it is ready."""
        self._answer()

    def steps(self, count: int) -> Spent:
        """Train for some steps."""
        return self._ask("steps", count)

    def label(self) -> Any:
        """Do the arm's labelling piece, a :class:`~benchmarks.engine.ours.Labelling`; nothing where it has none."""
        return self._ask("label", 0)

    def forward_seconds(self) -> dict[str, float]:
        """Of student and teacher."""
        return self._ask("forward", 0)

    def close(self) -> dict[str, Any]:
        """End the process; its facts, and the peak of its memory in MB: all, and above what its imports take."""
        facts: dict[str, Any] = self._ask("close", 0)
        self._process.join()
        return facts

    def abandon(self) -> None:
        """End the process if it has not ended, whatever it does."""
        if self._process.is_alive():
            self._process.terminate()

    def _ask(self, order: str, count: int) -> Any:
        self._connection.send((order, count))
        return self._answer()

    def _answer(self) -> Any:
        try:
            kind, value = self._connection.recv()
        except EOFError as error:
            raise RuntimeError(f"the process of {self.arm.name} ended; see its message above") from error
        if kind == "error":
            raise RuntimeError(f"the arm {self.arm.name} failed:\n{value}")
        return value


def _serve(connection: Connection, arm: Arm) -> None:
    try:
        _work(connection, arm)
    except Exception:  # the arm's own failure, whatever it is, belongs to whoever waits for its answer
        connection.send(("error", traceback.format_exc()))


def _work(connection: Connection, arm: Arm) -> None:
    import torch

    from benchmarks.engine.runners import RUNNERS
    from benchmarks.engine.task import Task

    torch.set_num_threads(1)
    before = psutil.Process().memory_info().rss
    with TemporaryDirectory() as home:
        runner = RUNNERS[arm.framework](arm, Task.fashion_mnist(), Path(home))
        connection.send(("ready", None))
        while True:
            order, count = connection.recv()
            if order == "close":
                peak = _peak_bytes()
                memory = {"peak_mb": peak / 1e6, "peak_above_imports_mb": (peak - before) / 1e6}
                connection.send(("facts", {"facts": runner.facts, **memory}))
                return
            if order == "forward":
                connection.send(("seconds", runner.forward_seconds()))
                continue
            if order == "label":
                connection.send(("labelling", runner.label()))
                continue
            connection.send(("spent", _timed(lambda n=count: runner.steps(n), count)))


def _timed(work: Callable[[], None], count: int) -> Spent:
    """Time a piece of work; helpers that prepare samples ahead are idle before it and are waited for after it.

    The wall time ends with the work itself. What the helpers then still do, to be as far ahead as they were before,
    counts as CPU time.
    """
    helpers = psutil.Process().children(recursive=True)
    ahead = _settled(helpers)
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Spent(cpu + _settled(helpers) - ahead, wall, count)


def _settled(helpers: list[psutil.Process]) -> float:
    """CPU seconds of the helpers, once they do nothing."""
    if not helpers:
        return 0.0
    spent, end = _cpu_seconds(helpers), time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < end:
        time.sleep(_IDLE_SECONDS)
        now = _cpu_seconds(helpers)
        if now == spent:
            break
        spent = now
    return spent


def _cpu_seconds(processes: list[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes]
    return sum(one.user + one.system for one in times)


def _peak_bytes() -> int:
    """The largest the process ever was, and what its helpers take that is theirs alone."""
    import resource

    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return own + sum(child.memory_full_info().uss for child in psutil.Process().children(recursive=True))
