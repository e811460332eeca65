"""Total variation: the mass that would have to move (Wen et al., 2023)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import PositiveFloat
from torch import Tensor

from limbeck.losses.divergence import total_variation
from limbeck.methods.response import Softened
from limbeck.types import Batch


class TotalVariation(Softened):
    """Move as little probability as possible from the student's distribution to the teacher's.

    Symmetric and bounded by 1. Its gradient knows only signs and vanishes where the student is certain and wrong,
    so it starts badly from random weights: use it beside ``ce`` or late in training.

    Helps:
        Beside ``ce``, where outliers of the teacher should not count more than others.

    Costs:
        Nothing but a pass over the logits.

    References:
        Wen, Li, Du & Mou, `f-Divergence Minimization for Sequence-Level Knowledge Distillation
        <https://arxiv.org/abs/2307.15190>`_, 2023.
    """

    paper: ClassVar[str] = "https://arxiv.org/abs/2307.15190"

    kind: Literal["total-variation"] = "total-variation"

    temperature: PositiveFloat = 1.0
    """Softens both. The term is multiplied by it, which is how this distance falls with a temperature."""

    @property
    def factor(self) -> float:
        return self.temperature

    def values(self, student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
        return total_variation(student, teacher, temperature=self.temperature)
