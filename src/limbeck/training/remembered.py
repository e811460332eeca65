"""What a teacher remembers of its training data: the statistics in its BatchNorm layers."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from limbeck.errors import TeacherError
from limbeck.losses.mixtures import jensen_shannon
from limbeck.losses.naturalness import statistics_gap
from limbeck.recipe.plan import Execution
from limbeck.taps import INPUT, tap
from limbeck.teachers.acceptance import check_logits
from limbeck.training.precision import arithmetic, autocast, laid_out
from limbeck.types import Teacher


@dataclass(frozen=True, slots=True)
class Remembered:
    """A teacher's answers to made inputs, and how far these are from what its BatchNorm layers remember.

    It holds a frozen copy in eval mode: whatever happens, the teacher itself is neither hooked nor changed.
    """

    module: nn.Module
    layers: tuple[str, ...]
    """Its BatchNorm layers."""
    name: str
    classes: int
    execution: Execution
    student: nn.Module | None = None
    """A frozen copy of a student that the inputs shall surprise."""

    @property
    def device(self) -> torch.device:
        """Where it is asked."""
        return next(self.module.buffers()).device

    def ask(self, inputs: Float[Tensor, "batch ..."]) -> tuple[Tensor, Tensor]:
        """Logits ``[batch, classes]``, and one gap for each layer in the order in which they run.

        Both have gradients into the inputs.

        Raises:
            TeacherError: If it does not return ``[batch, classes]``.
        """
        taps = [f"{layer}{INPUT}" for layer in self.layers]
        with tap(self.module, taps) as features:
            logits = self._answer(self.module, inputs, owner=f"The teacher {self.name}")
        gaps = [self._gap(name.removesuffix(INPUT), given) for name, given in features.items()]
        return logits, torch.stack(gaps)

    def likeness(
        self, student: nn.Module, inputs: Float[Tensor, "batch ..."], logits: Float[Tensor, "batch classes"]
    ) -> Tensor:
        """How alike a student and the teacher answer: 1 less their Jensen-Shannon divergence in bits.

        Args:
            student: The frozen one.
            inputs: What both are asked about.
            logits: What the teacher says.

        Raises:
            TeacherError: If the student does not return ``[batch, classes]``.
        """
        theirs = self._answer(student, inputs, owner=f"The student {type(student).__name__}")
        return 1 - jensen_shannon(theirs, logits).mean() / math.log(2)

    def _answer(self, module: nn.Module, inputs: Tensor, *, owner: str) -> Tensor:
        with autocast(self.execution, device=inputs.device):
            answer: object = module(laid_out(inputs, self.execution))
        return check_logits(answer, examples=len(inputs), classes=self.classes, owner=owner).float()

    @contextmanager
    def computing(self) -> Iterator[None]:
        """A block with the plan's threads and with gradients, whatever the caller has switched on or off."""
        plain = torch.autocast(self.device.type, enabled=False)
        with arithmetic(self.execution), torch.enable_grad(), plain:
            yield

    def _gap(self, layer: str, features: Tensor) -> Tensor:
        part = self.module.get_submodule(layer)
        mean, variance = part.get_buffer("running_mean"), part.get_buffer("running_var")
        return statistics_gap(features.float(), mean, variance)


def weighted(gaps: Float[Tensor, " layers"], *, first_layer_weight: float) -> Float[Tensor, ""]:
    """The sum of the gaps, in which the first one counts ``first_layer_weight`` and every other one 1."""
    return gaps.sum() + (first_layer_weight - 1) * gaps[0]


def remembered(
    teacher: nn.Module | Teacher, *, classes: int, execution: Execution, student: nn.Module | None = None
) -> Remembered:
    """A teacher made ready to be asked about made inputs.

    Args:
        teacher: A module, or a teacher that offers its module.
        classes: How many it answers for.
        execution: Number format, layout and threads.
        student: A student that has learned something already, for :meth:`Remembered.likeness`.

    Raises:
        TeacherError: If the module is not at hand, cannot be copied, or has no BatchNorm layer with statistics.
    """
    module = teacher if isinstance(teacher, nn.Module) else teacher.offer.module
    if module is None:
        raise TeacherError(
            f"Inputs are made by gradients through the teacher, and {type(teacher).__name__} offers its answers "
            "alone. Give the module itself."
        )
    name = type(module).__name__
    layers = tuple(name for name, part in module.named_modules() if _remembers(part))
    if not layers:
        raise TeacherError(
            f"The teacher {name} has no BatchNorm layer with running statistics, and these are all that tells what "
            "its data looked like. Expected at least one. Distil on data instead (unlabelled will do), or give a "
            "teacher with BatchNorm."
        )
    rival = None if student is None else _frozen(student, f"student {type(student).__name__}", execution)
    return Remembered(_frozen(module, f"teacher {name}", execution), layers, name, classes, execution, rival)


def _remembers(part: nn.Module) -> bool:
    return isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is not None


def _frozen(module: nn.Module, name: str, execution: Execution) -> nn.Module:
    try:
        return laid_out(copy.deepcopy(module).eval().requires_grad_(False), execution)
    except (RuntimeError, TypeError) as error:
        raise TeacherError(
            f"The {name} cannot be copied ({error}), and a copy is what is asked, so that nothing can change "
            "it. Give a module that copy.deepcopy takes."
        ) from error
