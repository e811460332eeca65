"""Decoupled distillation: how sure of the label, and how the other classes compare (Zhao et al., 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import PositiveFloat
from torch import Tensor, nn

from limbeck.losses.decoupled import decoupled_kl
from limbeck.methods.base import Method, Reads, Weight, answered
from limbeck.types import Batch, Outputs, Term, Terms


class DecoupledKD(Method):
    """Match how sure the teacher is of the label, and how it compares the other classes, each with its own weight.

    Plain ``kd`` weighs the second part by one minus the teacher's confidence, which is next to nothing where the
    teacher is good. Only samples with a label count. The non-target weight has to be tuned: published values are
    8 and 6 for small nets on CIFAR-100 and 0.5 on ImageNet, with a linear warm-up; 2 is a careful start.

    Helps:
        Where the teacher is sure of nearly everything, so that plain ``kd`` says little of the other
        classes.

    Costs:
        Nothing but a pass over the logits. One more weight to tune.

    References:
        Zhao, Cui, Song, Qiu & Liang, `Decoupled Knowledge Distillation <https://arxiv.org/abs/2203.08679>`_,
        2022.
    """

    family: ClassVar[str] = "response"
    paper: ClassVar[str] = "https://arxiv.org/abs/2203.08679"

    kind: Literal["decoupled-kd"] = "decoupled-kd"

    temperature: PositiveFloat = 4.0
    """Softens both. The terms are multiplied by its square."""

    target_weight: Weight = 1.0
    """Of the part about the label's class."""

    non_target_weight: Weight = 2.0
    """Of the part about all other classes."""

    @property
    def reads(self) -> Reads:
        return Reads(teacher=True, labels="some")

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        labelled = batch.labelled.float()
        return {"decoupled-kd-target": labelled, "decoupled-kd-others": labelled}

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        answers = answered(self, teacher).logits
        target, others = decoupled_kl(student.logits, answers, batch.labels, temperature=self.temperature)
        labelled, scale = batch.labelled.to(target.dtype), self.weight * self.temperature**2
        return {
            "decoupled-kd-target": Term(target, labelled, scale=scale * self.target_weight),
            "decoupled-kd-others": Term(others, labelled, scale=scale * self.non_target_weight),
        }
