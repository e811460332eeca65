"""The task in Limbeck, as its pipeline does it: a measured plan, answers stored once, one loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch
from torch import Tensor, nn

from benchmarks.engine.task import AUGMENTATION, BATCH_EXAMPLES, FIXED_VIEWS, VIEW_SEED, Arm, Task, View
from benchmarks.engine.task import method as the_method
from benchmarks.engine.task import training as the_training
from limbeck.data import Source
from limbeck.evaluation import agreement, kl_nats
from limbeck.methods import Method
from limbeck.pipeline.label import LARGEST_KL_NATS, LEAST_AGREEMENT, SAMPLE_EXAMPLES
from limbeck.pipeline.predict import logits_of
from limbeck.recipe import Execution, Plan
from limbeck.teachers import LiveTeacher, StoredTeacher
from limbeck.teachers.store import FixedViews, Store, label, store_key
from limbeck.teachers.store.format import targets_home
from limbeck.training import TrainState, executing, measure_plan, start, train
from limbeck.types import Teacher

_EXACT: Final = Execution(precision="fp32", layout="channels_last", threads=1)

LABEL_EXAMPLES: Final = {2: 4096, 6: 2048, 20: 1024}
"""Samples of a labelling piece, by ratio, so that each takes a second or two."""


@dataclass(frozen=True, slots=True)
class Asking:
    """How the teacher is asked, and what it cost to find out whether that is close enough to fp32."""

    execution: Execution
    batch_examples: int
    check_cpu_seconds: float
    check_wall_seconds: float

    @property
    def facts(self) -> dict[str, Any]:
        """For the record."""
        return {
            "label_execution": self.execution.model_dump(mode="json"),
            "label_batch_examples": self.batch_examples,
            "check_cpu_seconds": self.check_cpu_seconds,
            "check_wall_seconds": self.check_wall_seconds,
        }


def measured_plan(arm: Arm, task: Task) -> Plan:
    """The plan that Limbeck measures on this machine, for one core."""
    return measure_plan(
        lambda: task.untrained(arm.student), lambda: task.teacher(arm), task.shape, task.classes,
        batch_examples=BATCH_EXAMPLES, cores=1,
    ).plan  # fmt: skip


def plan_of(arm: Arm) -> Plan:
    """The arm's own number format, or the plan that was measured for it."""
    if arm.execution is not None:
        return Plan(student=arm.execution, label=arm.execution)
    if arm.plan is None:
        raise ValueError(f"the arm {arm.name} has no plan yet; measure it with measured_plan")
    return arm.plan


def asking(plan: Plan, teacher: nn.Module, task: Task) -> Asking:
    """As the label stage decides: the plan's number format where a sample of the answers agrees with fp32."""
    began = time.process_time(), time.perf_counter()
    chosen = plan.label
    if chosen.precision != "fp32":
        every = max(1, len(task.train) // SAMPLE_EXAMPLES)
        sample = task.train.subset(torch.arange(0, len(task.train), every))
        exact = chosen.model_copy(update={"precision": "fp32"})
        given, wanted = (
            logits_of(teacher, sample, task.preprocessing, execution).numpy() for execution in (chosen, exact)
        )
        if agreement(given, wanted) < LEAST_AGREEMENT or kl_nats(given, wanted) > LARGEST_KL_NATS:
            chosen = exact
    cpu, wall = time.process_time() - began[0], time.perf_counter() - began[1]
    return Asking(chosen, plan.label_batch_examples, cpu, wall)


def live_teacher(module: nn.Module, execution: Execution, task: Task) -> LiveTeacher:
    """A teacher as the pipeline asks it."""
    layout = torch.channels_last if execution.layout == "channels_last" else torch.contiguous_format
    return LiveTeacher(
        module, classes=task.classes, shape=task.shape, layout=layout, execution=lambda: executing(execution)
    )


def labelled(
    teacher: Teacher, source: Source, task: Task, view: View, batch_examples: int, cache: Path
) -> Store:
    """Ask the teacher about a pool, and open the store of its answers."""
    views = FixedViews(views=FIXED_VIEWS, seed=VIEW_SEED, augmentation=AUGMENTATION)
    key = store_key(teacher, source, task.preprocessing, view="clean" if view == "clean" else views)
    for _ in label(teacher, source, task.preprocessing, key, batch_examples=batch_examples, cache=cache):
        pass
    return Store.open(targets_home(cache) / key.digest)


def cheaply_stored(task: Task, view: View, cache: Path) -> StoredTeacher:
    """Stored answers of a linear model for the whole pool: what they say does not change what reading them costs."""
    width = 1
    for size in task.shape:
        width *= size
    linear = nn.Sequential(nn.Flatten(), nn.Linear(width, task.classes))
    teacher = LiveTeacher(linear, classes=task.classes, shape=task.shape)
    return StoredTeacher(labelled(teacher, task.train, task, view, 512, cache))


def started(
    arm: Arm,
    task: Task,
    teacher: Teacher,
    plan: Plan,
    *,
    steps: int,
    seed: int = 0,
    chosen: Method | None = None,
) -> tuple[TrainState, Callable[[], Iterator[float]]]:
    """A training before its first step, and what goes on with it, giving the loss of each step."""
    stream, view = task.stream(arm.view, seed), arm.view
    state = start(
        lambda: task.untrained(arm.student), chosen or the_method(), teacher, stream,
        training=the_training(steps), execution=plan.student, seed=seed, teacher_view=view,
    )  # fmt: skip

    def losses() -> Iterator[float]:
        for step in train(state, stream, teacher, execution=plan.student, teacher_view=view):
            yield step.loss

    return state, losses


def label_piece(arm: Arm, task: Task, module: nn.Module, asked: Asking) -> int:
    """Label some samples into a new store, as the label stage does; how many answers that were."""
    views = FIXED_VIEWS if arm.view == "same" else 1
    source = task.train.subset(torch.arange(LABEL_EXAMPLES[arm.ratio] // views))
    teacher = live_teacher(module, asked.execution, task)
    with TemporaryDirectory() as cache:
        return len(labelled(teacher, source, task, arm.view, asked.batch_examples, Path(cache))) * views


def accuracy(student: nn.Module, task: Task) -> Tensor:
    """Whether a student is right about each test sample; computed in the same way for every arm."""
    answers = logits_of(student.eval(), task.test, task.preprocessing, _EXACT)
    return answers.argmax(1) == task.test.labels
