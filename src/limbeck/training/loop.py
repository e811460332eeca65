"""The one training loop: a generator of steps."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from limbeck.errors import NonFiniteLossError
from limbeck.recipe.plan import Execution
from limbeck.threads import refuse_dynamic_threads
from limbeck.training.gathering import gathered, micro_batches
from limbeck.training.optimizer import set_learning_rate
from limbeck.training.phases import TimedBatches, phase
from limbeck.training.precision import arithmetic
from limbeck.training.randomness import drawing, step_seed
from limbeck.training.schedule import factor
from limbeck.training.state import TrainState
from limbeck.training.terms import (
    Batches,
    TeacherView,
    ask_student,
    ask_teacher,
    needed,
    shares,
    summed,
    taken,
    totals,
)
from limbeck.types import Batch, Outputs, Teacher

_ACCELERATOR_CHECK_STEPS = 20
"""Reading a number from an accelerator waits for it, so its losses are looked at in groups."""


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step, done."""

    number: int
    """Counted from 1; the state's ``step`` after it."""
    terms: Mapping[str, Tensor] = field(repr=False)
    """Each term's part of the loss, without gradients."""
    learning_rate: float
    examples: int
    seconds: float
    """Time from asking for the batch to the updated weights, without the caller's."""
    norm: Tensor | None = field(default=None, repr=False)

    @property
    def losses(self) -> dict[str, float]:
        """Each term's part of the loss; read from the device when asked for."""
        return {name: float(part) for name, part in self.terms.items()}

    @property
    def loss(self) -> float:
        """The sum of the terms."""
        return float(summed(self.terms))

    @property
    def gradient_norm(self) -> float | None:
        """The norm of the whole gradient before it was clipped; none where nothing clips."""
        return None if self.norm is None else float(self.norm)


class _Watch:
    """Looks for losses that are not finite: at once on a CPU, in groups on an accelerator."""

    def __init__(self, state: TrainState) -> None:
        self._state = state
        self._waiting: list[tuple[int, dict[str, Tensor]]] = []
        self._every = 1 if state.device.type == "cpu" else _ACCELERATOR_CHECK_STEPS

    def look(self, parts: dict[str, Tensor], norm: Tensor | None) -> None:
        number = self._state.step + 1
        self._waiting.append((number, parts if norm is None else {**parts, "gradient": norm}))
        if len(self._waiting) < self._every and number < self._state.training.steps:
            return
        if not math.isfinite(sum(summed(seen) for _, seen in self._waiting)):
            self._refuse()
        self._waiting.clear()

    def _refuse(self) -> None:
        for number, parts in self._waiting:
            broken = [name for name, part in parts.items() if not torch.isfinite(part)]
            if broken:
                raise _non_finite(self._state, number, broken[0], float(parts[broken[0]]))


def train(
    state: TrainState,
    stream: Batches,
    teacher: Teacher | None,
    *,
    execution: Execution,
    teacher_view: TeacherView = "clean",
) -> Iterator[Step]:
    """Train until ``state.training.steps``, yielding after each update.

    Stop whenever you like: the state is whole at each yield, and another call goes on from it. What happens
    between steps (``eval()``, random numbers, autocast, ``no_grad``) changes nothing in the training.

    Args:
        state: Changed in place.
        stream: Gives the batch of each step.
        teacher: Answers for batches; may be absent where the method does not read it.
        execution: Number format, layout and threads.
        teacher_view: ``clean`` asks about the samples without augmentation, ``same`` about what the
            student sees.

    Raises:
        ModelError: If a layer of a compiled student cannot be read.
        NonFiniteLossError: If a loss or a gradient becomes infinite or not a number; the weights are those
            before that step (on an accelerator, of up to 20 steps later).
    """
    refuse_dynamic_threads()
    asked = needed(state.method, teacher)
    parties = [state.student] if state.connectors is None else [state.student, state.connectors]
    modes = [(part, part.training) for party in parties for part in party.train().modules()]
    watch = _Watch(state)
    state.compile(execution)
    if state.clock is not None:
        stream = TimedBatches(stream, state.clock)
    while not state.done:
        _restore(modes)
        with arithmetic(execution), torch.enable_grad():
            step = _step(state, stream, asked, watch, execution=execution, view=teacher_view)
        yield step


