"""Rows of the benchmark: arms beside each other, a short piece of each in turn, in another order each time."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from multiprocessing import get_context
from statistics import median
from typing import Any, Final

from benchmarks.engine.ours import Labelling, measured_plan
from benchmarks.engine.task import BATCH_EXAMPLES, EPOCH_EXAMPLES, EPOCHS, FIXED_VIEWS, PLAIN, Arm, Task
from benchmarks.engine.teachers import trained_weights
from benchmarks.engine.worker import Spent, Worker
from limbeck.recipe import Execution, Plan

REPETITIONS: Final = 7
PIECE_SECONDS: Final = 1.0
_WARM_UP_STEPS: Final = 2
_FEWEST_STEPS: Final = 3
_MOST_STEPS: Final = 40

FAST: Final = Execution(precision="bf16", layout="channels_last", threads=1)


@dataclass(frozen=True, slots=True)
class Row:
    """Arms that are compared with each other."""

    name: str
    arms: tuple[Arm, ...]


def rows() -> list[Row]:
    """All rows, the most telling first."""
    return [_clean(6, *_equal(6), *_older(6)), _clean(2), _clean(20), _same(6), _demo_student(6)]


def measured(row: Row, repetitions: int = REPETITIONS) -> dict[str, Any]:
    """Measure a row.

    Returns:
        For each arm: seconds a step, an answer that is kept, and what is done once, in each repetition, CPU and wall;
        facts; peak memory. And seconds of the forward passes of both models.
    """
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for arm in planned(row.arms):
            workers[arm.name] = worker = Worker(arm)
            stack.callback(worker.abandon)
        for worker in workers.values():
            worker.wait()
        counts = {name: _steps_a_piece(worker) for name, worker in workers.items()}
        pieces: dict[str, dict[str, list[float]]] = {name: {} for name in workers}
        forward: dict[str, list[float]] = {}
        order = random.Random(0)  # noqa: S311
        for _ in range(repetitions):
            for name in order.sample(sorted(workers), len(workers)):
                _note_steps(pieces[name], workers[name].steps(counts[name]))
                _note_labelling(pieces[name], workers[name].label())
            for model, seconds in workers["plain"].forward_seconds().items():
                forward.setdefault(model, []).append(seconds)
        arms = {
            name: {**pieces[name], "steps_a_piece": counts[name], **worker.close()}
            for name, worker in workers.items()
        }
    return {"arms": arms, "forward": forward}


def planned(arms: Sequence[Arm]) -> list[Arm]:
    """The arms, with their trained teacher and the plan that Limbeck measures: once for all, in another process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        teacher = pool.submit(trained_weights, arms[0]).result()
        taught = [replace(arm, teacher=teacher) for arm in arms]
        asked = [arm for arm in taught if arm.framework == "limbeck" and arm.execution is None]
        plan = pool.submit(_measured_plan, asked[0]).result() if asked else None
    return [replace(arm, plan=plan) if arm in asked else arm for arm in taught]


def epoch_seconds(arm: dict[str, Any], clock: str) -> list[float]:
    """Seconds of an epoch with answers that are there, in each repetition."""
    return [seconds * EPOCH_EXAMPLES / BATCH_EXAMPLES for seconds in arm[f"step_{clock}"]]


def first_seconds(arm: dict[str, Any], clock: str, *, views: int = 1) -> list[float] | None:
    """Seconds until all answers are there, in each repetition; ``None`` where none are kept."""
    if f"answer_{clock}" not in arm:
        return None
    pairs = zip(arm[f"deciding_{clock}"], arm[f"answer_{clock}"], strict=True)
    return [once + each * EPOCH_EXAMPLES * views for once, each in pairs]


def total_seconds(row: Row, found: dict[str, Any], name: str, clock: str) -> list[float]:
    """Seconds of ten epochs, with all that was asked, in each repetition."""
    arm = next(arm for arm in row.arms if arm.name == name)
    epochs = epoch_seconds(found["arms"][name], clock)
    views = FIXED_VIEWS if arm.view == "same" else 1
    first = first_seconds(found["arms"][name], clock, views=views)
    if first is None:
        return [EPOCHS * epoch for epoch in epochs]
    left = (
        EPOCHS - 1 if arm.framework == "torchdistill-1.1.4" else EPOCHS
    )  # its first epoch trains while it asks
    return [before + left * epoch for before, epoch in zip(first, epochs, strict=True)]


def best(row: Row, found: dict[str, Any], names: Sequence[str], clock: str) -> str:
    """The fastest of some arms."""
    return min(names, key=lambda name: median(total_seconds(row, found, name, clock)))


def _measured_plan(arm: Arm) -> Plan:
    return measured_plan(arm, Task.fashion_mnist())


def _clean(ratio: int, *more: Arm) -> Row:
    return Row(f"clean-{ratio}", (*_arms(ratio), *more))


def _same(ratio: int) -> Row:
    live = Arm("limbeck-live", "limbeck", ratio, view="same", stored=False)
    return Row(f"same-{ratio}", (*_arms(ratio, view="same"), live))


def _demo_student(ratio: int) -> Row:
    return Row(f"separable-{ratio}", _arms(ratio, student="separable"))


def _arms(ratio: int, **settings: Any) -> tuple[Arm, ...]:
    return (
        Arm("limbeck", "limbeck", ratio, **settings),
        Arm("torchdistill", "torchdistill", ratio, **settings),
        Arm("torchdistill-2-workers", "torchdistill", ratio, workers=2, **settings),
        Arm("plain", "plain", ratio, **settings),
    )


def _equal(ratio: int) -> tuple[Arm, ...]:
    """The same arms in one number format and layout: first torch's defaults, then the fast ones."""
    return (
        Arm("limbeck-fp32", "limbeck", ratio, execution=PLAIN),
        Arm("limbeck-bf16", "limbeck", ratio, execution=FAST),
        Arm("torchdistill-bf16", "torchdistill", ratio, execution=FAST),
        Arm("plain-bf16", "plain", ratio, execution=FAST),
    )


def _older(ratio: int) -> tuple[Arm, ...]:
    return (
        Arm("torchdistill-1.1.4", "torchdistill-1.1.4", ratio),
        Arm("torchdistill-1.1.4-2-workers", "torchdistill-1.1.4", ratio, workers=2),
    )


def _steps_a_piece(worker: Worker) -> int:
    worker.steps(_WARM_UP_STEPS)
    trial = worker.steps(_WARM_UP_STEPS)
    worker.label()
    wanted = round(PIECE_SECONDS * trial.count / trial.wall_seconds)
    return min(max(wanted, _FEWEST_STEPS), _MOST_STEPS)


def _note_steps(pieces: dict[str, list[float]], spent: Spent) -> None:
    pieces.setdefault("step_cpu", []).append(spent.cpu_seconds / spent.count)
    pieces.setdefault("step_wall", []).append(spent.wall_seconds / spent.count)


def _note_labelling(pieces: dict[str, list[float]], done: Labelling | None) -> None:
    if done is not None:
        for clock in ("cpu", "wall"):
            pieces.setdefault(f"answer_{clock}", []).append(done.answering[clock] / done.answers)
            pieces.setdefault(f"deciding_{clock}", []).append(done.deciding[clock])
