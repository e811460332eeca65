"""Logit matching: squared differences instead of a divergence (Ba & Caruana, 2014)."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from limbeck.losses.logits import logit_mse
from limbeck.methods.response import Response
from limbeck.types import Batch


class LogitMSE(Response):
    """Match the teacher's logits themselves, by their squared differences.

    What ``kd`` tends to at a high temperature, and often better than it where the teacher is right. Not bounded:
    noisy labels and rare classes count as much as anything else.

    Helps:
        Where the teacher's logits are trustworthy and labels are clean.

    Costs:
        Nothing but a pass over the logits.

    References:
        Ba & Caruana, `Do Deep Nets Really Need to be Deep? <https://arxiv.org/abs/1312.6184>`_, 2014, section
        2. Kim, Oh, Kim, Cho & Yun, `Comparing Kullback-Leibler Divergence and Mean Squared Error Loss in
        Knowledge Distillation <https://arxiv.org/abs/2105.08919>`_, 2021.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/1312.6184"

    kind: Literal["logit-mse"] = "logit-mse"

    centred: bool = True
    """Take each side's mean away first: a constant added to all logits means nothing to a softmax."""

    def values(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        return logit_mse(student, teacher, centred=self.centred)
