"""What Limbeck's loop costs over a plain one that does the same work, and what reading stored answers costs in it."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import torch
from torch import Tensor

from benchmarks.engine import ours, plain
from benchmarks.engine.runners import ORDERED_STEPS, inputs_of
from benchmarks.engine.task import OPTIMIZER, Arm, Task, training
from limbeck.methods import CE
from limbeck.recipe import Plan
from limbeck.training.schedule import factor

REPETITIONS: Final = 41
BLOCK_STEPS: Final = 12


def paired_seconds(
    task: Task, arm: Arm, plan: Plan, *, repetitions: int, block_steps: int
) -> dict[str, list[float]]:
    """CPU seconds of blocks of steps that alternate in one process: ``limbeck``, ``plain`` and ``no-teacher``.

    The last is Limbeck's loop on the labels alone. The first two read the same batches and the same stored answers,
    compute in the same number format and layout, update with the same fused kernel, follow the same schedule and look
    at each loss.
    """
    steps = (repetitions + 1) * block_steps
    with TemporaryDirectory() as cache:
        stored = ours.cheaply_stored(task, arm.view, Path(cache))
        _, ours_losses = ours.started(arm, task, stored, plan, steps=steps)
        answers = stored.store.answers(task.train.ids, torch.full_like(task.train.ids, -1)).half()
        losses: dict[str, Iterator[float]] = {
            "limbeck": ours_losses(),
            "plain": _plain(task, arm, plan, answers, steps),
            "no-teacher": ours.started(arm, task, stored, plan, steps=steps, chosen=CE())[1](),
        }
        found: dict[str, list[float]] = {name: [] for name in losses}
        order = random.Random(0)  # noqa: S311
        for repetition in range(repetitions + 1):
            for name in order.sample(sorted(losses), len(losses)):
                began = time.process_time()
                for _ in islice(losses[name], block_steps):
                    pass
                if repetition:  # the first block warms up
                    found[name].append(time.process_time() - began)
        return found


def _plain(task: Task, arm: Arm, plan: Plan, answers: Tensor, steps: int) -> Iterator[float]:
    rates = [OPTIMIZER.learning_rate * factor(training(steps).schedule, step, steps) for step in range(steps)]
    return plain.train_plainly(
        task.student(arm.student),
        lambda _images, rows: answers[rows].float(),
        inputs_of(arm, task),
        task.train.labels,
        zip(cycle(task.orders(ORDERED_STEPS)), rates, strict=False),
        execution=plan.student,
        fused=True,
    )
