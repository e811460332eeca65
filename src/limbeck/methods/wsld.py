"""Weighted soft labels (Zhou et al., 2021)."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from limbeck.losses.classification import cross_entropy
from limbeck.methods.base import Reads, answered
from limbeck.methods.per_example import PerExample
from limbeck.types import Batch, Outputs, Terms


class WSLD(PerExample):
    r"""Listen less to the teacher on samples that the student already fits better than the teacher does.

    .. math:: w = 1 - \exp(-CE^s / CE^t)

    with the cross-entropies of both sides with the label. The factor follows the student without a gradient; a
    sample without a label has 1. It multiplies the values, so that the term grows smaller as the student catches up.
    Published with ``kd`` at a temperature of 2 and a weight of 2.5, beside ``ce``.

    Helps:
        With labels, where imitation holds the student back on easy samples.

    Costs:
        One cross-entropy of each side.

    References:
        Zhou, Song, Chen, Zhou, Wang, Yuan & Zhang, `Rethinking Soft Labels for Knowledge Distillation
        <https://arxiv.org/abs/2102.00650>`_, 2021, section 4.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2102.00650"

    kind: Literal["wsld"] = "wsld"

    @property
    def reads(self) -> Reads:
        return replace(super().reads, teacher=True, labels="some")

    def changed(
        self, student: Outputs, teacher: Outputs | None, batch: Batch, state: nn.Module | None
    ) -> Terms:
        terms = super().changed(student, teacher, batch, state)
        each = _factor(student.logits.detach(), answered(self, teacher).logits, batch)
        return {
            name: replace(term, values=term.values * each.to(term.values.dtype))
            for name, term in terms.items()
        }


def _factor(student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
    ours, theirs = (cross_entropy(logits, batch.labels) for logits in (student, teacher))
    smallest = torch.finfo(theirs.dtype).tiny  # 0 / 0 where both are certain and right
    return torch.where(batch.labelled, -torch.expm1(-ours / theirs.clamp(min=smallest)), 1.0)
