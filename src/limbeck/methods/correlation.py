"""Correlation instead of equality: what a student can match of a much stronger teacher (Huang et al., 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import PositiveFloat
from torch import Tensor, nn

from limbeck.losses.logits import class_correlation_distance, correlation_distance
from limbeck.methods.base import Method, Reads, Weight, answered
from limbeck.types import Batch, Outputs, Term, Terms


class Correlation(Method):
    """Correlate with the teacher's probabilities: over the classes of a sample, and over the samples of a class.

    Asks for the same ranking and spread rather than the same numbers, which a strong teacher's student cannot
    reach. The second part compares the samples of a batch, so take at least 64 of them. The paper weighs the
    whole by 2, with a temperature of 1 on ImageNet and 4 on CIFAR-100, beside ``ce``.

    Helps:
        With a teacher that is much stronger than the student, in batches of 64 or more.

    Costs:
        Nothing but a pass over the logits.

    References:
        Huang, You, Wang, Qian & Xu, `Knowledge Distillation from A Stronger Teacher
        <https://arxiv.org/abs/2205.10536>`_, 2022.
    """

    family: ClassVar[str] = "response"
    paper: ClassVar[str] = "https://arxiv.org/abs/2205.10536"

    kind: Literal["correlation"] = "correlation"

    temperature: PositiveFloat = 1.0
    """Softens both. The terms are multiplied by its square."""

    sample_weight: Weight = 1.0
    """Of the correlation over the classes of each sample."""

    class_weight: Weight = 1.0
    """Of the correlation over the samples of each class."""

    @property
    def reads(self) -> Reads:
        return Reads(teacher=True, labels="none", coupled=True)

    def weights(self, teacher: Outputs | None, batch: Batch) -> Mapping[str, Tensor]:
        classes = answered(self, teacher).logits.shape[1]
        return {
            "correlation-samples": torch.ones(len(batch), device=batch.labels.device),
            "correlation-classes": torch.ones(classes, device=batch.labels.device),
        }

    def loss(self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None) -> Terms:
        answers, scale = answered(self, teacher).logits, self.weight * self.temperature**2
        samples = correlation_distance(student.logits, answers, temperature=self.temperature)
        classes = class_correlation_distance(student.logits, answers, temperature=self.temperature)
        return {
            "correlation-samples": Term(samples, torch.ones_like(samples), scale=scale * self.sample_weight),
            "correlation-classes": Term(
                classes, torch.ones_like(classes), unit="class", scale=scale * self.class_weight
            ),
        }
