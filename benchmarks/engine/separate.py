"""What is measured once, each in a process of its own: the plan, our loop beside a plain one, the teacher."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from benchmarks.engine import accuracy, overhead
from benchmarks.engine.ours import measured_plan
from benchmarks.engine.task import Task
from benchmarks.engine.teachers import trained_weights
from limbeck.recipe import Plan


def alone(work: Callable[..., Any], *arguments: Any) -> Any:
    """What some work returns from a new process, in which nothing else has run."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def plan_facts() -> dict[str, Any]:
    """The plan that Limbeck's plan stage chooses for the accuracy trainings."""
    return measured_plan(accuracy.LIMBECK, Task.fashion_mnist()).model_dump(mode="json")


def loop_seconds(plan: Plan) -> dict[str, list[float]]:
    """Paired CPU seconds of Limbeck's loop and of a plain one that does the same."""
    return overhead.paired_seconds(
        Task.fashion_mnist(), accuracy.LIMBECK, plan,
        repetitions=overhead.REPETITIONS, block_steps=overhead.BLOCK_STEPS,
    )  # fmt: skip


def teacher_trained() -> str:
    """Train the teacher of the accuracy trainings, unless it lies in the cache."""
    trained_weights(accuracy.LIMBECK)
    return "trained"
