"""What a method is: frozen data that says how answers are compared."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from limbeck.types import Batch, Frozen, Outputs, Terms

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Reads:
    """What a method needs."""

    teacher: bool
    """Whether it asks the teacher."""
    labels: Literal["none", "some"]
    """Whether it uses labels; ``some``: of those samples that have one."""
    taps: tuple[str, ...] = ()
    """Inner layers it reads, beside the logits."""


class Method(Frozen, ABC):
    """How the student's answers are compared with labels and with the teacher's.

    Methods compose: ``KD(temperature=4) + 0.1 * CE()``. Each names its terms; the loop divides every
    term once, by its own weight over the whole batch.
    """

    family: ClassVar[str]
    """Which family of distillation it belongs to."""
    paper: ClassVar[str]
    """Where its formula comes from."""

    weight: Weight = 1.0
    """What the method's terms are multiplied by."""

    @property
    @abstractmethod
    def reads(self) -> Reads:
        """What it needs."""

    def init(self, student: Outputs, teacher: Outputs | None) -> nn.Module | None:
        """Connectors and state, shaped from one traced batch; none for a method without any."""
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
