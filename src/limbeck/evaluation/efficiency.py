"""What a request costs: latency, throughput, CPU time, money and energy, all models side by side."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from limbeck.errors import DataError

Runner = Callable[[np.ndarray], object]


@dataclass(frozen=True, slots=True)
class Efficiency:
    """What one model needs on this machine."""

    p50_ms: float
    """Median wall time of a request with one example."""
    p95_ms: float
    """Wall time that 95 % of such requests stay below."""
    cpu_ms: float
    """CPU time of the whole process per such request, over all threads: the median of the rounds."""
    examples_per_second: float
    """Examples through in wall time, in blocks of ``block_examples``: the median of the rounds."""
    block_examples: int
    requests: int
    """How many single requests were timed."""


@dataclass(frozen=True, slots=True)
class Energy:
    """An amount of energy and where the number comes from."""

    value: float
    unit: str
    method: str


@dataclass(slots=True)
class _Timings:
    single: list[int] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    block: list[int] = field(default_factory=list)


def measure(
    runners: Mapping[str, Runner],
    single: np.ndarray,
    block: np.ndarray,
    *,
    repetitions: int = 40,
    calls: int = 20,
    warmup: int = 20,
    limit_seconds: float = 60.0,
) -> dict[str, Efficiency]:
    """Time all models in one process, in turns, so that whatever disturbs the machine disturbs all alike.

    A round gives every model ``calls`` single requests and one block, beginning with another model each time.
    The garbage collector rests meanwhile. Run it alone on the machine, with the runners' threads fixed.

    Args:
        runners: Models by name: an input in, anything out; must not return before the answer is there.
        single: An input with one example.
        block: An input with many, 32 by custom.
        repetitions: Rounds.
        calls: Single requests per model and round; CPU time is read once for all of them, because one may
            take less than what the clock can tell.
        warmup: Untimed single requests and, a tenth as many, blocks per model beforehand.
        limit_seconds: No further round starts after this long; at least three are made.

    Raises:
        DataError: If ``single`` does not hold one example, or ``block`` holds none.
    """
    if len(single) != 1 or not len(block):
        raise DataError(
            f"single must hold 1 example and block at least 1, got {len(single)} and {len(block)}."
        )
    timings = {name: _Timings() for name in runners}
    names = list(runners)
    with _no_collection():
        for run in runners.values():
            _warm_up(run, single, block, warmup)
        end = time.perf_counter() + limit_seconds
        for number in range(repetitions):
            if number >= 3 and time.perf_counter() > end:
                break
            first = number % max(1, len(names))
            for name in names[first:] + names[:first]:
                _round(runners[name], single, block, calls, timings[name])
    return {name: _summary(timing, len(block)) for name, timing in timings.items()}


def cost_per_million(cpu_ms: float, price_per_cpu_hour: float) -> float:
    """What the CPU time of a million requests costs, in the currency of the price."""
    return cpu_ms * 1e6 / 1e3 / 3600 * price_per_cpu_hour


def energy_per_million(cpu_ms: float, watts_per_core: float) -> Energy:
    """The energy of a million requests, estimated from their CPU time; the answer says so."""
    return Energy(
        value=cpu_ms * 1e6 / 1e3 * watts_per_core / 3.6e6,
        unit="kWh",
        method=(
            f"estimated: CPU seconds \N{MULTIPLICATION SIGN} {watts_per_core:g} W per core (configured), "
            "not measured"
        ),
    )


def _round(run: Runner, single: np.ndarray, block: np.ndarray, calls: int, timings: _Timings) -> None:
    run(single)  # after another model, caches are cold; a server that serves one model has them warm
    clock = time.perf_counter_ns
    marks = [0] * (calls + 1)
    cpu = time.process_time_ns()
    marks[0] = clock()
    for call in range(calls):
        run(single)
        marks[call + 1] = clock()
    timings.cpu.append((time.process_time_ns() - cpu) / calls)
    timings.single.extend(after - before for before, after in pairwise(marks))
    run(block)
    start = clock()
    run(block)
    timings.block.append(clock() - start)


def _warm_up(run: Runner, single: np.ndarray, block: np.ndarray, requests: int) -> None:
    for _ in range(requests):
        run(single)
    for _ in range(requests // 10):
        run(block)


def _summary(timings: _Timings, block_examples: int) -> Efficiency:
    p50, p95 = np.percentile(timings.single, [50, 95]) / 1e6
    return Efficiency(
        p50_ms=float(p50),
        p95_ms=float(p95),
        cpu_ms=float(np.median(timings.cpu)) / 1e6,
        examples_per_second=block_examples / float(np.median(timings.block)) * 1e9,
        block_examples=block_examples,
        requests=len(timings.single),
    )


@contextmanager
def _no_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
