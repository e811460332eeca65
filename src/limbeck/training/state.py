"""Everything that a training is: what a checkpoint holds."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck.errors import MethodError, ModelError, RunError
from limbeck.methods.base import Method
from limbeck.recipe.plan import Execution
from limbeck.recipe.training import Training
from limbeck.taps import Compiled, is_compiled, refuse_uncompilable
from limbeck.training import optimizer as optimizers
from limbeck.training.fit import bound, check_fit, check_labels_occur, trace
from limbeck.training.phases import Clock
from limbeck.training.precision import laid_out
from limbeck.training.randomness import drawing
from limbeck.training.terms import Batches, TeacherView, fitting, needed
from limbeck.types import Teacher, digest

_LABEL_BATCHES = 8


@dataclass(slots=True, eq=False)
class TrainState:
    """A student in training. The teacher is not part of it: it never changes.

    The random numbers of a step come from ``(seed, step)`` and the batches from ``step``, so these two
    are all the randomness there is to save.
    """

    student: nn.Module
    connectors: nn.Module | None
    """What the method's ``init`` made: trained along, dropped at the end unless the method deploys it."""
    optimizer: torch.optim.Optimizer
    method: Method
    training: Training
    seed: int
    device: torch.device
    step: int = 0
    """Optimizer steps done."""
    seconds: float = 0.0
    """Time spent in them, over all resumptions."""
    kept: dict[str, Any] | None = None
    """What the caller keeps beside it, in plain data and tensors: the best weights yet, and their metric."""
    last_checkpoint: Path | None = None
    compiled: Compiled | None = None
    """The student through torch.compile with what the method reads of it, where the plan says so. The student itself
    stays a plain module: that is what is saved, validated and shipped."""
    clock: Clock | None = None
    """Is told what the loop does, where somebody wants to know where the time goes."""
    taps: tuple[str, ...] = field(init=False)
    """What the method reads inside the student; asked of it once, not at every step."""

    def __post_init__(self) -> None:
        self.taps = self.method.reads.student_taps

    @property
    def done(self) -> bool:
        """Whether all steps have been made."""
        return self.step >= self.training.steps

    @property
    def identity(self) -> str:
        """Changes with whatever makes another training of it; a checkpoint fits only its own."""
        training = self.training.model_dump(mode="json", exclude={"checkpoint_seconds"})
        return digest([training, self.method.model_dump(mode="json"), self.seed])

    def compile(self, execution: Execution) -> None:
        """Compile the student if the plan says so; nothing is traced before the first step.

        Raises:
            UserError: If there is no C++ compiler.
        """
        if not execution.compile:
            self.compiled = None
        elif self.compiled is None:
            self.compiled = Compiled(self.student, self.taps)

    def state_dict(self) -> dict[str, Any]:
        """Everything that changes during training, as plain data and tensors."""
        return {
            "identity": self.identity,
            "student": self.student.state_dict(),
            "connectors": None if self.connectors is None else self.connectors.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seed": self.seed,
            "seconds": self.seconds,
            "kept": self.kept,
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on where another state of the same training was saved.

        Raises:
            RunError: If it was saved by a training with other settings, method or seed.
        """
        if saved["identity"] != self.identity:
            raise RunError(
                f"The checkpoint is of another training ({saved['identity']}, expected {self.identity}): its "
                "settings, method or seed differ. Remove the checkpoint, or go back to the settings it was "
                "made with."
            )
        self.student.load_state_dict(saved["student"])
        if self.connectors is not None:
            self.connectors.load_state_dict(saved["connectors"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step, self.seconds, self.kept = saved["step"], saved["seconds"], saved["kept"]


def start(
    student_factory: Callable[[], nn.Module],
    method: Method,
    teacher: Teacher | None,
    stream: Batches,
    *,
    training: Training,
    execution: Execution,
    seed: int,
    device: torch.device | str = "cpu",
    teacher_view: TeacherView = "clean",
) -> TrainState:
    """A training before its first step, checked.

    Args:
        student_factory: Builds the student; its initial weights depend on ``seed`` alone.
        method: How student and teacher are compared.
        teacher: Answers for batches; may be absent where the method does not read it.
        stream: Gives the batches.
        training: Steps, batches, optimizer, schedule.
        execution: How the student is computed.
        seed: Draws the initial weights and the dropout.
        device: Where the student is trained.
        teacher_view: What the teacher is asked about, as in :func:`~limbeck.training.loop.train`.

    Raises:
        ModelError: If the student does not answer with one logit per class, is compiled already, or has nothing to
            train.
        UserError: If it shall be compiled and there is no C++ compiler.
        TeacherError: If the teacher is missing or counts other classes.
        MethodError: If the method has nothing to learn from.
    """
    place = torch.device(device)
    fitting(method, teacher)  # a missing teacher is said before anything is built
    if execution.compile:
        refuse_uncompilable()
    _refuse_coupled_micro_batches(method, training)
    with drawing(seed, device=place):

        def fresh() -> nn.Module:
            return laid_out(student_factory().to(place), execution)

        student = fresh()
        _refuse_compiled(student)
        chosen = bound(method, student, teacher, stream, view=teacher_view)
        asked = needed(chosen, teacher)
        traced = trace(
            student, asked, stream, execution=execution, device=place, reads=chosen.reads, view=teacher_view
        )
        check_fit(traced, asked)
        check_labels_occur(method, stream, batches=min(training.steps, _LABEL_BATCHES))
        connectors = chosen.init(replace(traced, steps=training.steps, fresh=fresh))
    if connectors is not None:
        connectors.to(place)
    parties = [student] if connectors is None else [student, connectors]
    _warn_about_batch_statistics(student, training)
    optimizer = optimizers.build(training.optimizer, parties)
    return TrainState(student, connectors, optimizer, chosen, training, seed, place)


def _refuse_compiled(student: nn.Module) -> None:
    if any(is_compiled(part) or part._compiled_call_impl is not None for part in student.modules()):
        raise ModelError(
            "The student is compiled already: its weights would be saved under other names, and its layers could not "
            "be read. Give the module itself, and say plan.student.compile: true."
        )


def _refuse_coupled_micro_batches(method: Method, training: Training) -> None:
    if training.accumulation > 1 and method.reads.coupled and training.coupled == "refuse":
        raise MethodError(
            f"accumulation is {training.accumulation}, and the method {method!r} compares the samples of a "
            "batch with each other, so that micro-batches would be another loss. Set training.coupled: gather, "
            "which runs each micro-batch twice, or accumulation: 1."
        )


def _warn_about_batch_statistics(student: nn.Module, training: Training) -> None:
    normalisation = nn.modules.batchnorm._BatchNorm
    if training.accumulation > 1 and any(isinstance(part, normalisation) for part in student.modules()):
        micro = -(-training.batch_examples // training.accumulation)
        warnings.warn(
            f"accumulation is {training.accumulation} and the student has batch normalisation: its "
            f"statistics are those of {micro} examples, not of {training.batch_examples}. Use "
            "accumulation: 1 for the same result as the large batch.",
            UserWarning,
            stacklevel=3,
        )