def _step(
    state: TrainState,
    stream: Batches,
    teacher: Teacher | None,
    watch: _Watch,
    *,
    execution: Execution,
    view: TeacherView,
) -> Step:
    began = time.perf_counter()
    clock = state.clock
    given, batch = taken(stream, state.step, state.device)
    answers = None
    if teacher is not None:
        with phase(clock, "teacher"):
            answers = ask_teacher(teacher, stream, given, view=view, device=state.device)
    state.optimizer.zero_grad(set_to_none=True)
    with drawing(step_seed(state.seed, state.step), device=state.device):
        parts = _gradients(state, batch, answers, execution=execution)
    with phase(clock, "optimizer"):
        norm = _clip(state)
    watch.look(parts, norm)
    learning_rate = state.training.optimizer.learning_rate * factor(
        state.training.schedule, state.step, state.training.steps
    )
    set_learning_rate(state.optimizer, learning_rate)
    with phase(clock, "optimizer"):
        state.optimizer.step()
    with torch.no_grad():
        state.method.advance(state.student, state.connectors)
    seconds = time.perf_counter() - began
    state.step += 1
    state.seconds += seconds
    return Step(state.step, parts, learning_rate, len(batch), seconds, norm)


def _gradients(
    state: TrainState, batch: Batch, answers: Outputs | None, *, execution: Execution
) -> dict[str, Tensor]:
    """Run backward over the whole batch, in micro-batches; the parts of the loss, without gradients."""
    if state.training.accumulation > 1 and state.method.reads.coupled:
        return gathered(state, batch, answers, execution=execution)
    divisors = totals(state.method, answers, batch) if state.training.accumulation > 1 else None
    summed_parts: dict[str, Tensor] = {}
    for rows in micro_batches(len(batch), state.training.accumulation):
        micro = batch if rows is None else batch[rows]
        micro_answers = answers if answers is None or rows is None else answers[rows]
        with phase(state.clock, "student forward"):
            seen = ask_student(
                state.student, micro.inputs,
                taps=state.taps, execution=execution, device=state.device, compiled=state.compiled,
                sequences=state.method.reads.sequences,
            )  # fmt: skip
        with phase(state.clock, "loss"):
            parts = shares(state.method, seen, micro_answers, micro, state.connectors, divisors)
            loss = summed(parts)
        if loss.requires_grad:  # not where a micro-batch has no unit of any term
            with phase(state.clock, "backward"):
                torch.autograd.backward(loss)
        for name, part in parts.items():
            part = part.detach()
            summed_parts[name] = summed_parts[name] + part if name in summed_parts else part
    return summed_parts


def _clip(state: TrainState) -> Tensor | None:
    if state.training.clip is None:
        return None
    trained = [parameter for group in state.optimizer.param_groups for parameter in group["params"]]
    return nn.utils.clip_grad_norm_(trained, state.training.clip)


def _restore(modes: list[tuple[nn.Module, bool]]) -> None:
    """Undo a caller's ``eval()``; reading is cheap, setting an attribute of a module is not."""
    for part, mode in modes:
        if part.training != mode:
            part.training = mode


def _non_finite(state: TrainState, number: int, term: str, value: float) -> NonFiniteLossError:
    kept = state.last_checkpoint
    saved = f"The last finite checkpoint is {kept}." if kept else "There is no checkpoint yet."
    what = "The gradient's norm" if term == "gradient" else f"The term {term!r} of the loss"
    return NonFiniteLossError(
        f"{what} is {value} at step {number} of {state.training.steps}, expected a finite number. {saved} "
        "Lower training.optimizer.learning_rate, set training.clip (1.0 is common), or compute in fp32."
    )
