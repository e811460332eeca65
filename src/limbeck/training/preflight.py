"""What a training will do and cost, from a few steps of a copy of it."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import median

import torch
from torch import Tensor, nn

from limbeck.recipe.plan import Execution
from limbeck.training.loop import train
from limbeck.training.randomness import drawing, step_seed
from limbeck.training.state import TrainState
from limbeck.training.terms import (
    Batches,
    TeacherView,
    ask_student,
    ask_teacher,
    gradients,
    needed,
    pull,
    shares,
    taken,
)
from limbeck.types import Outputs, Teacher


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a training will take, roughly."""

    step_seconds: float
    seconds: float
    """For all the steps that are left."""
    parameter_bytes: int
    """Weights, buffers, gradients and the optimizer's state."""
    activation_bytes: int
    """What one micro-batch's forward pass keeps for the backward pass."""


def gradient_share(
    state: TrainState,
    stream: Batches,
    teacher: Teacher | None,
    *,
    execution: Execution,
    batches: int = 3,
    teacher_view: TeacherView = "clean",
) -> dict[str, float]:
    """How much of the gradient each term makes: the norm of its own, over the sum of these norms.

    Args:
        state: Not changed.
        stream: Gives the first ``batches`` batches.
        teacher: As in training.
        execution: How the student is computed.
        batches: Batches to average over.
        teacher_view: What the teacher is asked about.

    Returns:
        A share for each term; they sum to 1, except where every gradient is 0.
    """
    trial = _copied(state)
    norms: dict[str, float] = {}
    for number in range(batches):
        parts = _parts(trial, stream, teacher, number, execution=execution, view=teacher_view)
        for name, part in parts.items():
            norms[name] = norms.get(name, 0.0) + float(pull(trial.student, part))
    whole = sum(norms.values())
    return {name: norm / whole if whole else 0.0 for name, norm in norms.items()}


def gradient_conflict(
    state: TrainState,
    stream: Batches,
    teacher: Teacher | None,
    *,
    execution: Execution,
    batches: int = 3,
    teacher_view: TeacherView = "clean",
) -> dict[tuple[str, str], float]:
    """How far each two terms pull the student the same way: the cosine between their gradients.

    Args:
        state: Not changed.
        stream: Gives the first ``batches`` batches.
        teacher: As in training.
        execution: How the student is computed.
        batches: Batches to average over.
        teacher_view: What the teacher is asked about.

    Returns:
        For each pair of terms: 1 where both pull the same way, -1 where against each other, 0 where across or where
        one does not pull at all.
    """
    trial = _copied(state)
    found: dict[tuple[str, str], float] = {}
    for number in range(batches):
        parts = _parts(trial, stream, teacher, number, execution=execution, view=teacher_view)
        each = {name: gradients(trial.student, part) for name, part in parts.items()}
        for pair in combinations(each, 2):
            found[pair] = found.get(pair, 0.0) + _cosine(each[pair[0]], each[pair[1]]) / batches
    return found


def estimate(
    state: TrainState,
    stream: Batches,
    teacher: Teacher | None,
    *,
    execution: Execution,
    steps: int = 3,
    teacher_view: TeacherView = "clean",
) -> Estimate:
    """Time and memory of a training, from a few of its steps.

    Args:
        state: Not changed.
        stream: As in training.
        teacher: As in training.
        execution: As in training.
        steps: Steps to time, after one to warm up.
        teacher_view: What the teacher is asked about.
    """
    trial = _copied(state)
    activations = _activation_bytes(trial, stream, execution=execution)
    seconds = []
    for step in train(trial, stream, teacher, execution=execution, teacher_view=teacher_view):
        seconds.append(step.seconds)
        if len(seconds) > steps:
            break
    step_seconds = median(seconds[1:] or seconds or [0.0])
    left = state.training.steps - state.step
    return Estimate(step_seconds, step_seconds * left, _held_bytes(trial), activations)


def _copied(state: TrainState) -> TrainState:
    """A state of its own, optimizer and all, without what the caller keeps in it and what is compiled of it."""
    return copy.deepcopy(replace(state, kept=None, compiled=None, clock=None))


def _parts(
    state: TrainState,
    stream: Batches,
    teacher: Teacher | None,
    number: int,
    *,
    execution: Execution,
    view: TeacherView,
) -> dict[str, Tensor]:
    given, batch = taken(stream, number, state.device)
    asked = needed(state.method, teacher)
    answers = None if asked is None else ask_teacher(asked, stream, given, view=view, device=state.device)
    with drawing(step_seed(state.seed, number), device=state.device):
        seen = _seen(state, batch.inputs, execution=execution)
        return shares(state.method, seen, answers, batch, state.connectors)


def _seen(state: TrainState, inputs: Tensor, *, execution: Execution) -> Outputs:
    taps, device = state.taps, state.device
    return ask_student(
        state.student.train(), inputs, taps=taps, execution=execution, device=device,
        sequences=state.method.reads.sequences,
    )  # fmt: skip


def _cosine(one: list[Tensor], other: list[Tensor]) -> float:
    """The cosine between two gradients; 0 where one of them is."""
    product = sum(float((a * b).sum()) for a, b in zip(one, other, strict=True))
    lengths = float(nn.utils.get_total_norm(one)) * float(nn.utils.get_total_norm(other))
    return product / lengths if lengths else 0.0


def _activation_bytes(state: TrainState, stream: Batches, *, execution: Execution) -> int:
    _, batch = taken(stream, state.step, state.device)
    inputs = batch.inputs[: -(-len(batch) // state.training.accumulation)]
    weights = {parameter.data_ptr() for parameter in state.student.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        drawing(0, device=state.device),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        answers = _seen(state, inputs, execution=execution)
    del answers  # it held the graph: storage that is freed earlier could be counted under a reused address
    return sum(kept.values())


def _held_bytes(state: TrainState) -> int:
    parties = [state.student] if state.connectors is None else [state.student, state.connectors]
    weights = [parameter for party in parties for parameter in party.parameters()]
    gradients = [parameter for parameter in weights if parameter.requires_grad]
    buffers = [buffer for party in parties for buffer in party.buffers()]
    optimizer = [value for held in state.optimizer.state.values() for value in held.values()]
    return _bytes(weights) + _bytes(gradients) + _bytes(buffers) + _bytes(optimizer)


def _bytes(values: Iterable[object]) -> int:
    return sum(value.nbytes for value in values if isinstance(value, Tensor))
