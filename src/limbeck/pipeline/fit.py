"""One training from its first step to its kept weights: validated, logged, checkpointed, resumed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file
from torch import Tensor

from limbeck.data import Stream
from limbeck.files import read_json, write_json, write_with
from limbeck.methods import dump
from limbeck.models import state_digest
from limbeck.pipeline import shelf
from limbeck.pipeline.answering import started, teacher_for
from limbeck.pipeline.arms import Arm, Job, arm_of
from limbeck.pipeline.context import Context
from limbeck.pipeline.events import Advanced, Event, Noted
from limbeck.pipeline.predict import accuracy_of
from limbeck.pipeline.profiling import Profiled
from limbeck.recipe import Execution
from limbeck.training import Step, TrainState, train
from limbeck.training import load as load_checkpoint
from limbeck.training import remove as remove_checkpoint
from limbeck.training import save as save_checkpoint
from limbeck.training.phases import phase
from limbeck.types import Frozen, Teacher, digest

VERSION: Final = 2
"""Raised when this code trains differently, so that older results are not taken for its own."""

_LOG_STEPS: Final = 25


class FitResult(Frozen):
    """What a training reached, and where."""

    key: str
    """The hash of everything that determined it."""
    job: str
    validation: float
    """The main metric of the kept weights on the validation data."""
    kept_step: int
    steps: int
    seconds: float
    cpu_seconds: float
    weights: str
    """SHA-256 of the kept weights."""
    curve: dict[str, list[float]]
    """``steps`` and ``losses``; ``validation_steps`` and ``validation``."""


def result_of(context: Context, job: Job) -> FitResult | None:
    """What a finished training reached; none where it is not finished, or was made from other inputs."""
    file = context.fit_folder(str(job)) / "result.json"
    if not file.exists():
        return None
    result = FitResult.model_validate(read_json(file))
    return result if result.key == fit_key(context, job) else None


def fit_key(context: Context, job: Job) -> str:
    """The hash of everything that determines the weights of a training."""
    arm = arm_of(context.recipe, job)
    targets = context.targets_digest(arm.answerer) if arm.method.reads.teacher else None
    return digest({**settings_of(context, job), "targets": targets})


def settings_of(context: Context, job: Job) -> dict[str, Any]:
    """What determines the weights of a training, beside the answers that it learns from."""
    arm = arm_of(context.recipe, job)
    choice = arm.choices[job.choice]
    training, method = choice.apply(arm.training, arm.method)
    augmentation = choice.views(arm.augmentation)
    return {
        "version": VERSION,
        "torch": torch.__version__,
        "model": context.identity(arm),
        "method": dump(method),
        "training": training.model_dump(mode="json", exclude={"checkpoint_seconds"}),
        "augmentation": augmentation.model_dump(mode="json") if augmentation else None,
        "labels": arm.labels,
        "fold": None if arm.fold is None else [arm.fold, context.recipe.teacher.folds],
        "seed": job.seed,
        "execution": context.execution(arm).model_dump(mode="json"),
        "data": context.data_digest,
        "view": context.recipe.teacher.model_dump(mode="json")["view"] if method.reads.teacher else None,
    }


def fit(context: Context, name: str) -> Iterator[Event]:
    """Train a job to its end, or find that it was done before.

    Args:
        context: The run.
        name: The job's name.

    Yields:
        Progress. When the generator ends, :func:`result_of` has the result.

    Raises:
        NonFiniteLossError: If the training diverges; the last checkpoint stays.
    """
    job = Job.parse(name)
    place = context.fit_folder(name)
    if result_of(context, job) is not None:
        return
    key = fit_key(context, job)
    if shelf.fetch("fits", key, place):
        yield Noted("train", f"{name}: found finished in the cache ({key})")
        return
    arm = arm_of(context.recipe, job)
    choice = arm.choices[job.choice]
    training, method = choice.apply(arm.training, arm.method)
    stream = context.stream(arm, training, seed=job.seed, augmentation=choice.views(arm.augmentation))
    teacher = teacher_for(context, arm, method)
    state = started(context, arm, training, method, teacher, stream, seed=job.seed)
    _resume(state, place)
    yield from _run(context, job, arm, state, teacher, stream)
    _finish(state, job, key, place)
    shelf.keep("fits", key, place)


def _resume(state: TrainState, place: Path) -> None:
    load_checkpoint(state, place / "checkpoint")
    if state.kept is None:
        curve: dict[str, list[float]] = {"steps": [], "losses": [], "validation_steps": [], "validation": []}
        state.kept = {"metric": -1.0, "step": 0, "weights": {}, "cpu_seconds": 0.0, "curve": curve}


def _run(
    context: Context, job: Job, arm: Arm, state: TrainState, teacher: Teacher | None, stream: Stream
) -> Iterator[Event]:
    training, execution = state.training, context.execution(arm)
    checkpoint = context.fit_folder(str(job)) / "checkpoint"
    window = _Window()
    kept: dict[str, Any] = state.kept or {}
    saved_at, cpu = time.monotonic(), time.process_time()
    for step in _steps(context, job, state, stream, teacher):
        window.add(step)
        last = step.number == training.steps
        if step.number % training.evaluate_every_steps == 0 or last:
            with phase(state.clock, "validation"):
                _validate(context, state, kept, execution)
        if step.number % _LOG_STEPS == 0 or last:
            kept["curve"]["steps"].append(step.number)
            kept["curve"]["losses"].append(sum(window.means().values()))
            yield window.event(job, training.steps)
            window = _Window()
        kept["cpu_seconds"] += (now := time.process_time()) - cpu
        cpu = now
        if not last and time.monotonic() - saved_at >= training.checkpoint_seconds:
            with phase(state.clock, "checkpoint"):
                save_checkpoint(state, checkpoint)
            saved_at = time.monotonic()


def _steps(
    context: Context, job: Job, state: TrainState, stream: Stream, teacher: Teacher | None
) -> Iterator[Step]:
    """The steps that are left; timed and a few traced, where the run is profiled."""
    execution, view = context.execution(arm_of(context.recipe, job)), context.teacher_view
    if not context.profile:
        return train(state, stream, teacher, execution=execution, teacher_view=view)
    training = state.training
    profiled = Profiled(
        context.folder.profile, str(job), context.device,
        steps=range(state.step + 1, training.steps + 1), evaluate_every_steps=training.evaluate_every_steps,
    )  # fmt: skip
    state.clock = profiled.clock
    return profiled.steps(train(state, stream, teacher, execution=execution, teacher_view=view))


def _validate(context: Context, state: TrainState, kept: dict[str, Any], execution: Execution) -> None:
    shipped = state.method.deploy(state.student, state.connectors).eval()
    metric = accuracy_of(shipped, context.splits.validation, context.preprocessing, execution, context.device)
    kept["curve"]["validation_steps"].append(state.step)
    kept["curve"]["validation"].append(metric)
    if state.training.keep == "last" or metric > kept["metric"]:
        weights = {name: value.detach().cpu().clone() for name, value in shipped.state_dict().items()}
        kept.update(metric=metric, step=state.step, weights=weights)


def _finish(state: TrainState, job: Job, key: str, place: Path) -> None:
    kept: dict[str, Any] = state.kept or {}
    weights = {name: value.contiguous() for name, value in kept["weights"].items()}
    shipped = state.method.deploy(state.student, state.connectors)
    shipped.load_state_dict(weights)
    write_with(place / "weights.safetensors", lambda beside: save_file(weights, beside))
    result = FitResult(
        key=key,
        job=str(job),
        validation=kept["metric"],
        kept_step=kept["step"],
        steps=state.training.steps,
        seconds=round(state.seconds, 3),
        cpu_seconds=round(kept["cpu_seconds"], 3),
        weights=state_digest(shipped),
        curve=kept["curve"],
    )
    write_json(place / "result.json", result.model_dump(mode="json"))
    remove_checkpoint(place / "checkpoint")


def logged(context: Context, happening: Iterable[Event]) -> Iterator[Event]:
    """The same events, a training's progress written down in ``metrics.jsonl`` as it passes."""
    for event in happening:
        if isinstance(event, Advanced):
            losses = {name: round(value, 6) for name, value in event.losses.items()}
            context.folder.log({"job": event.job, "step": event.done, "losses": losses})
        yield event


class _Window:
    """The steps since the last line of the log."""

    def __init__(self) -> None:
        self._terms: dict[str, Tensor] = {}
        self._steps, self._number, self._examples, self._seconds = 0, 0, 0, 0.0

    def add(self, step: Step) -> None:
        for name, part in step.terms.items():
            self._terms[name] = self._terms[name] + part if name in self._terms else part
        self._steps += 1
        self._number = step.number
        self._examples += step.examples
        self._seconds += step.seconds

    def means(self) -> dict[str, float]:
        return {name: float(part) / self._steps for name, part in self._terms.items()}

    def event(self, job: Job, steps: int) -> Advanced:
        speed = self._examples / max(self._seconds, 1e-9)
        return Advanced("train", str(job), self._number, steps, speed, self.means())
