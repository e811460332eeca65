"""The task in Limbeck, as its pipeline does it: a measured plan, answers asked once by the label stage, one loop."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch
from torch import Tensor, nn

from benchmarks.engine.task import AUGMENTATION, FIXED_VIEWS, VIEW_SEED, Arm, Task, View
from benchmarks.engine.task import method as the_method
from benchmarks.engine.task import training as the_training
from limbeck.data import Source, Splits
from limbeck.files import read_json
from limbeck.methods import Method
from limbeck.pipeline.answering import live
from limbeck.pipeline.arms import TEACHER
from limbeck.pipeline.context import Context
from limbeck.pipeline.events import Advanced
from limbeck.pipeline.folder import RunFolder
from limbeck.pipeline.label import ask
from limbeck.pipeline.objects import Objects, described
from limbeck.pipeline.planning import make_plan
from limbeck.pipeline.predict import logits_of
from limbeck.recipe import Execution, Plan, Recipe, preset
from limbeck.recipe import load as load_recipe
from limbeck.teachers import LiveTeacher, StoredTeacher
from limbeck.teachers.store import FixedViews, Store, label, store_key
from limbeck.teachers.store.format import targets_home
from limbeck.training import TrainState, start, train
from limbeck.types import Teacher

_EXACT: Final = Execution(precision="fp32", layout="channels_last", threads=1)

LABEL_EXAMPLES: Final = {2: 4096, 6: 2048, 20: 1024}
"""Samples of a labelling piece, by ratio, so that each takes a second or two."""


@dataclass(frozen=True, slots=True)
class Labelling:
    """What a label stage did, and what it cost on each clock."""

    answers: int
    """Asked for and kept."""
    answering: dict[str, float]
    """Seconds from the first question to the last kept answer; grows with the number of samples."""
    deciding: dict[str, float]
    """Seconds before and after that: trying on a sample how to ask, closing the store; once for all samples."""
    facts: dict[str, Any]
    """How the teacher was asked."""


def measured_plan(arm: Arm, task: Task) -> Plan:
    """The plan that Limbeck's plan stage measures on this machine, for one core."""
    teacher, cores = task.teacher(arm), os.sched_getaffinity(0)
    with TemporaryDirectory() as home, run_of(arm, task, task.train, teacher, Path(home)) as run:
        os.sched_setaffinity(0, {min(cores)})
        try:
            for _ in make_plan(run):
                pass
        finally:
            os.sched_setaffinity(0, cores)
        return run.plan


def plan_of(arm: Arm) -> Plan | None:
    """The arm's own number format, or the plan that was measured for it; none where that is still to be done."""
    if arm.execution is None:
        return arm.plan
    same = arm.execution.model_dump()
    return Plan.model_validate({"student": same, "label": same})


@contextmanager
def run_of(arm: Arm, task: Task, source: Source, teacher: nn.Module, home: Path) -> Iterator[Context]:
    """A run of Limbeck's pipeline on some samples, with a teacher that is given, in a cache of its own."""
    parts = Splits(source, task.test, task.test, torch.arange(len(source)))
    given = Objects(teacher=teacher, student=lambda: task.untrained(arm.student), splits=parts)
    before = os.environ.get("LIMBECK_CACHE")
    os.environ["LIMBECK_CACHE"] = str(home / "cache")
    try:
        yield Context(_recipe(arm, task), RunFolder(home / "run"), given)
    finally:
        if before is None:
            del os.environ["LIMBECK_CACHE"]
        else:
            os.environ["LIMBECK_CACHE"] = before


def label_stage(context: Context) -> Labelling:
    """Run the label stage of a run."""
    marks = [_now()]
    for event in ask(context, TEACHER, stage="label"):
        if isinstance(event, Advanced):
            marks = [marks[0], marks[1] if len(marks) > 1 else _now(), _now()]
    end, kept = _now(), read_json(context.folder.targets(TEACHER))
    first, last = (marks[1], marks[2]) if len(marks) > 1 else (end, end)
    answering = {clock: last[clock] - first[clock] for clock in end}
    deciding = {clock: end[clock] - marks[0][clock] - answering[clock] for clock in end}
    facts = {name: kept[name] for name in ("execution", "check", "refused") if name in kept}
    return Labelling(kept["asked"] * (context.views or 1), answering, deciding, facts)


def asked_live(context: Context) -> Teacher:
    """The teacher itself, asked as the label stage decided."""
    held = read_json(context.folder.targets(TEACHER))["execution"]
    return live(context, type(context.plan.label).model_validate(held), TEACHER)


def cheaply_stored(task: Task, view: View, cache: Path) -> StoredTeacher:
    """Stored answers of a linear model for the whole pool: what they say does not change what reading them costs."""
    linear = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(task.shape), task.classes))
    teacher = LiveTeacher(linear, classes=task.classes, shape=task.shape)
    views = FixedViews(views=FIXED_VIEWS, seed=VIEW_SEED, augmentation=AUGMENTATION)
    key = store_key(teacher, task.train, task.preprocessing, view="clean" if view == "clean" else views)
    for _ in label(teacher, task.train, task.preprocessing, key, batch_examples=512, cache=cache):
        pass
    return StoredTeacher(Store.open(targets_home(cache) / key.digest))


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


def accuracy(student: nn.Module, task: Task) -> Tensor:
    """Whether a student is right about each test sample; computed in the same way for every arm."""
    answers = logits_of(student.eval(), task.test, task.preprocessing, _EXACT)
    return answers.argmax(1) == task.test.labels


def _recipe(arm: Arm, task: Task) -> Recipe:
    recipe = load_recipe(preset("fashion-mnist"))
    view: Any = {"views": FIXED_VIEWS} if arm.view == "same" else "clean"
    if arm.view == "same" and not arm.stored:
        view = "same"
    plain = recipe.teacher.model_dump(mode="json") | {"view": view}
    student = described(lambda: task.untrained(arm.student))
    changes = {
        "student": recipe.student.model_copy(update={"model": student}),
        "training": the_training(1),
        "teacher": type(recipe.teacher).model_validate(plain),
        "preprocessing": task.preprocessing,
        "augmentation": AUGMENTATION if arm.view == "same" else None,
        "view_seed": VIEW_SEED,
        "plan": plan_of(arm),
    }
    return recipe.model_copy(update=changes)


def _now() -> dict[str, float]:
    return {"cpu": time.process_time(), "wall": time.perf_counter()}
