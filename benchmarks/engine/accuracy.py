"""Whole trainings: how good the student becomes, epoch by epoch, in Limbeck and in torchdistill."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.engine import ours, peer
from benchmarks.engine.task import BATCH_EXAMPLES, EPOCHS, PLAIN, Arm, Framework, Task
from benchmarks.engine.teachers import trained_weights
from limbeck.recipe import Plan

EXAMPLES: Final = 80 * BATCH_EXAMPLES
"""Training samples: whole batches, so that an epoch is the same in both."""

SEEDS: Final = (0, 1, 2)
RATIO: Final = 6


@dataclass(frozen=True, slots=True)
class WholeTraining:
    """One training of ten epochs."""

    arm: Arm
    seed: int

    @property
    def name(self) -> str:
        """For the ledger."""
        return f"accuracy {self.arm.framework} {self.seed}"


LIMBECK: Final = Arm("limbeck", "limbeck", RATIO)
TORCHDISTILL: Final = Arm("torchdistill", "torchdistill", RATIO)


def trainings(plan: Plan) -> list[WholeTraining]:
    """All of them, the dear ones first."""
    arms = (TORCHDISTILL, replace(LIMBECK, plan=plan))
    return [WholeTraining(arm, seed) for arm in arms for seed in SEEDS]


def trainings_names(framework: Framework) -> list[str]:
    """The ledger's names of a framework's trainings, a seed each."""
    return [WholeTraining(Arm("", framework, RATIO), seed).name for seed in SEEDS]


def fit(one: WholeTraining) -> dict[str, Any]:
    """Train a student, in a process of one thread; its accuracy after each epoch, and what it is right about."""
    torch.set_num_threads(1)
    task = Task.fashion_mnist(EXAMPLES)
    teacher = trained_teacher(task)
    with TemporaryDirectory() as home:
        ours_or_theirs = _limbeck if one.arm.framework == "limbeck" else _torchdistill
        epochs = ours_or_theirs(task, teacher, one, Path(home))
        return {**_followed(epochs, task), "teacher": float(ours.accuracy(teacher, task).double().mean())}


def trained_teacher(task: Task) -> nn.Module:
    """The teacher, trained on all labels."""
    return task.teacher(replace(LIMBECK, teacher=trained_weights(LIMBECK)))


def right(record: dict[str, Any]) -> NDArray[np.float64]:
    """1 for each test sample that a student is right about."""
    bits = np.unpackbits(np.frombuffer(base64.b64decode(record["right"]), dtype=np.uint8))
    return bits[: record["tested"]].astype(np.float64)


def epochs_to(curve: list[float], target: float) -> float | None:
    """After how many epochs a curve of accuracies first reaches a target, between two epochs along a line."""
    before = 0.0
    for epoch, accuracy in enumerate(curve):
        if accuracy >= target:
            return epoch + 1 if epoch == 0 else epoch + (target - before) / (accuracy - before)
        before = accuracy
    return None


def _followed(epochs: Iterator[nn.Module], task: Task) -> dict[str, Any]:
    curve, spent, answers = [], [], torch.zeros(0)
    began = time.process_time()
    for student in epochs:
        spent.append(round(time.process_time() - began, 3))
        answers = ours.accuracy(student, task)
        curve.append(float(answers.double().mean()))
        student.train()
        began = time.process_time()
    packed = base64.b64encode(np.packbits(answers.numpy()).tobytes()).decode()
    return {"curve": curve, "epoch_cpu_seconds": spent, "right": packed, "tested": len(answers)}


def _limbeck(task: Task, teacher: nn.Module, one: WholeTraining, home: Path) -> Iterator[nn.Module]:
    with ours.run_of(one.arm, task, task.train, teacher, home) as run:
        ours.label_stage(run)
        stored, plan = run.stored_teacher(), run.plan
    steps = EXAMPLES // BATCH_EXAMPLES
    state, losses = ours.started(one.arm, task, stored, plan, steps=EPOCHS * steps, seed=one.seed)
    going = losses()
    for _ in range(EPOCHS):
        for _ in islice(going, steps):
            pass
        yield state.student


def _torchdistill(task: Task, teacher: nn.Module, one: WholeTraining, home: Path) -> Iterator[nn.Module]:
    steps = EXAMPLES // BATCH_EXAMPLES
    passes = peer.passes_of(task.orders(EPOCHS * steps, one.seed), steps_a_pass=steps, views=False)
    student = task.student(one.arm.student, one.seed)
    box = peer.box(one.arm, task, passes, teacher=teacher, student=student, steps=EPOCHS * steps, home=home)
    for epoch in range(EPOCHS):
        box.pre_epoch_process(epoch=epoch)
        peer.train_one_epoch(box, box.train_data_loader, PLAIN)
        box.post_epoch_process()
        yield box.student_model
