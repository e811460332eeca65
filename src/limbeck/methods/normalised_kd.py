"""Normalised distillation: the label's class at once, the other classes among themselves (Yang et al., 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import PositiveFloat
from torch import Tensor, nn

from limbeck.losses.decoupled import normalised_cross_entropy
from limbeck.methods.base import Method, Reads, Weight, answered
from limbeck.types import Batch, Outputs, Term, Terms


class NormalisedKD(Method):
    """Fit the label as far as the teacher believes in it, and match the teacher's comparison of the other classes.

    Two cross-entropies, so the loss is not zero where the sides agree: its first part goes on pulling towards the
    label. Only samples with a label count. The defaults are the paper's for ImageNet; add ``ce``, as the paper does.

    Helps:
        With labels and a teacher that is right on most of them.

    Costs:
        Nothing but a pass over the logits.

    References:
        Yang, Zeng, Li, Zhang, Yuan & Li, `From Knowledge Distillation to Self-Knowledge Distillation
        <https://arxiv.org/abs/2303.13005>`_, 2023, section 3.1.
    """

    family: ClassVar[str] = "response"
    paper: ClassVar[str] = "https://arxiv.org/abs/2303.13005"

    kind: Literal["normalised-kd"] = "normalised-kd"

    temperature: PositiveFloat = 1.0
    """Softens the other classes. Their term is multiplied by its square."""

    non_target_weight: Weight = 1.5
    """Of the part about all other classes."""

    @property
    def reads(self) -> Reads:
        return Reads(teacher=True, labels="some")

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        labelled = batch.labelled.float()
        return {"normalised-kd-target": labelled, "normalised-kd-others": labelled}

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        target, others = normalised_cross_entropy(
            student.logits, answered(self, teacher).logits, batch.labels, temperature=self.temperature
        )
        labelled, scale = batch.labelled.to(target.dtype), self.weight * self.temperature**2
        return {
            "normalised-kd-target": Term(target, labelled, scale=self.weight),
            "normalised-kd-others": Term(others, labelled, scale=scale * self.non_target_weight),
        }
