"""Several teachers, each trusted in an example as far as it knows the label (Zhang, Chen & Wang, 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from limbeck.errors import MethodError
from limbeck.losses.divergence import forward_kl
from limbeck.losses.ensemble import confidence_weights
from limbeck.methods.base import Method, Reads, Traced, answered
from limbeck.models.together import MEMBER, member_tap
from limbeck.taps import Layer
from limbeck.types import Batch, Outputs, Term, Terms


class ConfidentTeachers(Method):
    r"""Match each of several teachers, weighing them in each example by how well they predict its label.

    .. math:: T^2 \sum_k w_k \, KL(p_k \| q), \quad
              w_k = \frac{1}{K - 1} \left(1 - \frac{\exp CE_k}{\sum_j \exp CE_j}\right)

    where :math:`CE_k` is the cross-entropy of teacher :math:`k` at temperature 1. All count alike in an example
    without a label. Its teacher is an ensemble, whose members' logits it reads. The paper adds cross-entropy on the
    labels and a weighted term on inner layers, and takes 4 for the temperature.

    Helps:
        With several teachers of unequal skill, and labels to tell who is right.

    Costs:
        One pass of each teacher; over one teacher, nothing else.

    References:
        Zhang, Chen & Wang, `Confidence-Aware Multi-Teacher Knowledge Distillation
        <https://arxiv.org/abs/2201.00007>`_, 2022, section 3.
    """

    family: ClassVar[str] = "ensemble"
    paper: ClassVar[str] = "https://arxiv.org/abs/2201.00007"

    kind: Literal["confident-teachers"] = "confident-teachers"
    members: PositiveInt = 2
    """How many teachers the ensemble has."""
    temperature: PositiveFloat = 2.0
    """Softens both sides. The term is multiplied by its square, so that changing it does not change the balance
    with the other terms."""

    @property
    def reads(self) -> Reads:
        taps = tuple(member_tap(number) for number in range(self.members))
        return Reads(teacher=True, labels="some", inside=True, teacher_taps=taps)

    def bind(self, student: Sequence[Layer], teacher: Sequence[Layer] | None) -> ConfidentTeachers:
        """The same method.

        Raises:
            MethodError: If the teacher is one model.
        """
        if teacher is not None and member_tap(0) not in {layer.name for layer in teacher}:
            raise MethodError(
                "ConfidentTeachers compares with several teachers, and this one is a single model. Give "
                "limbeck.teachers.Ensemble([teacher, ...]), a list of modules, or in a recipe kind: ensemble; or kd."
            )
        return self

    def init(self, traced: Traced) -> None:
        """Nothing to train.

        Raises:
            MethodError: If the ensemble has more members than are compared.
        """
        held = [name for name in answered(self, traced.teacher).taps if name.startswith(MEMBER)]
        if len(held) != self.members:
            raise MethodError(
                f"confident-teachers.members is {self.members}, and the ensemble has {len(held)} teachers, expected "
                f"as many. Set members={len(held)}."
            )

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        return {self.kind: torch.ones(len(batch), device=batch.labels.device)}

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        answers = answered(self, teacher).taps
        members = torch.stack([answers[name] for name in self.reads.teacher_taps])
        logits = student.logits.expand_as(members)
        each = forward_kl(logits, members, temperature=self.temperature)
        values = (confidence_weights(members, batch.labels) * each).sum(0)
        scale = self.weight * self.temperature**2
        return {self.kind: Term(values, values.new_ones(len(batch)), scale=scale)}
