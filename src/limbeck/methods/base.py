"""What a method is: frozen data that says how answers are compared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.taps import Layer
from limbeck.types import Batch, Few, Frozen, Outputs, Pool, Terms

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Reads:
    """What a method needs."""

    teacher: bool
    """Whether it asks the teacher."""
    labels: Literal["none", "some"]
    """Whether it uses labels; ``some``: of those samples that have one."""
    inside: bool = False
    """Whether it reads more of the teacher than logits: inner layers, later layers, parameters. A stored teacher has
    the layers that were kept."""
    coupled: bool = False
    """Whether it compares samples of a batch with each other, so that micro-batches do not add up to the batch."""
    student_taps: tuple[str, ...] = ()
    """Places in the student that it reads, beside the logits."""
    teacher_taps: tuple[str, ...] = ()
    """Places in the teacher."""
    few: Few | None = None
    """Of how many classes the teacher's answers must say something; none where it needs whole logits."""
    sequences: bool = False
    """Whether both sides answer with logits in every frame [batch, frames, classes], not once an example."""


@dataclass(frozen=True, slots=True)
class Traced:
    """What a method is shown before the first step: one batch, what both sides answer to it, and who they are."""

    batch: Batch
    student: Outputs
    teacher: Outputs | None
    student_model: nn.Module
    teacher_model: nn.Module | None = None
    """Frozen; none where there is no teacher or its module is not at hand (a stored one)."""
    steps: int = 1
    """How many steps the training has."""
    pool: Pool | None = None
    """None where a training does not know its samples (a loop of the user's own)."""
    fresh: Callable[[], nn.Module] | None = None
    """Builds another student with new random weights; none where that cannot be done."""
    computing: Callable[[], AbstractContextManager[object]] = nullcontext
    """Makes the block in which the plan's number format holds, for methods that run a model of their own."""


class Method(Frozen, ABC):
    """How the student's answers are compared with labels and with the teacher's.

    Methods compose: ``KD(temperature=4) + 0.1 * CE()``. Each names its terms; the loop divides every
    term once, by its own weight over the whole batch.
    """

    family: ClassVar[str]
    """Which family of distillation it belongs to."""
    paper: ClassVar[str]
    """Where its formula comes from."""

    kind: str
    """Its name in a recipe."""

    weight: Weight = 1.0
    """What the method's terms are multiplied by."""

    @property
    @abstractmethod
    def reads(self) -> Reads:
        """What it needs."""

    @property
    def grows(self) -> bool:
        """Whether what ships is more than the student: :meth:`deploy` adds to it."""
        return False

    def bind(self, student: Sequence[Layer], teacher: Sequence[Layer] | None) -> Method:
        """The same method with every layer it reads named, where it leaves that to the models.

        Args:
            student: The student's layers.
            teacher: The teacher's; none where its module is not at hand.
        """
        return self

    def init(self, traced: Traced) -> nn.Module | None:
        """Connectors and state, shaped from one traced batch; none for a method without any.

        Parameters are trained along with the student's, but for frozen ones; all of it is in the checkpoint.
        """
        return None

    @abstractmethod
    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        """The weight of each unit of each term.

        They follow from the batch and the teacher alone, so that a loop which accumulates knows what to
        divide by before it computes the first micro-batch.
        """

    @abstractmethod
    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        """The terms by name, one value a unit."""

    def advance(self, student: nn.Module, state: nn.Module | None) -> None:
        """Called after each update of the weights, without gradients: moving averages, counters, banks."""

    def deploy(self, student: nn.Module, state: nn.Module | None) -> nn.Module:
        """What ships: the student, unless the method keeps a part of its own."""
        return student

    def __add__(self, other: Method) -> Method:
        from limbeck.methods.algebra import plus  # a sum is a method too, so each must know the other

        return plus(self, other) if isinstance(other, Method) else NotImplemented

    def __radd__(self, other: Any) -> Method:
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __mul__(self, factor: float | int) -> Method:
        if isinstance(factor, bool) or not isinstance(factor, (int, float)):
            return NotImplemented
        return type(self).model_validate({**dict(self), "weight": self.weight * factor})

    __rmul__ = __mul__


def answered(method: Method, teacher: Outputs | None) -> Outputs:
    """The teacher's answers, cut from whatever made them: methods never train a teacher.

    Raises:
        MethodError: If there are none.
    """
    if teacher is None:
        raise MethodError(
            f"{type(method).__name__} compares with a teacher and got no answers of one. Give a teacher."
        )
    return teacher.detach()


def total(terms: Terms, totals: Mapping[str, Tensor]) -> Tensor:
    """One number: each term's weighted sum, times its scale, over its total weight.

    Args:
        terms: Of a batch or a micro-batch.
        totals: The sum of each term's weights over the whole batch; a term whose total is 0 adds nothing.
    """
    parts = []
    for name, term in terms.items():
        whole = (term.values * term.weights).sum() * term.scale
        weight = totals[name]
        parts.append(whole / torch.where(weight > 0, weight, torch.ones_like(weight)))
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum()
