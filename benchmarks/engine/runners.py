"""An arm in a process of its own: ready before the clock starts, then some steps at a time."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Protocol

import torch

from benchmarks.engine import ours, peer, plain
from benchmarks.engine.task import AUGMENTATION, FIXED_VIEWS, OPTIMIZER, PLAIN, VIEW_SEED, Arm, Task, training
from limbeck.data.views import augment
from limbeck.training.schedule import factor
from limbeck.types import Teacher

STEPS: Final = 2000
"""Over which the learning rate falls; more than all pieces of an arm together."""

ORDERED_STEPS: Final = 400
"""Batches whose samples are known beforehand; gone through again if need be."""

CACHED_STEPS: Final = 6
"""Batches that torchdistill 1.1.4 goes through again and again, so that its answers are there."""


_FORWARDS: Final = 2


class Runner(Protocol):
    """What the clock is held against."""

    @property
    def facts(self) -> dict[str, Any]:
        """What a reader should know about how it was computed."""

    def steps(self, count: int) -> None:
        """Train on."""

    def label(self) -> Any:
        """Ask the teacher about some samples and keep the answers; nothing where none are kept."""


class Limbeck:
    """Limbeck's arm."""

    def __init__(self, arm: Arm, task: Task, home: Path) -> None:
        self._arm, self._task, self._home = arm, task, home
        plan = ours.plan_of(arm)
        if plan is None:
            raise ValueError(f"the arm {arm.name} has no plan yet; measure it with measured_plan")
        self._module, self._plan = task.teacher(arm), plan
        self._asked: dict[str, Any] = {}
        _, losses = ours.started(arm, task, self._teacher(), self._plan, steps=STEPS)
        self._losses = losses()

    @property
    def facts(self) -> dict[str, Any]:
        """What was chosen."""
        return {"execution": self._plan.student.model_dump(mode="json"), "asked": self._asked}

    def steps(self, count: int) -> None:
        """Train on."""
        _consume(self._losses, count)

    def label(self) -> ours.Labelling | None:
        """The label stage on some samples, into a new store."""
        if not self._arm.stored:
            return None
        views = FIXED_VIEWS if self._arm.view == "same" else 1
        source = self._task.train.subset(torch.arange(ours.LABEL_EXAMPLES[self._arm.ratio] // views))
        with (
            TemporaryDirectory(dir=self._home) as place,
            ours.run_of(self._arm, self._task, source, self._module, Path(place)) as run,
        ):
            found = ours.label_stage(run)
        self._asked = found.facts
        return found

    def _teacher(self) -> Teacher:
        if self._arm.stored:
            return ours.cheaply_stored(self._task, self._arm.view, self._home / "cache")
        with ours.run_of(self._arm, self._task, self._task.train, self._module, self._home) as run:
            ours.label_stage(run)
            return ours.asked_live(run)


class Plain:
    """The plain loop's arm."""

    def __init__(self, arm: Arm, task: Task, _home: Path) -> None:
        execution = arm.execution or PLAIN
        rates = [
            OPTIMIZER.learning_rate * factor(training(STEPS).schedule, step, STEPS) for step in range(STEPS)
        ]
        self._losses = plain.train_plainly(
            task.student(arm.student),
            plain.live(task.teacher(arm), execution),
            inputs_of(arm, task),
            task.train.labels,
            zip(cycle(task.orders(ORDERED_STEPS)), rates, strict=False),
            execution=execution,
            fused=arm.execution is not None,
        )
        self.facts = {"execution": execution.model_dump(mode="json")}
        self._models = {"student": task.student(arm.student).eval(), "teacher": task.teacher(arm)}
        self._images = torch.rand(128, *task.shape)

    def steps(self, count: int) -> None:
        """Train on."""
        _consume(self._losses, count)

    def label(self) -> None:
        """Nothing is kept."""

    def forward_seconds(self) -> dict[str, float]:
        """CPU seconds of one forward pass of each model, in fp32 and torch's default layout; after a first one."""
        found = {}
        with torch.no_grad():
            for name, model in self._models.items():
                model(self._images)
                began = time.process_time()
                for _ in range(_FORWARDS):
                    model(self._images)
                found[name] = (time.process_time() - began) / _FORWARDS
        return found


class Torchdistill:
    """torchdistill's arm: with a live teacher."""

    def __init__(self, arm: Arm, task: Task, home: Path) -> None:
        self._execution = arm.execution or PLAIN
        rows = peer.passes_of(
            task.orders(ORDERED_STEPS), steps_a_pass=ORDERED_STEPS, views=arm.view == "same"
        )[0]
        passes = [rows * (STEPS // ORDERED_STEPS)]
        self._box = peer.box(
            arm, task, passes, teacher=task.teacher(arm), student=task.student(arm.student),
            steps=STEPS, home=home / "torchvision",
        )  # fmt: skip
        self._batches = iter(self._box.train_data_loader)
        self._box.pre_epoch_process(epoch=0)
        self.facts = {"execution": self._execution.model_dump(mode="json"), "workers": arm.workers}

    def steps(self, count: int) -> None:
        """Train on, over batches of the same pass."""
        peer.train_one_epoch(self._box, _Some(self._batches, count), self._execution)

    def label(self) -> None:
        """Nothing is kept."""


class CachedTorchdistill:
    """torchdistill 1.1.4 with its answers in a file a sample: the first epoch writes them, the others read."""

    def __init__(self, arm: Arm, task: Task, home: Path) -> None:
        self._home, self._execution = home, arm.execution or PLAIN
        rows = torch.cat(task.orders(CACHED_STEPS)).tolist()
        self._samples = len(rows)

        def box(name: str, passes: list[list[int]], workers: int) -> Any:
            made = peer.box(
                replace(arm, workers=workers), task, passes,
                teacher=task.teacher(arm), student=task.student(arm.student),
                steps=STEPS, home=home / "torchvision", cache=home / name,
            )  # fmt: skip
            made.pre_epoch_process(epoch=0)
            return made

        self._writing = box("written", [rows], 0)
        filling = box("read", [rows], 0)
        peer.train_one_epoch(filling, filling.train_data_loader, self._execution)
        self._reading = box("read", [rows * (STEPS // CACHED_STEPS)], arm.workers)
        self._batches = iter(self._reading.train_data_loader)
        self.facts = {"execution": self._execution.model_dump(mode="json"), "workers": arm.workers}

    def steps(self, count: int) -> None:
        """Train on, with answers that are there."""
        peer.train_one_epoch(self._reading, _Some(self._batches, count), self._execution)

    def label(self) -> ours.Labelling:
        """A part of the first epoch: train, ask the teacher, keep a file for each sample."""
        shutil.rmtree(self._home / "written", ignore_errors=True)
        cpu, wall = time.process_time(), time.perf_counter()
        peer.train_one_epoch(self._writing, self._writing.train_data_loader, self._execution)
        spent = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
        return ours.Labelling(self._samples, spent, {"cpu": 0.0, "wall": 0.0}, {})


RUNNERS: Final[dict[str, Callable[[Arm, Task, Path], Any]]] = {
    "limbeck": Limbeck,
    "plain": Plain,
    "torchdistill": Torchdistill,
    "torchdistill-1.1.4": CachedTorchdistill,
}


def inputs_of(arm: Arm, task: Task) -> Callable[[torch.Tensor], torch.Tensor]:
    """From rows to inputs, as somebody would write it for data in memory; views as Limbeck makes them."""
    mean, std = (
        torch.tensor(part)[:, None, None] for part in (task.preprocessing.mean, task.preprocessing.std)
    )
    count, ids = len(task.train), task.train.ids
    raw = task.train.raw(torch.arange(count)).permute(0, 3, 1, 2)
    images = raw.clone(memory_format=torch.contiguous_format)

    def inputs(rows: torch.Tensor) -> torch.Tensor:
        clean = (images[rows].float() / 255 - mean) / std
        if arm.view == "clean":
            return clean
        return augment(clean, ids[rows], torch.zeros_like(rows), augmentation=AUGMENTATION, seed=VIEW_SEED)

    return inputs


class _Some:
    """The next few of an endless sequence, with their number."""

    def __init__(self, batches: Iterator[Any], count: int) -> None:
        self._batches, self._count = batches, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        return islice(self._batches, self._count)


def _consume(losses: Iterator[float], count: int) -> None:
    for _ in islice(losses, count):
        pass
