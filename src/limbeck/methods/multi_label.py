"""Multi-label distillation: one yes-or-no question a label (Yang et al., 2023)."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from limbeck.losses.multilabel import binary_kl
from limbeck.methods.response import Softened
from limbeck.types import Batch


class MultiLabel(Softened):
    """Match the teacher's yes or no for every label on its own.

    For models whose logits are independent log-odds, not a softmax. The mean over the labels, so that the weight
    does not depend on how many there are.

    Helps:
        Where a sample may have several labels at once.

    Costs:
        Nothing but a pass over the logits.

    References:
        Yang et al., `Multi-Label Knowledge Distillation <https://arxiv.org/abs/2308.06453>`_, 2023.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2308.06453"

    kind: Literal["multi-label"] = "multi-label"

    def values(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        return binary_kl(student, teacher, temperature=self.temperature)
