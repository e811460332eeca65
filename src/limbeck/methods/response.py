"""What methods on answers share: one value an example, of what both sides answer to it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import PositiveFloat
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.methods.base import Method, Reads, answered
from limbeck.types import Batch, Outputs, Sparse, Term, Terms


class Response(Method):
    """A method that compares what the two sides answer to each example, labelled or not."""

    family: ClassVar[str] = "response"

    @property
    def reads(self) -> Reads:
        return Reads(teacher=True, labels="none")

    @property
    def factor(self) -> float:
        """What undoes the effect of a temperature on the size of the gradient."""
        return 1.0

    @abstractmethod
    def values(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        """One number an example, from the answers ``[batch, classes]`` of both sides; the teacher's without graph."""

    def few_values(self, student: Tensor, teacher: Sparse, batch: Batch) -> Tensor:
        """The same from a teacher's answers that hold a few classes.

        Raises:
            MethodError: If the method needs whole logits.
        """
        raise MethodError(
            f"{self.kind} compares whole logits, and the teacher's answers hold a few classes. Set "
            "teacher.keep: float16."
        )

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        return {self.kind: torch.ones(len(batch), device=batch.labels.device)}

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        theirs = answered(self, teacher)
        if theirs.sparse is None:
            values = self.values(student.logits, theirs.logits, batch)
        else:
            values = self.few_values(student.logits, theirs.sparse, batch)
        return {self.kind: Term(values, values.new_ones(len(batch)), scale=self.weight * self.factor)}


class Softened(Response):
    """A response method at a temperature."""

    temperature: PositiveFloat = 2.0
    """Softens both. The term is multiplied by its square, so that changing it does not change the balance
    with the other terms."""

    @property
    def factor(self) -> float:
        return self.temperature**2
