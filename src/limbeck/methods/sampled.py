"""Sampled targets: classes drawn from the teacher instead of its whole answer (Anshumann et al., 2025)."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from limbeck.losses.sparse import sampled_cross_entropy, sampled_targets
from limbeck.methods.base import Reads
from limbeck.methods.response import Response
from limbeck.types import Batch, Few, Sparse


class Sampled(Response):
    """Fit a few classes drawn from the teacher's distribution, anew in each step or as a store has drawn them.

    On average the gradient is that of ``kd`` at a temperature of 1, whatever the number of draws, where the
    likeliest classes alone (``top-k``) leave out how the tail is shared. A cross-entropy, so it is not zero where
    the sides agree. With ten classes there is nothing to save; it is for thousands, where the paper finds some 50
    draws enough. A store that keeps ``sampled`` or ``top-k-sampled`` does for it; of the latter the likeliest
    classes are fitted exactly, and the draws stand for the others.

    Helps:
        With thousands of classes, where storing all of the teacher's answer is too much.

    Costs:
        Less than ``kd`` where classes are many; its gradient is noisier.

    References:
        Anshumann et al., `Sparse Logit Sampling <https://arxiv.org/abs/2503.16870>`_, 2025.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2503.16870"

    kind: Literal["sampled"] = "sampled"

    draws: PositiveInt = 50
    """Classes drawn for each sample, with replacement."""

    draw_temperature: PositiveFloat = 1.0
    """Of the distribution that is drawn from; above 1 the tail is drawn more often, and weighs less in return."""

    @property
    def reads(self) -> Reads:
        drawn = Few(draws=self.draws, draw_temperature=self.draw_temperature)
        return replace(super().reads, few=drawn)

    def values(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        classes, weights = sampled_targets(teacher, self.draws, temperature=self.draw_temperature)
        return sampled_cross_entropy(student, classes, weights)

    def few_values(self, student: Tensor, teacher: Sparse, batch: Batch) -> Tensor:
        weights = teacher.weights[:, : self.draws] * (teacher.weights.shape[1] / self.draws)
        classes = torch.cat([teacher.classes, teacher.drawn[:, : self.draws]], 1)
        return sampled_cross_entropy(student, classes, torch.cat([teacher.log_probs.exp(), weights], 1))
