"""Soft targets: the teacher's class distribution at a temperature (Hinton, Vinyals & Dean, 2015)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import PositiveFloat
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.losses import forward_kl
from limbeck.methods.base import Method, Reads
from limbeck.types import Batch, Outputs, Term, Terms


class KD(Method):
    """Match the teacher's softened class distribution, on labelled and unlabelled samples alike."""

    family: ClassVar[str] = "response"
    paper: ClassVar[str] = "https://arxiv.org/abs/1503.02531"

    kind: Literal["kd"] = "kd"
    temperature: PositiveFloat = 2.0
    """Softens both. The term is multiplied by its square, so that changing it does not change the balance
    with the other terms."""

    @property
    def reads(self) -> Reads:
        return Reads(teacher=True, labels="none")

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        return {"kd": torch.ones(len(batch), device=batch.labels.device)}

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        answers = answered(self, teacher).logits.detach()
        values = forward_kl(student.logits, answers, temperature=self.temperature)
        return {"kd": Term(values, values.new_ones(len(batch)), scale=self.weight * self.temperature**2)}


def answered(method: Method, teacher: Outputs | None) -> Outputs:
    """The teacher's answers.

    Raises:
        MethodError: If there are none.
    """
    if teacher is None:
        raise MethodError(
            f"{type(method).__name__} compares with a teacher and got no answers of one. Give a teacher."
        )
    return teacher
