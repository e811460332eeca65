"""The student's former self as its teacher, while it learns something new (Li & Hoiem, 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.losses.divergence import forward_kl
from limbeck.methods.base import Method, Reads, Traced, answered
from limbeck.types import Batch, Outputs, Term, Terms


class LwF(Method):
    """Match a snapshot of the student on the classes it knew, on samples of the new task (LwF).

    Give the snapshot as the teacher and add ``ce`` for the new labels. The KL divergence of the old classes alone,
    as if there were no others, at a temperature; the paper's cross-entropy differs by a constant.

    Helps:
        When a trained student has to learn new classes without its old data.

    Costs:
        One forward pass of the snapshot in each step.

    References:
        Li & Hoiem, `Learning without Forgetting <https://arxiv.org/abs/1606.09282>`_, 2016, section 3.
    """

    family: ClassVar[str] = "continual"
    paper: ClassVar[str] = "https://arxiv.org/abs/1606.09282"

    kind: Literal["learning-without-forgetting"] = "learning-without-forgetting"
    temperature: PositiveFloat = 2.0
    """Softens both. The term is multiplied by its square."""
    old_classes: PositiveInt | None = None
    """How many classes, the first ones, the snapshot knew; null: all."""

    @property
    def reads(self) -> Reads:
        return Reads(teacher=True, labels="none")

    def init(self, traced: Traced) -> None:
        """Nothing.

        Raises:
            MethodError: If there are fewer classes than were known.
        """
        classes = traced.student.logits.shape[1]
        if self.old_classes is not None and self.old_classes > classes:
            raise MethodError(
                f"learning-without-forgetting.old_classes is {self.old_classes}, and the student answers for "
                f"{classes} classes, expected as many at most. Lower it, or set it to null for all."
            )

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        return {"learning-without-forgetting": torch.ones(len(batch), device=batch.labels.device)}

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        known = slice(self.old_classes)
        former = answered(self, teacher).logits[:, known]
        values = forward_kl(student.logits[:, known], former, temperature=self.temperature)
        scale = self.weight * self.temperature**2
        return {"learning-without-forgetting": Term(values, values.new_ones(len(batch)), scale=scale)}
